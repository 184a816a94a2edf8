/** A watch's place in the history: it takes what is visible when its reader is ready, so a slow reader queues nothing. */
import type { Engine } from "./engine.js";
import { inRange, type KeyRange } from "./keys.js";
import { CompactedError, type StoreEvent, type WatchBatch } from "./types.js";

/** Events after which a batch ends, at the end of a revision. */
const BATCH_EVENTS = 1000;

export interface CursorOptions {
  /** 0 or none: from the next revision on. */
  readonly fromRevision?: number;
  readonly prevKv?: boolean;
  /** Leave out events of these types. */
  readonly without?: ReadonlySet<StoreEvent["type"]>;
}

export class Cursor {
  #next: number;

  constructor(
    private readonly engine: Engine,
    private readonly range: KeyRange,
    private readonly options: CursorOptions,
  ) {
    const from = options.fromRevision ?? 0;
    this.#next = from > 0 ? from : engine.visible + 1;
  }

  /** First revision that the cursor has not passed. */
  get next(): number {
    return this.#next;
  }

  /** The next batch that has events; undefined when the store closes or the signal ends it. @throws CompactedError */
  async take(signal: AbortSignal): Promise<WatchBatch | undefined> {
    while (!signal.aborted && !this.engine.closed) {
      this.check();
      const batch = this.#scan();
      if (batch !== undefined) return batch;
      await this.engine.changedSince(this.#next - 1, signal);
    }
    return undefined;
  }

  /** @throws CompactedError when the history that comes next is gone. */
  check(): void {
    const { compactRevision } = this.engine.mvcc;
    if (this.#next < compactRevision) throw new CompactedError(compactRevision);
  }

  #scan(): WatchBatch | undefined {
    const events: StoreEvent[] = [];
    let revision = 0;
    while (this.#next <= this.engine.visible && events.length < BATCH_EVENTS) {
      const before = events.length;
      for (const event of this.engine.mvcc.eventsAt(this.#next)) {
        if (this.#wants(event))
          events.push(this.options.prevKv === true ? event : { type: event.type, kv: event.kv });
      }
      if (events.length > before) revision = this.#next;
      this.#next++;
    }
    return events.length > 0 ? { revision, events } : undefined;
  }

  #wants({ type, kv }: StoreEvent): boolean {
    return inRange(this.range, kv.key) && this.options.without?.has(type) !== true;
  }
}
