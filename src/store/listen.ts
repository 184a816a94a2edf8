/** Listening: TCP addresses, and Unix sockets that only their owner may connect to. */
import { chmod, mkdtemp, rename, rm, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import type { Server, ServerCredentials } from "@grpc/grpc-js";

/** Bytes that a socket path may have (sun_path of unix(7), without its end). */
const MAX_SOCKET_PATH_BYTES = 107;

export interface Bound {
  /** As the client takes it. */
  readonly endpoint: string;
  /** Removes what the server leaves on disk. */
  unbind(): Promise<void>;
}

/** Binds all addresses; each is added to `bound` once it is. @throws Error that names the address */
export async function bindAll(
  server: Server,
  credentials: ServerCredentials,
  addresses: readonly string[],
  bound: Bound[],
): Promise<void> {
  for (const address of addresses) {
    try {
      const isSocket = address.startsWith("unix:");
      bound.push(await (isSocket ? bindSocket : bindTcp)(server, credentials, address));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`store cannot listen on ${address}: ${reason}`);
    }
  }
}

function bind(server: Server, credentials: ServerCredentials, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, port) => (error === null ? resolve(port) : reject(error)));
  });
}

async function bindTcp(server: Server, credentials: ServerCredentials, address: string): Promise<Bound> {
  const host = address.slice(0, address.lastIndexOf(":"));
  const port = await bind(server, credentials, address);
  return { endpoint: `http://${host}:${port}`, unbind: async () => undefined };
}

/**
 * The socket is made in a directory that nobody else can enter and moved to its place when its mode is right. That also
 * replaces, at once, the socket of a server that was killed.
 */
async function bindSocket(server: Server, credentials: ServerCredentials, address: string): Promise<Bound> {
  const path = address.slice("unix:".length);
  const dir = await mkdtemp(join(dirname(path), "."));
  try {
    const hidden = join(dir, "s");
    if (Math.max(Buffer.byteLength(path), Buffer.byteLength(hidden)) > MAX_SOCKET_PATH_BYTES) {
      throw new Error(`the path is longer than ${MAX_SOCKET_PATH_BYTES} bytes; choose a shorter one`);
    }
    if (await answers(path)) throw new Error("another server listens there; stop that one first");
    await bind(server, credentials, `unix:${hidden}`);
    await chmod(hidden, 0o600);
    await rename(hidden, path);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  return { endpoint: address, unbind: () => unlink(path).catch(() => undefined) };
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
