/** An HTTP server on the node's own addresses: its socket lives in the node's namespace. */
import { createServer, type RequestListener, type Server } from "node:http";
import { openTcp, TunTapError } from "tun-tap-ts";

/** A client that says nothing must not hold a connection for ever. */
const IDLE_MS = 10_000;

/** The node's namespace. */
export interface NodeNetns {
  /** `/run/netns/NAME`. */
  readonly path: string;
  /** Whether it has IPv6 addresses, which servers listen on as well then. */
  readonly hasIpv6: boolean;
}

/**
 * Listens on all addresses of the node's namespace: as kube-proxy does with a bind address of `0.0.0.0` or, for both
 * families, of `::`. With a `family`, on the addresses of that one, and the port is free for a listener of the other.
 * @throws TunTapError the port is taken, or the namespace is gone
 */
export function listenInNetns(
  netns: NodeNetns,
  port: number,
  answer: RequestListener,
  family?: "IPv4" | "IPv6",
): Server {
  const isIpv6 = family ? family === "IPv6" : netns.hasIpv6;
  const bind = { address: isIpv6 ? "::" : "0.0.0.0", port, ipv6Only: family !== undefined };
  const fd = openTcp({ netns: netns.path, bind });
  const server = createServer({ requestTimeout: IDLE_MS, headersTimeout: IDLE_MS }, answer);
  server.listen({ fd });
  return server;
}

/** Stops listening and hangs up. */
export function closeListener(server: Server): void {
  server.closeAllConnections();
  server.close();
}

/** Runs an attempt to listen; says why it failed and returns undefined. */
export function tryListen(open: () => Server, onError: (message: string) => void): Server | undefined {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof TunTapError)) throw error;
    onError(error.message);
    return undefined;
  }
}
