/** Range reads as etcd's RangeRequest means them: revision, filters, order, limit. */
import { ETCD_MESSAGE, invalidArgument } from "./errors.js";
import type { KeyRange } from "./keys.js";
import type { Mvcc } from "./mvcc.js";
import type { KeyValue } from "./types.js";

export type SortTarget = "key" | "version" | "createRevision" | "modRevision" | "value";

/** Bounds on a revision field, both inclusive; 0: no bound. */
export interface RevisionBounds {
  readonly min: number;
  readonly max: number;
}

export interface Query {
  readonly range: KeyRange;
  /** 0 or none: no limit. */
  readonly limit?: number;
  /** 0 or none: now. */
  readonly revision?: number;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  readonly sort?: { readonly target: SortTarget; readonly descending: boolean };
  readonly modRevision?: RevisionBounds;
  readonly createRevision?: RevisionBounds;
}

export interface QueryResult {
  readonly kvs: readonly KeyValue[];
  /** Keys in the range, whatever the limit and the filters. */
  readonly count: number;
  readonly more: boolean;
}

const NO_BYTES = new Uint8Array(0);

/** Throws CompactedError, or StoreRequestError for no key or a revision that is not there yet. */
export function runQuery(mvcc: Mvcc, query: Query): QueryResult {
  if (query.range.key === "") throw invalidArgument(ETCD_MESSAGE.emptyKey);
  const all = mvcc.range(query.range, query.revision);
  if (query.countOnly === true) return { kvs: [], count: all.length, more: false };
  let kvs = all.filter(
    (kv) => within(kv.modRevision, query.modRevision) && within(kv.createRevision, query.createRevision),
  );
  if (query.sort !== undefined) sortBy(kvs, query.sort.target, query.sort.descending);
  const limit = query.limit ?? 0;
  const more = limit > 0 && kvs.length > limit;
  if (more) kvs = kvs.slice(0, limit);
  if (query.keysOnly === true) kvs = kvs.map((kv) => ({ ...kv, value: NO_BYTES }));
  return { kvs, count: all.length, more };
}

function within(revision: number, bounds: RevisionBounds | undefined): boolean {
  if (bounds === undefined) return true;
  return revision >= bounds.min && (bounds.max === 0 || revision <= bounds.max);
}

function sortBy(kvs: KeyValue[], target: SortTarget, descending: boolean): void {
  const sign = descending ? -1 : 1;
  kvs.sort((a, b) => sign * compareBy(target, a, b));
}

function compareBy(target: SortTarget, a: KeyValue, b: KeyValue): number {
  if (target === "key") return a.key < b.key ? -1 : 1;
  return target === "value" ? Buffer.compare(a.value, b.value) : a[target] - b[target];
}
