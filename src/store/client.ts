/** The etcd v3 client: one for a real etcd and for the embedded store. */
import { type CallOptions, callOnce, callUnary } from "./call.js";
import { watchKeys, withTextKey } from "./client-watch.js";
import { Endpoints } from "./endpoints.js";
import { StoreRequestError } from "./errors.js";
import { toBinary, toRange, toText } from "./keys.js";
import * as m from "./messages.js";
import { KEEP_ALIVE, KV, LEASE } from "./services.js";
import {
  type Compare,
  type LeaseInfo,
  LeaseNotFoundError,
  type Leases,
  type Operation,
  type OperationResult,
  type RangeOptions,
  type RangeResult,
  type Store,
  type TxnResult,
  type WatchBatch,
  type WatchOptions,
} from "./types.js";

export interface ConnectOptions {
  /** `http://host:port` or `unix:/path`; several are tried in turn. */
  readonly endpoints: readonly string[];
  /** How long a call waits for a store that is away, then StoreUnavailableError. Default 5 s. */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 5000;

/**
 * A store over gRPC. Connects when it is first used, so it never fails because the store is away. A write that broke off
 * in the middle is not repeated, since it may have been done: it fails with StoreUnavailableError, and the caller looks.
 * CompactedError of calls other than `watch` has compactRevision 0, because etcd does not say which it is.
 * @throws Error for an endpoint of a form that is not known, TLS and user names among them
 */
export function connectStore(options: ConnectOptions): Store {
  return new EtcdStore(options);
}

class EtcdStore implements Store {
  readonly leases: Leases;
  readonly #endpoints: Endpoints;
  readonly #timeoutMs: number;
  readonly #closed = new AbortController();

  constructor({ endpoints, timeoutMs = DEFAULT_TIMEOUT_MS }: ConnectOptions) {
    this.#endpoints = new Endpoints(endpoints);
    this.#timeoutMs = timeoutMs;
    this.leases = clientLeases(this.#endpoints, (lease) => ({ ...this.#options(true), lease }));
  }

  async range(key: string, options: RangeOptions = {}): Promise<RangeResult> {
    const answer = await callUnary(
      this.#endpoints,
      KV.range,
      toRangeRequest(key, options),
      this.#options(true),
    );
    return toRangeResult(answer, options.revision || revisionOf(answer));
  }

  async txn(
    compares: readonly Compare[],
    success: readonly Operation[],
    failure: readonly Operation[] = [],
  ): Promise<TxnResult> {
    const request = {
      compare: compares.map(toCompare),
      success: success.map(toRequestOp),
      failure: failure.map(toRequestOp),
    };
    const lease = [...success, ...failure].find((op) => op.type === "put" && op.lease !== undefined);
    const options = { ...this.#options(false), lease: lease?.type === "put" ? lease.lease : undefined };
    const answer = await callUnary(this.#endpoints, KV.txn, request, options);
    const revision = revisionOf(answer);
    const results = answer.responses.map((response) => toResult(response, revision));
    return { succeeded: answer.succeeded, revision, results };
  }

  watch(key: string, options: WatchOptions = {}): AsyncIterable<WatchBatch> {
    return watchKeys(this.#endpoints, key, options, this.#closed.signal);
  }

  async compact(revision: number): Promise<void> {
    await callUnary(this.#endpoints, KV.compact, { revision }, this.#options(false));
  }

  /** Ends the watches; calls under way fail. */
  async close(): Promise<void> {
    this.#closed.abort();
    this.#endpoints.close();
  }

  #options(repeatable: boolean): CallOptions {
    return { timeoutMs: this.#timeoutMs, repeatable, signal: this.#closed.signal };
  }
}

/** All of them may be done twice; a lease that was granted and never heard of ends by itself. */
function clientLeases(endpoints: Endpoints, options: (lease: string) => CallOptions): Leases {
  return {
    async grant(ttlSeconds, id = "0"): Promise<LeaseInfo> {
      // With an id of the caller's, the second time would say that it exists.
      const once = { ...options(id), repeatable: id === "0" };
      const granted = await callUnary(endpoints, LEASE.grant, { ttlSeconds, id }, once);
      return {
        id: granted.id,
        grantedTtlSeconds: granted.ttlSeconds,
        ttlSeconds: granted.ttlSeconds,
        keys: [],
      };
    },
    async keepAlive(id) {
      const { ttlSeconds } = await callOnce(endpoints, KEEP_ALIVE, { id }, options(id));
      if (ttlSeconds <= 0) throw new LeaseNotFoundError(id);
      return ttlSeconds;
    },
    async revoke(id) {
      await callUnary(endpoints, LEASE.revoke, { id }, options(id));
    },
    async timeToLive(id) {
      const lease = await callUnary(endpoints, LEASE.timeToLive, { id, keys: true }, options(id));
      const { ttlSeconds, grantedTtlSeconds } = lease;
      return { id, ttlSeconds, grantedTtlSeconds, keys: lease.keys.map(toText) };
    },
  };
}

function toRangeRequest(key: string, options: RangeOptions): m.RangeRequest {
  const { key: start, end = "" } = toRange(key, options);
  const { limit = 0, revision = 0, keysOnly = false, countOnly = false } = options;
  return m.rangeRequest.make({ key: start, rangeEnd: end, limit, revision, keysOnly, countOnly });
}

function toRangeResult({ kvs, more, count }: m.RangeResponse, revision: number): RangeResult {
  return { kvs: kvs.map(withTextKey), more, count, revision };
}

function revisionOf({ header }: { readonly header: m.Header | undefined }): number {
  if (header === undefined) throw new StoreRequestError(0, "the store answered without a header");
  return header.revision;
}

function toCompare({ key, target, result, value }: Compare): m.CompareMessage {
  return m.compare.make({
    key: toBinary(key),
    target: m.COMPARE_TARGETS.indexOf(target),
    result: m.COMPARE_RESULTS.indexOf(result),
    [target]: value,
  });
}

function toRequestOp(operation: Operation): m.RequestOp {
  switch (operation.type) {
    case "put": {
      const { key, value, lease = "0" } = operation;
      return m.requestOp.make({ put: m.putRequest.make({ key: toBinary(key), value, lease }) });
    }
    case "delete": {
      const { key, end = "" } = toRange(operation.key, operation);
      return m.requestOp.make({ delete: m.deleteRequest.make({ key, rangeEnd: end }) });
    }
    case "range":
      return m.requestOp.make({ range: toRangeRequest(operation.key, operation.options ?? {}) });
  }
}

function toResult({ range, put, delete: deleted }: m.ResponseOp, revision: number): OperationResult {
  if (range !== undefined) return { type: "range", ...toRangeResult(range, revision) };
  if (deleted !== undefined) return { type: "delete", deleted: deleted.deleted };
  if (put !== undefined) return { type: "put" };
  throw new StoreRequestError(0, "the store answered a transaction without a result");
}
