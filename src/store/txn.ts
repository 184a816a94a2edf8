/** Transactions: comparisons, then one of two lists of operations, with etcd's checks before anything is written. */
import { ETCD_MESSAGE, invalidArgument } from "./errors.js";
import { inRange, type KeyRange } from "./keys.js";
import type { Mvcc, Writer } from "./mvcc.js";
import { type Query, type QueryResult, runQuery } from "./query.js";
import { type KeyValue, LeaseNotFoundError } from "./types.js";

/** etcd's default of --max-txn-ops. */
const MAX_OPS = 128;

export type Relation = "=" | "!=" | "<" | ">";

/** Holds when it holds for every key of the range. Values are revisions, bytes, or a lease id. */
export type Comparison = { readonly range: KeyRange; readonly result: Relation } & (
  | { readonly target: "version" | "createRevision" | "modRevision"; readonly value: number }
  | { readonly target: "value"; readonly value: Uint8Array }
  | { readonly target: "lease"; readonly value: string }
);

export interface Put {
  readonly type: "put";
  readonly key: string;
  readonly value: Uint8Array;
  readonly lease: string;
  /** Keep the value (the lease) that the key has. */
  readonly ignoreValue?: boolean;
  readonly ignoreLease?: boolean;
}

export type Op =
  | Put
  | { readonly type: "delete"; readonly range: KeyRange }
  | { readonly type: "range"; readonly query: Query };

export type OpResult =
  | { readonly type: "put"; readonly prevKv?: KeyValue }
  | { readonly type: "delete"; readonly prevKvs: readonly KeyValue[] }
  | ({ readonly type: "range" } & QueryResult);

export interface Txn {
  readonly compares: readonly Comparison[];
  readonly success: readonly Op[];
  readonly failure: readonly Op[];
}

/** Checks that need no state; both lists, whichever will run. @throws StoreRequestError */
export function checkTxn({ compares, success, failure }: Txn): void {
  if (Math.max(compares.length, success.length, failure.length) > MAX_OPS) {
    throw invalidArgument(ETCD_MESSAGE.tooManyOps);
  }
  if (compares.some(({ range }) => range.key === "")) throw invalidArgument(ETCD_MESSAGE.emptyKey);
  checkOps(success);
  checkOps(failure);
}

function checkOps(ops: readonly Op[]): void {
  for (const op of ops) checkOp(op);
  const puts = ops.flatMap((op) => (op.type === "put" ? [op.key] : []));
  const deletes = ops.flatMap((op) => (op.type === "delete" ? [op.range] : []));
  const twice = new Set(puts).size < puts.length;
  if (twice || puts.some((key) => deletes.some((range) => inRange(range, key)))) {
    throw invalidArgument(ETCD_MESSAGE.duplicateKey);
  }
}

function checkOp(op: Op): void {
  const { key } = op.type === "put" ? op : op.type === "delete" ? op.range : op.query.range;
  if (key === "") throw invalidArgument(ETCD_MESSAGE.emptyKey);
  if (op.type !== "put") return;
  if (op.ignoreValue === true && op.value.length > 0) throw invalidArgument(ETCD_MESSAGE.valueProvided);
  if (op.ignoreLease === true && op.lease !== "0") throw invalidArgument(ETCD_MESSAGE.leaseProvided);
}

export function holds(mvcc: Mvcc, compares: readonly Comparison[]): boolean {
  return compares.every((compare) => {
    const kvs = mvcc.range(compare.range);
    // A missing key has revision, version and lease 0, but no value, not even an empty one.
    if (kvs.length === 0)
      return compare.target !== "value" && relates(order(compare, undefined), compare.result);
    return kvs.every((kv) => relates(order(compare, kv), compare.result));
  });
}

function order(compare: Comparison, kv: KeyValue | undefined): number {
  switch (compare.target) {
    case "value":
      return Buffer.compare(kv?.value ?? new Uint8Array(0), compare.value);
    case "lease": {
      const [ours, asked] = [BigInt(kv?.lease ?? "0"), BigInt(compare.value)];
      return ours < asked ? -1 : Number(ours > asked);
    }
    default:
      return Math.sign((kv?.[compare.target] ?? 0) - compare.value);
  }
}

function relates(sign: number, result: Relation): boolean {
  if (result === "=") return sign === 0;
  if (result === "!=") return sign !== 0;
  return result === "<" ? sign < 0 : sign > 0;
}

/** Checks that need the state: every one passes before the first write. @throws StoreRequestError, LeaseNotFoundError */
export function checkAgainst(mvcc: Mvcc, ops: readonly Op[], hasLease: (id: string) => boolean): void {
  for (const op of ops) {
    if (op.type === "range") mvcc.checkRevision(op.query.revision ?? 0);
    if (op.type !== "put") continue;
    if (op.lease !== "0" && !hasLease(op.lease)) throw new LeaseNotFoundError(op.lease);
    const needsKey = op.ignoreValue === true || op.ignoreLease === true;
    if (needsKey && mvcc.get(op.key) === undefined) throw invalidArgument(ETCD_MESSAGE.keyNotFound);
  }
}

export function applyOp(mvcc: Mvcc, writer: Writer, op: Op): OpResult {
  if (op.type === "range") return { type: "range", ...runQuery(mvcc, op.query) };
  if (op.type === "delete") return { type: "delete", prevKvs: writer.delete(op.range) };
  const prevKv = mvcc.get(op.key);
  const value = op.ignoreValue === true && prevKv !== undefined ? prevKv.value : op.value;
  const lease = op.ignoreLease === true && prevKv !== undefined ? prevKv.lease : op.lease;
  writer.put(op.key, value, lease);
  return prevKv === undefined ? { type: "put" } : { type: "put", prevKv };
}
