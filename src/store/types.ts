/**
 * The store interface: etcd v3's data model (one key space, one revision counter, leases, watches from a revision).
 * Implemented by the in-memory store, by the etcd v3 client, and served over gRPC by the embedded server.
 * Revisions are JavaScript numbers (exact up to 2^53). Lease ids are bigints in decimal, as strings ("0": none).
 */

export interface KeyValue {
  readonly key: string;
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Number of writes since the key was created; 1 for a new key. */
  readonly version: number;
  readonly lease: string;
}

export interface RangeOptions {
  /** Read everything that starts with the key. */
  readonly prefix?: boolean;
  /** Read the range [key, rangeEnd) instead; etcd's own form, for pages. */
  readonly rangeEnd?: string;
  readonly limit?: number;
  /** Read the store as it was at this revision; throws CompactedError when it is gone. */
  readonly revision?: number;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
}

export interface RangeResult {
  readonly kvs: readonly KeyValue[];
  /** Number of keys in the range, whatever the limit. */
  readonly count: number;
  readonly more: boolean;
  /** Store revision that was read. */
  readonly revision: number;
}

export type Compare =
  | {
      readonly key: string;
      readonly target: "version" | "createRevision" | "modRevision";
      readonly result: "=" | "!=" | "<" | ">";
      readonly value: number;
    }
  | {
      readonly key: string;
      readonly target: "value";
      readonly result: "=" | "!=";
      readonly value: Uint8Array;
    }
  | { readonly key: string; readonly target: "lease"; readonly result: "=" | "!="; readonly value: string };

export type Operation =
  | { readonly type: "put"; readonly key: string; readonly value: Uint8Array; readonly lease?: string }
  | { readonly type: "delete"; readonly key: string; readonly prefix?: boolean; readonly rangeEnd?: string }
  | { readonly type: "range"; readonly key: string; readonly options?: RangeOptions };

export type OperationResult =
  | { readonly type: "put" }
  | { readonly type: "delete"; readonly deleted: number }
  | ({ readonly type: "range" } & RangeResult);

export interface TxnResult {
  readonly succeeded: boolean;
  readonly revision: number;
  readonly results: readonly OperationResult[];
}

export interface StoreEvent {
  readonly type: "put" | "delete";
  /** For a delete: key and modRevision (the revision of the delete); value is empty. */
  readonly kv: KeyValue;
  /** The value before the event, when the watch asked for it. */
  readonly prevKv?: KeyValue;
}

/** Events of one watch message; all events of one revision are in the same batch. Empty for progress. */
export interface WatchBatch {
  readonly revision: number;
  readonly events: readonly StoreEvent[];
}

export interface WatchOptions {
  readonly prefix?: boolean;
  /** First revision to deliver; without it: from now. */
  readonly fromRevision?: number;
  readonly prevKv?: boolean;
  /** Ends the iteration. */
  readonly signal?: AbortSignal;
  /** Called once, when the server has the watch in place (nothing later can be missed). */
  readonly onCreated?: (revision: number) => void;
}

export interface LeaseInfo {
  readonly id: string;
  /** Seconds as granted, and seconds left (-1: unknown lease). */
  readonly grantedTtlSeconds: number;
  readonly ttlSeconds: number;
  readonly keys: readonly string[];
}

export interface Leases {
  /** Grants a lease; `id` "0" or none lets the store choose. */
  grant(ttlSeconds: number, id?: string): Promise<LeaseInfo>;
  /** Renews once; the new TTL in seconds. Throws LeaseNotFoundError when it is gone. */
  keepAlive(id: string): Promise<number>;
  revoke(id: string): Promise<void>;
  timeToLive(id: string): Promise<LeaseInfo>;
}

export interface Store {
  readonly leases: Leases;
  range(key: string, options?: RangeOptions): Promise<RangeResult>;
  /** Atomically: compares, then the success or the failure operations. */
  txn(
    compares: readonly Compare[],
    success: readonly Operation[],
    failure?: readonly Operation[],
  ): Promise<TxnResult>;
  /**
   * Events under a key or prefix. The client's watch survives reconnects (it resumes after the last revision that it
   * delivered). Throws CompactedError when the start is compacted: the caller lists again, then watches again.
   */
  watch(key: string, options?: WatchOptions): AsyncIterable<WatchBatch>;
  compact(revision: number): Promise<void>;
  close(): Promise<void>;
}

/** The asked revision is older than the last compaction. */
export class CompactedError extends Error {
  constructor(readonly compactRevision: number) {
    super(`required revision has been compacted (oldest kept revision: ${compactRevision})`);
    this.name = "CompactedError";
  }
}

/** The lease does not exist or has expired. */
export class LeaseNotFoundError extends Error {
  constructor(readonly leaseId: string) {
    super(`requested lease not found: ${leaseId}`);
    this.name = "LeaseNotFoundError";
  }
}

/** The store could not be reached; the call may be tried again. */
export class StoreUnavailableError extends Error {
  constructor(endpoint: string, cause: string) {
    super(`store ${endpoint} unavailable: ${cause}`);
    this.name = "StoreUnavailableError";
  }
}
