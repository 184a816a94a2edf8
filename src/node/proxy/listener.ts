/** An HTTP server on the node's own addresses: its socket lives in the node's namespace. */
import { createServer, type RequestListener, type Server } from "node:http";
import { openTcp, TunTapError } from "tun-tap-ts";

/** A client that says nothing must not hold a connection for ever. */
const IDLE_MS = 10_000;

/**
 * Listens in a namespace (`/run/netns/NAME`) on all its IPv4 addresses.
 * @throws TunTapError the port is taken, or the namespace is gone
 */
export function listenInNetns(netns: string, port: number, answer: RequestListener): Server {
  const fd = openTcp({ netns, bind: { address: "0.0.0.0", port } });
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
