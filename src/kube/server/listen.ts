/** Where the server listens. */
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { BlockList, connect } from "node:net";

/** Longer than the clients' own, so that no connection ends in the moment of its use. */
const KEEP_ALIVE_MS = 65_000;

/** What a client that nobody vouches for may take. */
export interface ClientLimits {
  /** Of all clients together. */
  readonly connections: number;
  /** Of one address: a watch is a connection, and a client may well have dozens. */
  readonly connectionsPerClient: number;
  /** For the handshake, and for the head of a request. */
  readonly headMs: number;
  /** For a whole request. */
  readonly requestMs: number;
}

const LIMITS: ClientLimits = {
  connections: 1000,
  connectionsPerClient: 200,
  headMs: 10_000,
  requestMs: 60_000,
};

export interface TlsPlace {
  readonly host: string;
  readonly port: number;
  /** In PEM. */
  readonly tls: { readonly key: string; readonly cert: string };
  /** IPv4 networks whose clients are heard; others' connections are closed at once. */
  readonly from: readonly string[];
  /** Beyond them connections are closed. */
  readonly limits?: ClientLimits;
}

export type Place =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number }
  | TlsPlace;

/** @throws Error that names the place when it is taken */
export async function listen(place: Place, listener: RequestListener): Promise<Server> {
  const server =
    "tls" in place
      ? createGuarded(place, listener)
      : createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, listener);
  if ("socketPath" in place) await removeStaleSocket(place.socketPath);
  await new Promise<void>((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => {
      const where = "socketPath" in place ? place.socketPath : `${place.host}:${place.port}`;
      const why =
        error.code === "EADDRINUSE"
          ? "something else listens there; stop it or choose another place"
          : error.message;
      reject(new Error(`the API server cannot listen on ${where}: ${why}`));
    };
    server.once("error", fail);
    const at = "socketPath" in place ? { path: place.socketPath } : { host: place.host, port: place.port };
    server.listen(at, () => {
      server.off("error", fail);
      // A connection that cannot be accepted (ENFILE, ENOBUFS) is lost, but not the process.
      server.on("error", () => undefined);
      resolve();
    });
    // The socket is bound when listen returns, and no connection is accepted before the next turn.
    if ("socketPath" in place && server.listening) chmodSync(place.socketPath, 0o600);
  });
  return server;
}

/** A server that no client can keep from the others, by many connections or by slow ones. */
function createGuarded({ tls, from, limits = LIMITS }: TlsPlace, listener: RequestListener): Server {
  const { headMs, requestMs } = limits;
  const server: Server = createTlsServer(
    {
      ...tls,
      keepAliveTimeout: KEEP_ALIVE_MS,
      handshakeTimeout: headMs,
      headersTimeout: headMs,
      requestTimeout: requestMs,
      // How often Node.js looks for those whose time is over.
      connectionsCheckingInterval: headMs / 2,
    },
    listener,
  );
  server.maxConnections = limits.connections;
  const allowed = new BlockList();
  for (const network of from) {
    const [address = "", length] = network.split("/");
    allowed.addSubnet(address, Number(length));
  }
  const counts = new Map<string, number>();
  server.on("connection", (socket) => {
    // One that is closed already has no address.
    const client = socket.remoteAddress ?? "0.0.0.0";
    const count = counts.get(client) ?? 0;
    if (!allowed.check(client) || count >= limits.connectionsPerClient) {
      socket.destroy();
      return;
    }
    counts.set(client, count + 1);
    socket.once("close", () => {
      const left = counts.get(client)! - 1;
      if (left > 0) counts.set(client, left);
      else counts.delete(client);
    });
  });
  return server;
}

/** A socket of a process that was killed is in the way of the next; one that somebody answers on stays. */
async function removeStaleSocket(path: string): Promise<void> {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return;
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
  if (!answered) unlinkSync(path);
}

/** Ends the server with all its connections. */
export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

/** `http://host:port` or `unix:path`. */
export function addressOf(server: Server): string {
  const address = server.address();
  if (address === null) return "";
  if (typeof address === "string") return `unix:${address}`;
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}
