/** Calls to the store: retried while it is away, when that cannot do anything twice; errors in the store's own classes. */
import { type ServiceError, status } from "@grpc/grpc-js";
import type { Endpoints } from "./endpoints.js";
import { ETCD_MESSAGE, StoreRequestError } from "./errors.js";
import { Backoff, pause } from "./pause.js";
import type { Method } from "./services.js";
import { CompactedError, LeaseNotFoundError, StoreUnavailableError } from "./types.js";

export interface CallOptions {
  readonly timeoutMs: number;
  /** Doing it twice is as good as once: tried again also when it may have been done. */
  readonly repeatable: boolean;
  /** Named in a LeaseNotFoundError. */
  readonly lease?: string;
  readonly signal: AbortSignal;
}

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 500;

/** What one try does, on the current channel until a point in time. */
type Try<A> = (channel: Endpoints["current"], deadlineMs: number) => Promise<A>;

/** @throws StoreUnavailableError, CompactedError, LeaseNotFoundError, StoreRequestError */
export function callUnary<Q, A>(
  endpoints: Endpoints,
  method: Method<Q, A>,
  request: Partial<Q>,
  options: CallOptions,
): Promise<A> {
  const { path, request: query, response } = method;
  return retry(endpoints, options, ({ client }, deadline) => {
    return new Promise<A>((resolve, reject) => {
      client.makeUnaryRequest(path, query.encode, response.decode, request, { deadline }, (error, answer) => {
        if (error !== null) reject(error);
        else resolve(answer!); // A call that did not fail has its answer.
      });
    });
  });
}

/** One request over a method that streams both ways, and its one answer. */
export function callOnce<Q, A>(
  endpoints: Endpoints,
  method: Method<Q, A>,
  request: Partial<Q>,
  options: CallOptions,
): Promise<A> {
  const { path, request: query, response } = method;
  return retry(endpoints, options, ({ client }, deadline) => {
    const call = client.makeBidiStreamRequest<Partial<Q>, A>(path, query.encode, response.decode, {
      deadline,
    });
    return new Promise<A>((resolve, reject) => {
      call.on("error", reject);
      call.on("end", () => reject(Object.assign(new Error("no answer"), { code: status.UNAVAILABLE })));
      call.on("data", resolve);
      call.write(request);
      call.end();
    });
  });
}

async function retry<A>(endpoints: Endpoints, options: CallOptions, attempt: Try<A>): Promise<A> {
  const deadline = Date.now() + options.timeoutMs;
  const backoff = new Backoff(FIRST_RETRY_MS, LAST_RETRY_MS);
  for (;;) {
    const channel = await endpoints.connected();
    if (options.signal.aborted) throw new StoreUnavailableError(channel.endpoint, "this client was closed");
    try {
      return await attempt(channel, deadline);
    } catch (error) {
      const delayMs = backoff.next();
      const mayRetry = isAway(error) && (options.repeatable || wasNotSent(error));
      if (!mayRetry || Date.now() + delayMs >= deadline || options.signal.aborted) {
        throw translate(error, channel.endpoint, options.lease);
      }
      endpoints.failed(channel);
      await pause(delayMs, options.signal);
    }
  }
}

/** The store cannot be reached, or went away in the middle; it may reset its streams first, on its way out. */
export function isAway(error: unknown): boolean {
  const code = codeOf(error);
  return code === status.UNAVAILABLE || code === status.CANCELLED;
}

/** grpc-js says so when there was no connection to send on. */
function wasNotSent(error: unknown): boolean {
  return error instanceof Error && error.message.includes("No connection established");
}

function codeOf(error: unknown): number | undefined {
  return error instanceof Error && "code" in error ? (error as ServiceError).code : undefined;
}

/** A gRPC error in the store's classes. */
export function translate(error: unknown, endpoint: string, lease = "0"): Error {
  const code = codeOf(error);
  const details = (error as Partial<ServiceError>).details ?? String(error);
  if (code === status.OUT_OF_RANGE && details === ETCD_MESSAGE.compacted) return new CompactedError(0);
  if (code === status.NOT_FOUND && details === ETCD_MESSAGE.leaseNotFound)
    return new LeaseNotFoundError(lease);
  if (code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED || code === status.CANCELLED) {
    return new StoreUnavailableError(endpoint, details);
  }
  if (code === status.UNAUTHENTICATED || details === "etcdserver: user name is empty") {
    return new Error(
      `store ${endpoint} asks for a user, which is not supported; turn its authentication off`,
    );
  }
  if (typeof code === "number") return new StoreRequestError(code, details);
  return error instanceof Error ? error : new Error(String(error));
}
