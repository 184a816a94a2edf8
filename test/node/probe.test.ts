/** Probes against real servers on loopback, and the counting of thresholds. */
import { createServer as createHttpServer, type RequestListener } from "node:http";
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { Container, Probe } from "../../src/kube/index.js";
import { type ActionTarget, portOf } from "../../src/node/pods/actions.js";
import { ProbeWorker, probeOnce } from "../../src/node/pods/probe.js";

const servers: Server[] = [];
const sockets = new Set<Socket>();
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

/** Starts a server on a free port of 127.0.0.1 and returns the port. */
async function listen(server: Server): Promise<number> {
  servers.push(server);
  server.on("connection", (socket) => sockets.add(socket.on("error", () => {})));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

const http = (answer: RequestListener): Promise<number> => listen(createHttpServer(answer));

/** A port of 127.0.0.1 that nothing listens on. */
async function closedPort(): Promise<number> {
  const server = createTcpServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const container = (more: Partial<Container> = {}): Container => ({ name: "c", ...more }) as Container;

function target(more: Partial<ActionTarget> = {}): ActionTarget {
  return {
    ip: "127.0.0.1",
    container: container(),
    enter: () => ["env", "-u", "IGNORED"],
    environment: () => ({}),
    connect: (host, port) => connect({ host, port }),
    ...more,
  };
}

const httpGet = (port: number, more: object = {}): Probe =>
  ({ httpGet: { port, path: "/healthz", ...more } }) as Probe;

describe("an HTTP probe", () => {
  it.each([200, 204, 302, 399])("takes status %i for good", async (code) => {
    const port = await http((_request, response) => response.writeHead(code).end());
    await expect(probeOnce(httpGet(port), target())).resolves.toBeUndefined();
  });

  it.each([400, 404, 500])("takes status %i for bad", async (code) => {
    const port = await http((_request, response) => response.writeHead(code).end());
    await expect(probeOnce(httpGet(port), target())).rejects.toThrow(
      `HTTP probe failed with statuscode: ${code}`,
    );
  });

  it("asks for the path, with the probe's headers", async () => {
    let asked = "";
    const port = await http((request, response) => {
      asked = `${request.url} ${request.headers.host} ${request.headers["x-a"]} ${request.headers["user-agent"]}`;
      response.end();
    });
    const httpHeaders = [
      { name: "Host", value: "shop.example" },
      { name: "X-A", value: "b" },
    ];
    await probeOnce(httpGet(port, { httpHeaders }), target());
    expect(asked).toBe("/healthz shop.example b kube-probe/podwire");
  });

  it("fails where nobody listens, also on a name with several addresses", async () => {
    const port = await closedPort();
    await expect(probeOnce(httpGet(port), target())).rejects.toThrow(/ECONNREFUSED/);
    const worker = await firstFailure(httpGet(port, { host: "localhost" }));
    expect(worker).toMatch(/ECONNREFUSED/);
  });

  it("fails when the answer takes too long, be it that it never comes or that it never ends its head", async () => {
    const silent = await http(() => {});
    const probe = { ...httpGet(silent), timeoutSeconds: 0.05 };
    await expect(probeOnce(probe, target())).rejects.toThrow("no answer in 50 ms");
    // A byte now and then keeps the connection busy; the time is up all the same.
    const drip = await listen(
      createTcpServer((socket) => {
        socket.write("HTTP/1.1 200 OK\r\nX-Endless: ");
        const timer = setInterval(() => socket.write("a"), 10);
        socket.on("close", () => clearInterval(timer));
      }),
    );
    const slow = { ...httpGet(drip), timeoutSeconds: 0.2 };
    await expect(probeOnce(slow, target())).rejects.toThrow("no answer in 200 ms");
  });

  it("does not read a body without end", async () => {
    let closed = () => {};
    const hungUp = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const port = await http((_request, response) => {
      const more = () => {
        while (response.write("x".repeat(1024)));
      };
      response.on("drain", more).on("close", closed);
      more();
    });
    await probeOnce({ ...httpGet(port), timeoutSeconds: 60 }, target());
    await hungUp;
  });
});

describe("a TCP probe", () => {
  it("is good when the connection is accepted, and hangs up", async () => {
    let ended = () => {};
    const hungUp = new Promise<void>((resolve) => {
      ended = resolve;
    });
    const port = await listen(createTcpServer((socket) => socket.resume().on("close", ended)));
    await probeOnce({ tcpSocket: { port } }, target());
    await hungUp;
  });

  it("fails where nobody listens", async () => {
    await expect(probeOnce({ tcpSocket: { port: await closedPort() } }, target())).rejects.toThrow(
      /ECONNREFUSED/,
    );
  });
});

describe("an exec probe", () => {
  const exec = (...command: string[]): Probe => ({ exec: { command } });

  it("is good when the command ends with 0, and runs with the container's environment", async () => {
    const environment = () => ({ PATH: process.env.PATH ?? "", ROLE: "leader" });
    const probe = exec("sh", "-c", '[ "$ROLE" = leader ]');
    await expect(probeOnce(probe, target({ environment }))).resolves.toBeUndefined();
    await expect(probeOnce(probe, target())).rejects.toThrow("command failed: exit code 1");
  });

  it("fails with what the command said", async () => {
    const probe = exec("sh", "-c", "echo no quorum >&2; exit 3");
    await expect(probeOnce(probe, target())).rejects.toThrow("command failed: no quorum");
  });

  it("fails when the command takes too long", async () => {
    const probe = { ...exec("sleep", "60"), timeoutSeconds: 0.05 };
    await expect(probeOnce(probe, target())).rejects.toThrow("command sleep 60 timed out after 50 ms");
  });

  it("fails when the container does not run", async () => {
    await expect(probeOnce(exec("true"), target({ enter: () => undefined }))).rejects.toThrow("does not run");
  });
});

describe("a probe's port", () => {
  const ports = [{ name: "web", containerPort: 8080 }];

  it("is a number, its text, or the name of a container port", () => {
    expect(portOf(81, container())).toBe(81);
    expect(portOf("82", container())).toBe(82);
    expect(portOf("web", container({ ports }))).toBe(8080);
  });

  it("that is nobody's name is an error, as is a probe of an unknown kind", async () => {
    expect(() => portOf("admin", container({ ports }))).toThrow("no container port is named admin");
    await expect(probeOnce({ grpc: { port: 1 } } as Probe, target())).rejects.toThrow(
      "only exec, tcpSocket and httpGet",
    );
  });
});

/** Words of the first failure that a worker tells of. */
function firstFailure(probe: Probe): Promise<string> {
  return new Promise((resolve) => {
    const worker = new ProbeWorker(probe, target(), false, {
      onChange: () => {},
      onFailure: (message) => {
        worker.stop();
        resolve(message);
      },
    });
  });
}

/** Runs a worker against a server that gives these answers in turn; returns what it told until they were used up. */
async function told(answers: string, initial: boolean, thresholds: Partial<Probe>): Promise<string[]> {
  const events: string[] = [];
  let next = 0;
  let usedUp = () => {};
  const done = new Promise<void>((resolve) => {
    usedUp = resolve;
  });
  const port = await http((_request, response) => {
    response.writeHead(answers[next++] === "+" ? 200 : 500).end();
    if (next > answers.length) usedUp();
  });
  const worker = new ProbeWorker(
    { ...httpGet(port), periodSeconds: 0.001, ...thresholds },
    target(),
    initial,
    {
      onChange: (ok) => events.push(`${ok ? "good" : "bad"} after ${next}`),
      onFailure: (message) => events.push(`${message.split(" ")[0]} ${next}`),
    },
  );
  await done;
  worker.stop();
  return events.filter((event) => !event.endsWith(` ${answers.length + 1}`));
}

describe("thresholds", () => {
  it("of success: so many good answers in a row", async () => {
    expect(await told("+-++-", false, { successThreshold: 2 })).toEqual(["HTTP 2", "good after 4", "HTTP 5"]);
  });

  it("of failure: so many bad answers in a row, each row told of once", async () => {
    expect(await told("+--+---+", true, { failureThreshold: 3 })).toEqual([
      "HTTP 2",
      "HTTP 5",
      "bad after 7",
      "good after 8",
    ]);
  });

  it("never reached change nothing, but the failure is told", async () => {
    expect(await told("---", false, {})).toEqual(["HTTP 1"]);
    expect(await told("+++", true, {})).toEqual([]);
  });

  it("do not matter once the worker is stopped", async () => {
    const port = await closedPort();
    const events: string[] = [];
    const worker = new ProbeWorker(httpGet(port), target(), true, {
      onChange: () => events.push("change"),
      onFailure: () => events.push("failure"),
    });
    worker.stop();
    await firstFailure(httpGet(port));
    expect(events).toEqual([]);
  });
});
