/**
 * One store: key space and leases, the timer that ends leases, and the cursors of watches. The in-memory store and the
 * server are two faces of it. Everything happens at once, within the call; what is written becomes visible to watches
 * when the journal has it on disk (without a journal: at once).
 */
import { type Clock, systemClock } from "./clock.js";
import { Cursor, type CursorOptions } from "./cursor.js";
import { invalidArgument } from "./errors.js";
import type { KeyRange } from "./keys.js";
import { LeaseTable } from "./lease-table.js";
import { Mvcc, type Writer } from "./mvcc.js";
import { type Query, type QueryResult, runQuery } from "./query.js";
import { applyOp, checkAgainst, checkTxn, holds, type OpResult, type Txn } from "./txn.js";
import type { KeyValue, LeaseInfo, StoreEvent } from "./types.js";

/** What changed, in the order in which it changed; a journal keeps these. */
export type Change =
  | { readonly type: "write"; readonly revision: number; readonly events: readonly StoreEvent[] }
  | { readonly type: "grant"; readonly id: string; readonly ttlSeconds: number }
  | { readonly type: "revoke"; readonly id: string }
  | { readonly type: "compact"; readonly revision: number };

export interface EngineOptions {
  readonly clock?: Clock;
  /** Revisions that stay readable and watchable; older ones are compacted away. Default 10,000. */
  readonly keepRevisions?: number;
  /** First 31 bits of the lease ids that the store chooses. */
  readonly idSpace: number;
}

export interface TxnOutcome {
  readonly succeeded: boolean;
  readonly revision: number;
  readonly results: readonly OpResult[];
}

export class Engine {
  readonly mvcc = new Mvcc();
  readonly leases: LeaseTable;
  /** Told of every change, at once; set by the journal, which then calls `publish`. */
  onChange: ((change: Change) => void) | undefined;
  readonly #clock: Clock;
  readonly #keepRevisions: number;
  readonly #waiting = new Set<() => void>();
  #visible = 1;
  #closed = false;
  #cancelTimer: (() => void) | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;

  constructor(options: EngineOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#keepRevisions = options.keepRevisions ?? 10_000;
    this.leases = new LeaseTable(options.idSpace);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The last revision that watches may see. */
  get visible(): number {
    return this.#visible;
  }

  /** Throws CompactedError, StoreRequestError. */
  range(query: Query): QueryResult {
    return runQuery(this.mvcc, query);
  }

  /** Throws StoreRequestError, CompactedError, LeaseNotFoundError; then nothing was written. */
  txn(txn: Txn): TxnOutcome {
    checkTxn(txn);
    const succeeded = holds(this.mvcc, txn.compares);
    const ops = succeeded ? txn.success : txn.failure;
    checkAgainst(this.mvcc, ops, this.leases.has);
    const results = this.#write((writer) => ops.map((op) => applyOp(this.mvcc, writer, op)));
    return { succeeded, revision: this.mvcc.revision, results };
  }

  /** Throws CompactedError, StoreRequestError. */
  compact(revision: number): void {
    this.mvcc.compact(revision);
    this.#changed({ type: "compact", revision });
  }

  /** `id` "0" lets the store choose. @throws StoreRequestError */
  grant(ttlSeconds: number, id = "0"): LeaseInfo {
    if (BigInt(id) < 0n) throw invalidArgument("etcdserver: lease ID must be positive");
    const lease = this.leases.grant(id, ttlSeconds, this.#clock.now());
    this.#changed({ type: "grant", id: lease.id, ttlSeconds: lease.grantedTtlSeconds });
    this.#armTimer();
    return lease;
  }

  /** @throws LeaseNotFoundError */
  keepAlive(id: string): number {
    return this.leases.keepAlive(id, this.#clock.now());
  }

  /** The keys of the lease go in one revision. @throws LeaseNotFoundError */
  revoke(id: string): void {
    const keys = this.leases.remove(id);
    this.#write((writer) => {
      for (const key of keys) writer.delete({ key });
    });
    this.#changed({ type: "revoke", id });
  }

  timeToLive(id: string): LeaseInfo {
    return this.leases.info(id, this.#clock.now());
  }

  /** A watch's place in the history. */
  cursor(range: KeyRange, options: CursorOptions): Cursor {
    return new Cursor(this, range, options);
  }

  /** Resolves when a later revision is visible, the store closes or the signal ends the wait. */
  changedSince(revision: number, signal: AbortSignal): Promise<void> {
    if (this.#visible > revision || this.#closed || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener("abort", wake);
        this.#waiting.delete(wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener("abort", wake);
    });
  }

  /** Lets watches see everything up to the revision. */
  publish(revision: number): void {
    this.#visible = Math.max(this.#visible, revision);
    this.#wake();
  }

  /** Brings one change of a journal back into a store that has none of the later ones. */
  replay(change: Change): void {
    switch (change.type) {
      case "write":
        this.leases.attach(this.mvcc.write((writer) => replayEvents(writer, change.events)));
        return;
      case "grant":
        // Nobody could renew while the store was away, so every lease starts anew, as in etcd after an election.
        this.leases.grant(change.id, change.ttlSeconds, this.#clock.now());
        return;
      case "revoke":
        this.leases.remove(change.id);
        return;
      case "compact":
        this.mvcc.compact(change.revision);
    }
  }

  /** Brings a snapshot's keys back, before the changes that came after it. */
  replayBase(compactRevision: number, kvs: readonly KeyValue[]): void {
    this.mvcc.restore(compactRevision, kvs);
    this.leases.attach(kvs.map((kv) => ({ type: "put", kv })));
  }

  /** After the replay: lets watches see the history and starts to end leases. */
  start(): void {
    this.publish(this.mvcc.revision);
    this.#armTimer();
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
    this.#wake();
  }

  #write<T>(body: (writer: Writer) => T): T {
    let result: T | undefined;
    const events = this.mvcc.write((writer) => {
      result = body(writer);
    });
    if (events.length > 0) {
      this.leases.attach(events);
      this.#changed({ type: "write", revision: this.mvcc.revision, events });
      this.#compactOld();
    }
    return result as T;
  }

  #changed(change: Change): void {
    if (this.onChange !== undefined) this.onChange(change);
    else if (change.type === "write") this.publish(change.revision);
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** In steps of a tenth, since a compaction goes through all keys. */
  #compactOld(): void {
    const kept = this.mvcc.revision - this.mvcc.compactRevision;
    if (kept > this.#keepRevisions * 1.1) this.compact(this.mvcc.revision - this.#keepRevisions);
  }

  #armTimer(): void {
    const nextMs = this.leases.nextExpiryMs();
    if (nextMs === undefined || nextMs >= this.#timerAtMs || this.#closed) return;
    this.#cancelTimer?.();
    this.#timerAtMs = nextMs;
    this.#cancelTimer = this.#clock.schedule(Math.max(0, Math.ceil(nextMs - this.#clock.now())), () =>
      this.#expire(),
    );
  }

  #expire(): void {
    for (const id of this.leases.due(this.#clock.now())) this.revoke(id);
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    this.#armTimer();
  }
}

function replayEvents(writer: Writer, events: readonly StoreEvent[]): void {
  for (const { type, kv } of events) {
    if (type === "put") writer.put(kv.key, kv.value, kv.lease);
    else writer.delete({ key: kv.key });
  }
}
