/** The sockets: DNS over UDP and TCP on one port, and over HTTP whether the server is ready. */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer as createHttpServer } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import { framed } from "./forward.js";
import type { Resolve } from "./resolver.js";

/** Idle TCP connections are closed after this (RFC 7766 section 6.2.3). */
const IDLE_MS = 10_000;
const MAX_CONNECTIONS = 256;
/** Bursts of many pods that start at once; the kernel caps it at net.core.rmem_max. */
const UDP_BUFFER_BYTES = 1 << 20;

export interface Place {
  readonly host: string;
  readonly port: number;
}

export interface DnsServer {
  /** The one that was chosen when the port asked for was 0. */
  readonly port: number;
  close(): Promise<void>;
}

/** @throws Error from the system when the port is taken or may not be used */
export async function startDnsServer(place: Place, resolve: Resolve): Promise<DnsServer> {
  const udp = await bindUdp(place, resolve);
  const { port } = udp.address();
  try {
    const tcp = await listen(
      createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void serve(socket, resolve)),
      { ...place, port },
    );
    return { port, close: () => closeAll(udp, tcp) };
  } catch (error) {
    udp.close();
    throw error;
  }
}

/**
 * Answers `GET /ready` on a port of its own as CoreDNS' plugin ready does: 200 once `ready` holds, 503 before.
 *
 * @throws Error from the system when the port is taken
 */
export async function startReadyServer(place: Place, ready: () => boolean): Promise<Server> {
  const server = createHttpServer((request, response) => {
    const code = request.url !== "/ready" ? 404 : ready() ? 200 : 503;
    response.writeHead(code, { "Content-Type": "text/plain" }).end(code === 200 ? "OK" : "");
  });
  return listen(server, place);
}

function bindUdp({ host, port }: Place, resolve: Resolve): Promise<UdpSocket> {
  const socket = createSocket({ type: "udp4", recvBufferSize: UDP_BUFFER_BYTES });
  socket.on("message", async (message, from) => {
    const reply = await resolve(message, "udp");
    try {
      // Whether it arrives is the asker's affair; it asks again.
      if (reply) socket.send(reply, from.port, from.address, () => {});
    } catch {
      // The socket was closed meanwhile, or the asker's port is 0.
    }
  });
  return new Promise((bound, failed) => {
    socket.once("error", failed);
    socket.bind(port, host, () => {
      socket.off("error", failed);
      // Errors of single datagrams, such as an unreachable asker, concern no other.
      socket.on("error", () => {});
      bound(socket);
    });
  });
}

/** One message after the other, so that a connection cannot ask for more than is sent. */
async function serve(socket: Socket, resolve: Resolve): Promise<void> {
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  // Also after the loop: a reply may still be on its way to an asker that is gone.
  socket.on("error", () => socket.destroy());
  try {
    let received = Buffer.alloc(0);
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk as Buffer]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const end = 2 + received.readUInt16BE(0);
        const reply = await resolve(received.subarray(2, end), "tcp");
        // What is no query ends the connection: its bytes can no longer be trusted to begin with a length.
        if (!reply) return;
        socket.write(framed(reply));
        received = received.subarray(end);
      }
    }
    socket.end();
  } catch {
    // The asker went away.
  } finally {
    if (!socket.writableEnded) socket.destroy();
  }
}

function listen<S extends Server>(server: S, place: Place): Promise<S> {
  server.maxConnections = MAX_CONNECTIONS;
  return new Promise((listening, failed) => {
    server.once("error", failed);
    server.listen(place, () => {
      server.off("error", failed);
      listening(server);
    });
  });
}

function closeAll(udp: UdpSocket, tcp: Server): Promise<void> {
  return new Promise((closed) => {
    udp.close(() => tcp.close(() => closed()));
  });
}
