/** etcdserverpb.Lease: LeaseGrant, LeaseRevoke, LeaseTimeToLive, LeaseLeases and the LeaseKeepAlive stream. */
import type { Server, ServerDuplexStream } from "@grpc/grpc-js";
import type { KeepAliveRequest, KeepAliveResponse } from "./messages.js";
import { type ServiceContext, serveStream, serveUnary } from "./service.js";
import { KEEP_ALIVE, LEASE } from "./services.js";
import { LeaseNotFoundError } from "./types.js";

export function leaseService(server: Server, context: ServiceContext): void {
  const { engine } = context;

  serveUnary(server, context, LEASE.grant, (request) => {
    const { id, grantedTtlSeconds } = engine.grant(request.ttlSeconds, request.id);
    return { header: context.header(), id, ttlSeconds: grantedTtlSeconds };
  });

  serveUnary(server, context, LEASE.revoke, (request) => {
    engine.revoke(request.id);
    return { header: context.header() };
  });

  serveUnary(server, context, LEASE.timeToLive, (request) => {
    const { id, ttlSeconds, grantedTtlSeconds, keys } = engine.timeToLive(request.id);
    return { header: context.header(), id, ttlSeconds, grantedTtlSeconds, keys: request.keys ? keys : [] };
  });

  serveUnary(server, context, LEASE.leases, () => {
    return { header: context.header(), leases: engine.leases.ids().map((id) => ({ id })) };
  });

  serveStream(server, KEEP_ALIVE, (call) => keepAlives(context, call));
}

function keepAlives(
  context: ServiceContext,
  call: ServerDuplexStream<KeepAliveRequest, Partial<KeepAliveResponse>>,
): void {
  call.on("data", ({ id }: KeepAliveRequest) => {
    call.write({ header: context.header(), id, ttlSeconds: renew(context, id) });
  });
  call.on("end", () => call.end());
  // A client that went away shows as an error too; it has nothing to be told.
  call.on("error", () => undefined);
}

/** 0: the lease is gone; the stream goes on for the client's other leases. */
function renew({ engine }: ServiceContext, id: string): number {
  try {
    return engine.keepAlive(id);
  } catch (error) {
    if (error instanceof LeaseNotFoundError) return 0;
    throw error;
  }
}
