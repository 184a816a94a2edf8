/** The store in memory: for tests and simulations, and the plainest reading of the interface. */
import { randomInt } from "node:crypto";
import type { Clock } from "./clock.js";
import { Engine } from "./engine.js";
import { toBinary, toRange, toText } from "./keys.js";
import type { Query, QueryResult } from "./query.js";
import type { Comparison, Op, OpResult } from "./txn.js";
import type {
  Compare,
  KeyValue,
  LeaseInfo,
  Leases,
  Operation,
  OperationResult,
  RangeOptions,
  RangeResult,
  Store,
  StoreEvent,
  TxnResult,
  WatchBatch,
  WatchOptions,
} from "./types.js";

export interface MemoryStoreOptions {
  /** Time for leases; default: the system's. */
  readonly clock?: Clock;
  /** Revisions that stay readable; default 10,000. */
  readonly keepRevisions?: number;
  /** Start of the lease ids that the store chooses, below 2^31; default random. */
  readonly idSpace?: number;
}

export class MemoryStore implements Store {
  readonly leases: Leases;
  readonly #engine: Engine;

  constructor(options: MemoryStoreOptions = {}) {
    this.#engine = new Engine({ ...options, idSpace: options.idSpace ?? randomInt(1, 2 ** 31) });
    this.leases = engineLeases(this.#engine);
  }

  async range(key: string, options: RangeOptions = {}): Promise<RangeResult> {
    const result = this.#engine.range(toQuery(key, options));
    return toRangeResult(result, options.revision || this.#engine.mvcc.revision);
  }

  async txn(
    compares: readonly Compare[],
    success: readonly Operation[],
    failure: readonly Operation[] = [],
  ): Promise<TxnResult> {
    const outcome = this.#engine.txn({
      compares: compares.map(toComparison),
      success: success.map(toOp),
      failure: failure.map(toOp),
    });
    const { succeeded, revision } = outcome;
    return {
      succeeded,
      revision,
      results: outcome.results.map((result) => toOperationResult(result, revision)),
    };
  }

  async *watch(key: string, options: WatchOptions = {}): AsyncGenerator<WatchBatch, void, undefined> {
    const signal = options.signal ?? new AbortController().signal;
    const cursor = this.#engine.cursor(toRange(key, options), options);
    cursor.check();
    options.onCreated?.(this.#engine.visible);
    for (let batch = await cursor.take(signal); batch !== undefined; batch = await cursor.take(signal)) {
      yield { revision: batch.revision, events: batch.events.map(toTextEvent) };
    }
  }

  async compact(revision: number): Promise<void> {
    this.#engine.compact(revision);
  }

  /** Ends watches and timers; what is stored stays readable. */
  async close(): Promise<void> {
    this.#engine.close();
  }
}

function engineLeases(engine: Engine): Leases {
  const withTextKeys = (lease: LeaseInfo): LeaseInfo => ({ ...lease, keys: lease.keys.map(toText) });
  return {
    grant: async (ttlSeconds, id) => engine.grant(ttlSeconds, id),
    keepAlive: async (id) => engine.keepAlive(id),
    revoke: async (id) => engine.revoke(id),
    timeToLive: async (id) => withTextKeys(engine.timeToLive(id)),
  };
}

function toQuery(key: string, options: RangeOptions): Query {
  return { ...options, range: toRange(key, options) };
}

function toComparison(compare: Compare): Comparison {
  const { key, ...rest } = compare;
  return { ...rest, range: { key: toBinary(key) } };
}

function toOp(operation: Operation): Op {
  switch (operation.type) {
    case "put": {
      // Copied: the caller may use its buffer again.
      const value = Uint8Array.from(operation.value);
      return { type: "put", key: toBinary(operation.key), value, lease: operation.lease ?? "0" };
    }
    case "delete":
      return { type: "delete", range: toRange(operation.key, operation) };
    case "range":
      return { type: "range", query: toQuery(operation.key, operation.options ?? {}) };
  }
}

function toOperationResult(result: OpResult, revision: number): OperationResult {
  if (result.type === "put") return { type: "put" };
  if (result.type === "delete") return { type: "delete", deleted: result.prevKvs.length };
  return { type: "range", ...toRangeResult(result, revision) };
}

function toRangeResult(result: QueryResult, revision: number): RangeResult {
  return { kvs: result.kvs.map(toTextKv), count: result.count, more: result.more, revision };
}

function toTextKv(kv: KeyValue): KeyValue {
  const key = toText(kv.key);
  return key === kv.key ? kv : { ...kv, key };
}

function toTextEvent(event: StoreEvent): StoreEvent {
  const kv = toTextKv(event.kv);
  return event.prevKv === undefined ? { ...event, kv } : { ...event, kv, prevKv: toTextKv(event.prevKv) };
}
