/**
 * etcd's messages (api/mvccpb/kv.proto, api/etcdserverpb/rpc.proto), the fields that this store knows. Keys are binary
 * strings, ids decimal text, enums their numbers.
 */
import {
  binaries,
  binary,
  bool,
  bytes,
  id,
  int,
  ints,
  list,
  type MessageOf,
  message,
  sub,
  text,
  texts,
} from "./protobuf.js";
import type { KeyValue } from "./types.js";

/** Values of RangeRequest.SortTarget, Compare.CompareTarget and Compare.CompareResult, by their numbers. */
export const SORT_TARGETS = ["key", "version", "createRevision", "modRevision", "value"] as const;
export const COMPARE_TARGETS = ["version", "createRevision", "modRevision", "value", "lease"] as const;
export const COMPARE_RESULTS = ["=", ">", "<", "!="] as const;
/** RangeRequest.SortOrder. */
export const SORT_DESCEND = 2;
/** mvccpb.Event.EventType, which is also WatchCreateRequest.FilterType: 0 put, 1 delete. */
export const EVENT_TYPES = ["put", "delete"] as const;

export const keyValue = message<{ -readonly [K in keyof KeyValue]: KeyValue[K] }>({
  key: binary(1),
  createRevision: int(2),
  modRevision: int(3),
  version: int(4),
  value: bytes(5),
  lease: id(6),
});

export const event = message({ type: int(1), kv: sub(2, keyValue), prevKv: sub(3, keyValue) });

export const header = message({ clusterId: id(1), memberId: id(2), revision: int(3), raftTerm: int(4) });
export type Header = MessageOf<typeof header>;

export const rangeRequest = message({
  key: binary(1),
  rangeEnd: binary(2),
  limit: int(3),
  revision: int(4),
  sortOrder: int(5),
  sortTarget: int(6),
  serializable: bool(7),
  keysOnly: bool(8),
  countOnly: bool(9),
  minModRevision: int(10),
  maxModRevision: int(11),
  minCreateRevision: int(12),
  maxCreateRevision: int(13),
});
export type RangeRequest = MessageOf<typeof rangeRequest>;
export const rangeResponse = message({
  header: sub(1, header),
  kvs: list(2, keyValue),
  more: bool(3),
  count: int(4),
});
export type RangeResponse = MessageOf<typeof rangeResponse>;

export const putRequest = message({
  key: binary(1),
  value: bytes(2),
  lease: id(3),
  prevKv: bool(4),
  ignoreValue: bool(5),
  ignoreLease: bool(6),
});
export type PutRequest = MessageOf<typeof putRequest>;
export const putResponse = message({ header: sub(1, header), prevKv: sub(2, keyValue) });

export const deleteRequest = message({ key: binary(1), rangeEnd: binary(2), prevKv: bool(3) });
export type DeleteRequest = MessageOf<typeof deleteRequest>;
export const deleteResponse = message({
  header: sub(1, header),
  deleted: int(2),
  prevKvs: list(3, keyValue),
});

/** One of the fields. Transactions inside transactions are seen only to be refused. */
export const requestOp = message({
  range: sub(1, rangeRequest),
  put: sub(2, putRequest),
  delete: sub(3, deleteRequest),
  txn: sub(4, message({})),
});
export type RequestOp = MessageOf<typeof requestOp>;
export const responseOp = message({
  range: sub(1, rangeResponse),
  put: sub(2, putResponse),
  delete: sub(3, deleteResponse),
});
export type ResponseOp = MessageOf<typeof responseOp>;

export const compare = message({
  result: int(1),
  target: int(2),
  key: binary(3),
  version: int(4),
  createRevision: int(5),
  modRevision: int(6),
  value: bytes(7),
  lease: id(8),
  rangeEnd: binary(64),
});
export type CompareMessage = MessageOf<typeof compare>;

export const txnRequest = message({
  compare: list(1, compare),
  success: list(2, requestOp),
  failure: list(3, requestOp),
});
export type TxnRequest = MessageOf<typeof txnRequest>;
export const txnResponse = message({
  header: sub(1, header),
  succeeded: bool(2),
  responses: list(3, responseOp),
});

export const compactionRequest = message({ revision: int(1), physical: bool(2) });
export const headerOnly = message({ header: sub(1, header) });
export const empty = message({});

export const watchCreate = message({
  key: binary(1),
  rangeEnd: binary(2),
  startRevision: int(3),
  progressNotify: bool(4),
  filters: ints(5),
  prevKv: bool(6),
  watchId: int(7),
});
export type WatchCreate = MessageOf<typeof watchCreate>;
export const watchRequest = message({
  create: sub(1, watchCreate),
  cancel: sub(2, message({ watchId: int(1) })),
  progress: sub(3, empty),
});
export type WatchRequest = MessageOf<typeof watchRequest>;
export const watchResponse = message({
  header: sub(1, header),
  watchId: int(2),
  created: bool(3),
  canceled: bool(4),
  compactRevision: int(5),
  cancelReason: text(6),
  events: list(11, event),
});
export type WatchResponse = MessageOf<typeof watchResponse>;

export const leaseGrantRequest = message({ ttlSeconds: int(1), id: id(2) });
export const leaseGrantResponse = message({
  header: sub(1, header),
  id: id(2),
  ttlSeconds: int(3),
  error: text(4),
});
export const leaseRevokeRequest = message({ id: id(1) });
export const keepAliveRequest = message({ id: id(1) });
export type KeepAliveRequest = MessageOf<typeof keepAliveRequest>;
export const keepAliveResponse = message({ header: sub(1, header), id: id(2), ttlSeconds: int(3) });
export type KeepAliveResponse = MessageOf<typeof keepAliveResponse>;
export const timeToLiveRequest = message({ id: id(1), keys: bool(2) });
export const timeToLiveResponse = message({
  header: sub(1, header),
  id: id(2),
  ttlSeconds: int(3),
  grantedTtlSeconds: int(4),
  keys: binaries(5),
});
export const leasesResponse = message({ header: sub(1, header), leases: list(2, message({ id: id(1) })) });

export const member = message({ id: id(1), name: text(2), peerUrls: texts(3), clientUrls: texts(4) });
export const memberListResponse = message({ header: sub(1, header), members: list(2, member) });
export const statusResponse = message({
  header: sub(1, header),
  version: text(2),
  dbSizeBytes: int(3),
  leader: id(4),
  raftIndex: int(5),
  raftTerm: int(6),
  raftAppliedIndex: int(7),
  dbSizeInUseBytes: int(9),
});
