/**
 * The recent past of one resource: one watch of the store feeds a window of events that all watchers read. A watcher
 * keeps its place in the window and queues nothing, so a slow one costs no memory; when the window has moved past it,
 * it is told that its version has expired, as Kubernetes' watch cache does.
 */
import { CompactedError, type Store, type StoreEvent } from "../../store/index.js";
import type { ResourceInfo } from "../resources.js";
import { decodeStored, prefixOf, type Stored, withVersion } from "./object.js";

/** One change; `object` is the last state for a delete, with the version of the delete. */
export interface CacheEvent {
  readonly revision: number;
  readonly deleted: boolean;
  readonly object: Stored;
  readonly previous?: Stored;
}

export interface WatchCacheOptions {
  readonly store: Store;
  readonly info: ResourceInfo;
  /** Events that are kept. */
  readonly windowEvents: number;
  readonly log: (level: "warn", message: string) => void;
}

const RETRY_MS = 500;

export class WatchCache {
  readonly #options: WatchCacheOptions;
  readonly #stop = new AbortController();
  readonly #objects = new Map<string, Stored>();
  readonly #waiting = new Set<() => void>();
  #events: CacheEvent[] = [];
  /** Number of events that have left the window; places are counted from the first event ever. */
  #dropped = 0;
  /** Watches can start at this version or later. */
  #oldest = 0;
  #revision = 0;
  #running: Promise<void> | undefined;

  constructor(options: WatchCacheOptions) {
    this.#options = options;
  }

  /** Resolves when the first list is in. @throws when the store does not answer */
  async start(): Promise<void> {
    await this.#list();
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    await this.#running;
  }

  get stopped(): AbortSignal {
    return this.#stop.signal;
  }

  /** The version of the last change. */
  get revision(): number {
    return this.#revision;
  }

  /** First version from which nothing is missing. */
  get oldest(): number {
    return this.#oldest;
  }

  /** The place after all events up to the version. Undefined when some of the later ones are gone. */
  placeAfter(revision: number): number | undefined {
    if (revision < this.#oldest) return undefined;
    let [low, high] = [0, this.#events.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#events[middle]!.revision <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#dropped + low;
  }

  /** The event at a place; "none" when it is still to come, "gone" when the window has moved past it. */
  eventAt(place: number): CacheEvent | "none" | "gone" {
    if (place < this.#dropped) return "gone";
    return this.#events[place - this.#dropped] ?? "none";
  }

  /** Resolves at the next change, when the time is over, or when the signal or the cache stops. */
  changed(signal: AbortSignal, timeoutMs: number): Promise<void> {
    if (signal.aborted || this.stopped.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs).unref();
      signal.addEventListener("abort", done);
      this.#waiting.add(done);
    });
  }

  async #list(): Promise<void> {
    const { kvs, revision } = await this.#options.store.range(prefixOf(this.#options.info), { prefix: true });
    this.#objects.clear();
    for (const kv of kvs) {
      try {
        this.#objects.set(kv.key, decodeStored(kv));
      } catch (error) {
        this.#options.log("warn", (error as Error).message);
      }
    }
    // What happened between the last event and this list is unknown: nobody can go on from before it.
    this.#dropped += this.#events.length + 1;
    this.#events = [];
    this.#oldest = revision;
    this.#revision = revision;
    this.#wake();
  }

  async #run(): Promise<void> {
    const { store, info, log } = this.#options;
    const { signal } = this.#stop;
    for (let listed = true; !signal.aborted; ) {
      try {
        if (!listed) await this.#list();
        listed = true;
        const options = { prefix: true, fromRevision: this.#revision + 1, signal };
        for await (const batch of store.watch(prefixOf(info), options)) this.#apply(batch.events);
      } catch (error) {
        if (signal.aborted) return;
        listed = !(error instanceof CompactedError);
        log("warn", `watch of ${info.name} in the store broke off: ${(error as Error).message}`);
      }
      await this.changed(signal, RETRY_MS);
    }
  }

  #apply(events: readonly StoreEvent[]): void {
    for (const event of events) {
      const cached = this.#toCacheEvent(event);
      if (cached) this.#events.push(cached);
      this.#revision = event.kv.modRevision;
    }
    this.#trim();
    this.#wake();
  }

  #toCacheEvent({ type, kv }: StoreEvent): CacheEvent | undefined {
    const previous = this.#objects.get(kv.key);
    const revision = kv.modRevision;
    if (type === "delete") {
      this.#objects.delete(kv.key);
      return previous && { revision, deleted: true, object: withVersion(previous, revision), previous };
    }
    try {
      const object = decodeStored(kv);
      this.#objects.set(kv.key, object);
      return { revision, deleted: false, object, ...(previous ? { previous } : {}) };
    } catch (error) {
      this.#options.log("warn", (error as Error).message);
      return undefined;
    }
  }

  /** In steps of a quarter, since it copies the window. */
  #trim(): void {
    const { windowEvents } = this.#options;
    if (this.#events.length < windowEvents * 1.25) return;
    const gone = this.#events.splice(0, this.#events.length - windowEvents);
    this.#dropped += gone.length;
    this.#oldest = gone.at(-1)!.revision;
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
