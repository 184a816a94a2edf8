/** The gRPC methods of etcd that the store serves and the client calls (services of api/etcdserverpb/rpc.proto). */
import * as m from "./messages.js";
import type { Codec } from "./protobuf.js";

export interface Method<Request, Response> {
  readonly path: string;
  readonly request: Codec<Request>;
  readonly response: Codec<Response>;
}

function method<Q, A>(name: string, request: Codec<Q>, response: Codec<A>): Method<Q, A> {
  return { path: `/etcdserverpb.${name}`, request, response };
}

export const KV = {
  range: method("KV/Range", m.rangeRequest, m.rangeResponse),
  put: method("KV/Put", m.putRequest, m.putResponse),
  deleteRange: method("KV/DeleteRange", m.deleteRequest, m.deleteResponse),
  txn: method("KV/Txn", m.txnRequest, m.txnResponse),
  compact: method("KV/Compact", m.compactionRequest, m.headerOnly),
} as const;

/** Both directions stream. */
export const WATCH = method("Watch/Watch", m.watchRequest, m.watchResponse);

export const LEASE = {
  grant: method("Lease/LeaseGrant", m.leaseGrantRequest, m.leaseGrantResponse),
  revoke: method("Lease/LeaseRevoke", m.leaseRevokeRequest, m.headerOnly),
  timeToLive: method("Lease/LeaseTimeToLive", m.timeToLiveRequest, m.timeToLiveResponse),
  leases: method("Lease/LeaseLeases", m.empty, m.leasesResponse),
} as const;

/** Both directions stream. */
export const KEEP_ALIVE = method("Lease/LeaseKeepAlive", m.keepAliveRequest, m.keepAliveResponse);

export const ABOUT = {
  status: method("Maintenance/Status", m.empty, m.statusResponse),
  memberList: method("Cluster/MemberList", m.empty, m.memberListResponse),
} as const;
