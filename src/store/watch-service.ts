/** etcdserverpb.Watch: one stream carries any number of watches, each with its own place in the history. */
import type { Server, ServerDuplexStream } from "@grpc/grpc-js";
import { wireRange } from "./convert.js";
import type { Cursor } from "./cursor.js";
import { ETCD_MESSAGE } from "./errors.js";
import { EVENT_TYPES, type WatchCreate, type WatchRequest, type WatchResponse } from "./messages.js";
import { type ServiceContext, serveStream } from "./service.js";
import { WATCH } from "./services.js";
import { CompactedError, type StoreEvent, type WatchBatch } from "./types.js";

type WatchCall = ServerDuplexStream<WatchRequest, Partial<WatchResponse>>;

interface Watch {
  readonly cursor: Cursor;
  readonly abort: AbortController;
  readonly progressNotify: boolean;
}

/** How often an idle watch that asks for it hears how far it is (etcd: 10 minutes). */
const PROGRESS_INTERVAL_MS = 60_000;
/** Watch id of a response that is about the whole stream. */
const WHOLE_STREAM = -1;

export function watchService(server: Server, context: ServiceContext): void {
  serveStream(server, WATCH, (call) => new WatchStream(context, call));
}

class WatchStream {
  readonly #watches = new Map<number, Watch>();
  readonly #progressTimer: NodeJS.Timeout;
  #nextId = 0;
  #drained: Promise<void> | undefined;

  constructor(
    private readonly context: ServiceContext,
    private readonly call: WatchCall,
  ) {
    this.#progressTimer = setInterval(() => this.#notifyProgress(), PROGRESS_INTERVAL_MS).unref();
    call.on("data", (request: WatchRequest) => this.#onRequest(request));
    call.on("end", () => {
      this.#stop();
      call.end();
    });
    call.on("cancelled", () => this.#stop());
    call.on("close", () => this.#stop());
    // A client that went away shows as an error too; it has nothing to be told.
    call.on("error", () => this.#stop());
  }

  #onRequest({ create, cancel, progress }: WatchRequest): void {
    if (create !== undefined) this.#create(create);
    if (cancel !== undefined) this.#cancel(cancel.watchId);
    if (progress !== undefined)
      this.#send({ header: this.context.header(this.#reached()), watchId: WHOLE_STREAM });
  }

  #create(request: WatchCreate): void {
    const header = this.context.header(this.context.engine.visible);
    if (this.#watches.has(request.watchId) && request.watchId !== 0) {
      const cancelReason = "mvcc: watch with duplicate ID provided";
      this.#send({ header, watchId: WHOLE_STREAM, created: true, canceled: true, cancelReason });
      return;
    }
    const watchId = request.watchId === 0 ? this.#freeId() : request.watchId;
    const without = new Set<StoreEvent["type"]>(
      request.filters.flatMap((filter) => EVENT_TYPES[filter] ?? []),
    );
    // etcd reads a missing key as the first of all.
    const range = wireRange({ key: request.key === "" ? "\0" : request.key, rangeEnd: request.rangeEnd });
    const { startRevision: fromRevision, prevKv, progressNotify } = request;
    const cursor = this.context.engine.cursor(range, { fromRevision, prevKv, without });
    const watch = { cursor, abort: new AbortController(), progressNotify };
    this.#watches.set(watchId, watch);
    this.#send({ header, watchId, created: true });
    this.#pump(watchId, watch);
  }

  #freeId(): number {
    while (this.#watches.has(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }

  #cancel(watchId: number): void {
    const watch = this.#watches.get(watchId);
    if (watch === undefined) return;
    this.#drop(watchId, watch);
    this.#send({ header: this.context.header(this.context.engine.visible), watchId, canceled: true });
  }

  /** Sends what the cursor finds, as fast as the client reads. */
  async #pump(watchId: number, watch: Watch): Promise<void> {
    const { cursor, abort } = watch;
    try {
      for (;;) {
        const batch = await cursor.take(abort.signal);
        // A cancelled watch must stay silent after its last response.
        if (batch === undefined || abort.signal.aborted) return;
        await this.#send({ header: this.context.header(cursor.next - 1), watchId, events: toEvents(batch) });
      }
    } catch (error) {
      this.#drop(watchId, watch);
      const header = this.context.header(this.context.engine.visible);
      const compactRevision = error instanceof CompactedError ? error.compactRevision : 0;
      const cancelReason = compactRevision > 0 ? ETCD_MESSAGE.compacted : String(error);
      this.#send({ header, watchId, canceled: true, compactRevision, cancelReason });
    }
  }

  /** Every watch of the stream has sent what there is up to here. */
  #reached(): number {
    let reached = this.context.engine.visible;
    for (const { cursor } of this.#watches.values()) reached = Math.min(reached, cursor.next - 1);
    return reached;
  }

  #notifyProgress(): void {
    for (const [watchId, { cursor, progressNotify }] of this.#watches) {
      const reached = Math.min(this.context.engine.visible, cursor.next - 1);
      if (progressNotify) this.#send({ header: this.context.header(reached), watchId });
    }
  }

  /** Resolves when the client has room for more. */
  #send(response: Partial<WatchResponse>): Promise<void> {
    if (this.call.destroyed || this.call.writableEnded) return Promise.resolve();
    if (!this.call.write(response)) this.#drained ??= this.#nextDrain();
    return this.#drained ?? Promise.resolve();
  }

  #nextDrain(): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.call.off("drain", done).off("close", done).off("cancelled", done);
        this.#drained = undefined;
        resolve();
      };
      this.call.on("drain", done).on("close", done).on("cancelled", done);
    });
  }

  #drop(watchId: number, { abort }: Watch): void {
    this.#watches.delete(watchId);
    abort.abort();
  }

  #stop(): void {
    clearInterval(this.#progressTimer);
    for (const [watchId, watch] of this.#watches) this.#drop(watchId, watch);
  }
}

function toEvents(batch: WatchBatch): WatchResponse["events"] {
  return batch.events.map(({ type, kv, prevKv }) => ({ type: EVENT_TYPES.indexOf(type), kv, prevKv }));
}
