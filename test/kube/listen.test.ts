/** A port that anybody in its networks may connect to: nobody takes it from the others. */
import { once } from "node:events";
import { createServer, get as getPlain, type Server } from "node:http";
import { get } from "node:https";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { makeCertificates } from "../../src/cluster/pki/certificates.js";
import { closeServer, listen } from "../../src/kube/server/listen.js";
import { streamWatch } from "../../src/kube/server/watchStream.js";
import type { KubeObject, WatchEvent } from "../../src/kube/types.js";

const { ca, server: issued } = makeCertificates("listen", { dns: ["localhost"], ips: [] }, Date.now());
const tls = { key: issued.key, cert: issued.certificate };
const PATIENT = { connections: 100, connectionsPerClient: 100, headMs: 60_000, requestMs: 60_000 };
const IMPATIENT = { ...PATIENT, headMs: 200, requestMs: 400 };
const servers: Server[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(servers.splice(0).map(closeServer));
});

/** @returns its port */
async function start(limits: typeof PATIENT): Promise<number> {
  const place = { host: "127.0.0.1", port: 0, tls, from: ["127.0.0.0/8"], limits };
  const server = await listen(place, (request, response) => {
    request.on("error", () => {}).resume();
    request.once("end", () => response.end("heard"));
  });
  servers.push(server);
  return (server.address() as { port: number }).port;
}

/** A connection that says nothing by itself; it has ended when the promise resolves. */
function open(port: number, localAddress: string): { socket: Socket; ended: Promise<void> } {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  sockets.push(socket);
  socket.on("error", () => {}).resume();
  return { socket, ended: new Promise((resolve) => socket.once("close", () => resolve())) };
}

function ask(port: number, localAddress: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { port, host: "127.0.0.1", localAddress, servername: "localhost", ca, agent: false };
    get(options, (response) => response.once("data", (data) => resolve(String(data)))).once("error", reject);
  });
}

function openTls(port: number, words: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: "127.0.0.1", servername: "localhost", ca });
    sockets.push(socket);
    socket.once("secureConnect", () => socket.write(words)).resume();
    socket.once("error", reject).once("close", () => resolve());
  });
}

describe("a client", () => {
  it("has so many connections and no more, which keeps nobody else out, and may come again", async () => {
    const port = await start({ ...PATIENT, connectionsPerClient: 2 });
    const first = open(port, "127.0.0.2");
    const second = open(port, "127.0.0.2");
    await open(port, "127.0.0.2").ended;
    expect([first.socket.closed, second.socket.closed]).toEqual([false, false]);
    expect(await ask(port, "127.0.0.3")).toBe("heard");
    first.socket.destroy();
    await expect.poll(() => ask(port, "127.0.0.2").catch(() => "")).toBe("heard");
  });

  it("is closed when all have as many as there may be", async () => {
    const port = await start({ ...PATIENT, connections: 2 });
    const first = open(port, "127.0.0.2");
    const second = open(port, "127.0.0.3");
    await open(port, "127.0.0.4").ended;
    expect([first.socket.closed, second.socket.closed]).toEqual([false, false]);
  });

  it("is closed that does not finish its handshake, the head of its request, or its body", async () => {
    const port = await start(IMPATIENT);
    await open(port, "127.0.0.2").ended;
    await openTls(port, "");
    await openTls(port, "GET / HTTP/1.1\r\nHost: localhost\r\n");
    await openTls(port, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf");
  });
});

it("a connection that cannot be accepted is lost, not the server", async () => {
  const port = await start(PATIENT);
  // As node:net tells of a failed accept(2).
  servers.at(-1)?.emit("error", Object.assign(new Error("accept ENFILE"), { code: "ENFILE" }));
  expect(await ask(port, "127.0.0.1")).toBe("heard");
});

describe("a watch", () => {
  it("that is read slowly gathers no listeners", async () => {
    const object = { metadata: { name: "x".repeat(500_000) } } as KubeObject;
    let listeners = 0;
    let pauses = 0;
    const server = createServer((_, response) => {
      async function* events(): AsyncGenerator<WatchEvent<KubeObject>, void> {
        for (let count = 0; count < 40; count++) yield { type: "ADDED", object };
        listeners = response.listenerCount("close");
      }
      response.on("drain", () => pauses++);
      void streamWatch(events(), response);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const [response] = await once(getPlain({ port, host: "127.0.0.1", agent: false }), "response");
    await once(response.resume(), "end");
    expect(pauses).toBeGreaterThan(20);
    expect(listeners).toBeLessThan(5);
  });
});
