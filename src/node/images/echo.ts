/**
 * The built-in image `podwire/echo`: on each of its ports HTTP, plain TCP and UDP, answering with who answered and who
 * asked. Runs in the pod as a program of its own; everything it needs is in its environment:
 * `PODWIRE_POD`, `PODWIRE_NODE`, `PODWIRE_POD_IP` and `PODWIRE_PORTS` (such as `8080/TCP,8080/UDP`).
 */
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTcpServer, isIPv6, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const pod = process.env.PODWIRE_POD ?? "?";
const node = process.env.PODWIRE_NODE ?? "?";
const podIp = process.env.PODWIRE_POD_IP ?? "?";
const CHUNK_BYTES = 64 * 1024;
/** The longest that a timer of Node.js may be. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** Largest UDP payload over IPv4. */
const MAX_DATAGRAM_BYTES = 65_507;
/** Largest download that `/bytes/N` serves. */
const MAX_BYTES = 16 * 1024 ** 3;

/** `address:port`, an IPv6 address in square brackets. */
function place(address = "?", port = 0): string {
  const ip = address.replace(/^::ffff:/, "");
  return isIPv6(ip) ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function identity(address: string | undefined, port: number | undefined): string {
  return `pod=${pod} node=${node} ip=${podIp} client=${place(address, port)}\n`;
}

/** A block of bytes that a client can make itself: byte i is (i * 31) mod 251. */
const block = Buffer.from(Array.from({ length: CHUNK_BYTES }, (_, index) => (index * 31) % 251));

function* content(total: number): Generator<Buffer> {
  for (let left = total; left > 0; left -= CHUNK_BYTES)
    yield left >= CHUNK_BYTES ? block : block.subarray(0, left);
}

async function sendHash(response: ServerResponse, total: number): Promise<void> {
  const hash = createHash("sha256");
  await pipeline(Readable.from(content(total)), hash);
  response.end(`${hash.digest("hex")}\n`);
}

async function sendContent(response: ServerResponse, total: number): Promise<void> {
  response.writeHead(200, { "Content-Type": "application/octet-stream", "Content-Length": total });
  // A client that goes away in the middle is its own affair.
  await pipeline(Readable.from(content(total)), response).catch(() => {});
}

function receiveUpload(request: IncomingMessage, response: ServerResponse): void {
  const hash = createHash("sha256");
  let bytes = 0;
  request.on("data", (chunk: Buffer) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  request.on("end", () => response.end(`${hash.digest("hex")} ${bytes}\n`));
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const client = request.socket;
  const [path = "/"] = (request.url ?? "/").split("?");
  const size = /^\/(bytes|sha256)\/(\d{1,11})$/.exec(path);
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  if (request.method === "POST" || request.method === "PUT") receiveUpload(request, response);
  else if (size && Number(size[2]) > MAX_BYTES) response.writeHead(400).end(`at most ${MAX_BYTES} bytes\n`);
  else if (size?.[1] === "bytes") void sendContent(response, Number(size[2]));
  else if (size) void sendHash(response, Number(size[2]));
  else if (path === "/hostname") response.end(pod);
  else if (path === "/clientip") response.end(place(client.remoteAddress, client.remotePort));
  else response.end(identity(client.remoteAddress, client.remotePort));
}

const http = createHttpServer(answer);

/** HTTP when the first bytes look like a request line; otherwise one line about us, then every byte back. */
function greet(socket: Socket): void {
  const hangUp = () => socket.end();
  socket.on("error", () => socket.destroy());
  // A client that closes without a word, such as a TCP probe, must not leave a half-open connection behind.
  socket.once("end", hangUp);
  socket.once("data", (first: Buffer) => {
    socket.off("end", hangUp);
    if (/^[A-Z]{3,7} [/*]/.test(first.subarray(0, 16).toString("latin1"))) {
      socket.pause();
      socket.unshift(first);
      http.emit("connection", socket);
      socket.resume();
    } else {
      socket.write(identity(socket.remoteAddress, socket.remotePort));
      socket.write(first);
      socket.pipe(socket);
    }
  });
}

/** Ends the program with one sentence: a port that cannot be served must show as a container that fails. */
const fail = (error: Error): never => {
  console.error(`podwire/echo: ${error.message}`);
  process.exit(1);
};

function listenTcp(port: number): void {
  const server = createTcpServer({ allowHalfOpen: true, noDelay: true }, greet);
  // On both families where there are two: Node.js falls back to IPv4 alone by itself.
  server.once("error", fail).listen({ port, backlog: 1024 });
}

function listenUdp(port: number, address: string): void {
  const socket = createSocket(isIPv6(address) ? { type: "udp6", ipv6Only: true } : { type: "udp4" });
  socket.on("message", (message, from) => {
    const line = Buffer.from(identity(from.address, from.port));
    const reply = Buffer.concat([line, message]).subarray(0, MAX_DATAGRAM_BYTES);
    socket.send(reply, from.port, from.address, () => {});
  });
  socket.once("error", fail).bind(port, address);
}

/**
 * A socket that is bound to an address answers from it. One that is not answers from the address towards the client,
 * which on a node with several is not always the one that was asked.
 */
const udpAddresses = Object.values(networkInterfaces()).flatMap((addresses = []) =>
  // A link-local address is none without its interface.
  addresses.filter(({ address }) => !address.startsWith("fe80:")).map(({ address }) => address),
);
const ports = process.env.PODWIRE_PORTS || "8080/TCP,8080/UDP";
for (const entry of ports.split(",")) {
  const [port, protocol] = entry.split("/");
  if (protocol === "TCP") listenTcp(Number(port));
  else if (protocol === "UDP") for (const address of udpAddresses) listenUdp(Number(port), address);
  else console.error(`podwire/echo: ${entry} is not served: TCP and UDP are`);
}
// A pod whose ports are all of another protocol runs all the same.
setInterval(() => undefined, LONGEST_TIMER_MS);
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => process.exit(0));
console.log(`podwire/echo ${pod} on ${node} listens on ${ports}`);
