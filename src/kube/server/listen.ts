/** Where the server listens. */
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import { connect } from "node:net";

/** Longer than the clients' own, so that no connection ends in the moment of its use. */
const KEEP_ALIVE_MS = 65_000;

export type Place = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/** @throws Error that names the place when it is taken */
export async function listen(place: Place, listener: RequestListener): Promise<Server> {
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, listener);
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
    server.listen("socketPath" in place ? { path: place.socketPath } : place, () => {
      server.off("error", fail);
      resolve();
    });
    // The socket is bound when listen returns, and no connection is accepted before the next turn.
    if ("socketPath" in place && server.listening) chmodSync(place.socketPath, 0o600);
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
