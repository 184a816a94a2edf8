/** Between messages of the wire and requests of the engine. */
import { GRPC_CODE, invalidArgument, StoreRequestError } from "./errors.js";
import type { KeyRange } from "./keys.js";
import * as m from "./messages.js";
import type { Query } from "./query.js";
import type { Comparison, Op, OpResult, Put, Txn } from "./txn.js";

/** An empty range end means the one key. */
export function wireRange({ key, rangeEnd }: { key: string; rangeEnd: string }): KeyRange {
  return rangeEnd === "" ? { key } : { key, end: rangeEnd };
}

/** @throws StoreRequestError for an unknown sort target */
export function wireQuery(request: m.RangeRequest): Query {
  const target = m.SORT_TARGETS[request.sortTarget];
  if (target === undefined) throw invalidArgument("etcdserver: invalid sort option");
  // A target without an order sorts upwards, as in etcd.
  const sorts = request.sortOrder !== 0 || target !== "key";
  return {
    range: wireRange(request),
    limit: request.limit,
    revision: request.revision,
    keysOnly: request.keysOnly,
    countOnly: request.countOnly,
    ...(sorts ? { sort: { target, descending: request.sortOrder === m.SORT_DESCEND } } : {}),
    modRevision: { min: request.minModRevision, max: request.maxModRevision },
    createRevision: { min: request.minCreateRevision, max: request.maxCreateRevision },
  };
}

export function wirePut({ key, value, lease, ignoreValue, ignoreLease }: m.PutRequest): Put {
  return { type: "put", key, value, lease, ignoreValue, ignoreLease };
}

/** @throws StoreRequestError for what this store does not know */
export function wireTxn({ compare, success, failure }: m.TxnRequest): Txn {
  return { compares: compare.map(wireCompare), success: success.map(wireOp), failure: failure.map(wireOp) };
}

function wireCompare(compare: m.CompareMessage): Comparison {
  const target = m.COMPARE_TARGETS[compare.target];
  const result = m.COMPARE_RESULTS[compare.result];
  if (target === undefined || result === undefined) throw invalidArgument("etcdserver: unknown comparison");
  const range = wireRange(compare);
  if (target === "value") return { range, result, target, value: compare.value };
  if (target === "lease") return { range, result, target, value: compare.lease };
  return { range, result, target, value: compare[target] };
}

function wireOp(op: m.RequestOp): Op {
  if (op.range !== undefined) return { type: "range", query: wireQuery(op.range) };
  if (op.put !== undefined) return wirePut(op.put);
  if (op.delete !== undefined) return { type: "delete", range: wireRange(op.delete) };
  if (op.txn === undefined) throw invalidArgument("etcdserver: empty operation in txn request");
  const reason = "podwire store: transactions inside transactions are not supported";
  throw new StoreRequestError(GRPC_CODE.UNIMPLEMENTED, reason);
}

/** The answer to one operation, with the values that it replaced if they are asked for. */
export function toResponseOp(result: OpResult, withPrevious: boolean, header: m.Header): m.ResponseOp {
  switch (result.type) {
    case "range":
      return m.responseOp.make({
        range: { header, kvs: result.kvs, more: result.more, count: result.count },
      });
    case "put":
      return m.responseOp.make({ put: { header, prevKv: withPrevious ? result.prevKv : undefined } });
    case "delete": {
      const prevKvs = withPrevious ? result.prevKvs : [];
      return m.responseOp.make({ delete: { header, deleted: result.prevKvs.length, prevKvs } });
    }
  }
}
