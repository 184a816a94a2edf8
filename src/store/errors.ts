/** Errors of requests, as etcd words them (etcd's api/v3rpc/rpctypes/error.go); the texts are part of the protocol. */
import { CompactedError, LeaseNotFoundError } from "./types.js";

/** gRPC codes by number, as far as the store answers with them (gRPC's "Status codes" page). */
export const GRPC_CODE = {
  INVALID_ARGUMENT: 3,
  NOT_FOUND: 5,
  FAILED_PRECONDITION: 9,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
} as const;

/** What clients of etcd compare texts with. */
export const ETCD_MESSAGE = {
  emptyKey: "etcdserver: key is not provided",
  keyNotFound: "etcdserver: key not found",
  valueProvided: "etcdserver: value is provided",
  leaseProvided: "etcdserver: lease is provided",
  tooManyOps: "etcdserver: too many operations in txn request",
  duplicateKey: "etcdserver: duplicate key given in txn request",
  compacted: "etcdserver: mvcc: required revision has been compacted",
  futureRevision: "etcdserver: mvcc: required revision is a future revision",
  leaseNotFound: "etcdserver: requested lease not found",
  leaseExists: "etcdserver: lease already exists",
  leaseTtlTooLarge: "etcdserver: too large lease TTL",
} as const;

/** The store refuses a request that no retry would make right; `code` is the gRPC code. */
export class StoreRequestError extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
    this.name = "StoreRequestError";
  }
}

/** An argument error with one of etcd's texts. */
export function invalidArgument(message: string): StoreRequestError {
  return new StoreRequestError(GRPC_CODE.INVALID_ARGUMENT, message);
}

/** The gRPC code and text that stand for an error on the wire; undefined for one that is not the request's fault. */
export function toStatus(error: unknown): { code: number; details: string } | undefined {
  if (error instanceof CompactedError)
    return { code: GRPC_CODE.OUT_OF_RANGE, details: ETCD_MESSAGE.compacted };
  if (error instanceof LeaseNotFoundError)
    return { code: GRPC_CODE.NOT_FOUND, details: ETCD_MESSAGE.leaseNotFound };
  if (error instanceof StoreRequestError) return { code: error.code, details: error.message };
  return undefined;
}
