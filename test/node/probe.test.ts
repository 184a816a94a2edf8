/** Probes against real servers on loopback, and the counting of thresholds. */
import { createServer as createHttpServer, type RequestListener } from "node:http";
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from "node:net";
import {
  Server as GrpcServer,
  status as grpcStatus,
  ServerCredentials,
  type ServiceDefinition,
} from "@grpc/grpc-js";
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
    await expect(probeOnce({} as Probe, target())).rejects.toThrow("only exec, tcpSocket, httpGet and grpc");
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

describe("a gRPC probe", () => {
  const grpcServers: GrpcServer[] = [];
  afterEach(() => {
    for (const server of grpcServers.splice(0)) server.forceShutdown();
  });

  const raw = (bytes: Buffer) => bytes;
  const health: ServiceDefinition = {
    Check: {
      path: "/grpc.health.v1.Health/Check",
      requestStream: false,
      responseStream: false,
      requestSerialize: raw,
      requestDeserialize: raw,
      responseSerialize: raw,
      responseDeserialize: raw,
    },
  };

  /** A server of the health service; statuses by service name, as in HealthCheckResponse. */
  async function grpc(
    statuses: Readonly<Record<string, number>> | undefined,
    silent = false,
  ): Promise<Probe> {
    const server = new GrpcServer();
    grpcServers.push(server);
    if (statuses)
      server.addService(health, {
        Check: (call: { request: Buffer }, answer: (error: object | null, message?: Buffer) => void) => {
          if (silent) return;
          const name = call.request.subarray(2).toString();
          const status = statuses[name];
          if (status === undefined) answer({ code: grpcStatus.NOT_FOUND, details: "unknown service" });
          else answer(null, status === 0 ? Buffer.alloc(0) : Buffer.of(0x08, status));
        },
      });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    return { grpc: { port }, timeoutSeconds: 0.5 } as Probe;
  }
  const about = (probe: Probe, service: string): Probe =>
    ({ ...probe, grpc: { ...probe.grpc, service } }) as Probe;

  it("takes SERVING for good, of the server and of a service", async () => {
    const probe = await grpc({ "": 1, "shop.Cart": 1, "shop.Stock": 2, "shop.New": 0 });
    await expect(probeOnce(probe, target())).resolves.toBeUndefined();
    await expect(probeOnce(about(probe, "shop.Cart"), target())).resolves.toBeUndefined();
    await expect(probeOnce(about(probe, "shop.Stock"), target())).rejects.toThrow(
      'service unhealthy (responded with "NOT_SERVING")',
    );
    await expect(probeOnce(about(probe, "shop.New"), target())).rejects.toThrow('"UNKNOWN"');
    await expect(probeOnce(about(probe, "shop.None"), target())).rejects.toThrow(
      "health rpc failed with status 5",
    );
  });

  it("tells a server without health checks, one that is silent, and none at all", async () => {
    await expect(probeOnce(await grpc(undefined), target())).rejects.toThrow(
      "does not implement the grpc health protocol",
    );
    await expect(probeOnce(await grpc({}, true), target())).rejects.toThrow("did not complete within 500 ms");
    const port = await closedPort();
    await expect(probeOnce({ grpc: { port } } as Probe, target())).rejects.toThrow("ECONNREFUSED");
    const web = await http((_request, response) => response.end("hello"));
    await expect(probeOnce({ grpc: { port: web } } as Probe, target())).rejects.toThrow();
  });

  it("goes by the node's connector, with the pod's address", async () => {
    const probe = await grpc({ "": 1 });
    const asked: string[] = [];
    const via = target({
      ip: "172.16.53.9",
      connect: (host, port) => {
        asked.push(`${host}:${port}`);
        return connect({ host: "127.0.0.1", port });
      },
    });
    await expect(probeOnce(probe, via)).resolves.toBeUndefined();
    expect(asked).toEqual([`172.16.53.9:${probe.grpc?.port}`]);
  });
});
