/** Upstream's Networking cases (test/e2e/common/network, test/e2e/network): who reaches whom, with real sockets. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Container, Pod, Service } from "../../src/kube/index.js";
import { HOST_IP, NODE_IPS, NODES, ServiceLab } from "./service-lab.js";

const lab = new ServiceLab("granular");
const SERVERS = ["netserver-0", "netserver-1", "netserver-2"];
const HOST_SERVERS = ["host-0", "host-1", "host-2"];
const CLIENT = "test-container";
const WEB = { app: "netserver" };
const HOST_WEB = { app: "hostserver" };
const PORTS = [
  { name: "http", port: 80, targetPort: 8080, protocol: "TCP" },
  { name: "udp", port: 90, targetPort: 8080, protocol: "UDP" },
];
/** Whether a pod, a node or an endpoint itself asks. */
const SOURCES = { pod: CLIENT, node: NODES[0], endpoint: SERVERS[0] ?? "" } as const;
type Protocol = "http" | "udp";

/** Asks once from each of so many sockets; prints who answered, or why nobody did. */
const UDP_ASKS = `
const [ip, port, count] = process.argv.slice(1);
for (let i = 0; i < Number(count); i++) {
  const socket = require("node:dgram").createSocket("udp4");
  const end = (answer) => { clearTimeout(timer); console.log(answer); socket.close(); };
  const timer = setTimeout(() => end("timeout"), 1000);
  socket.on("message", (message) => end(/pod=(\\S+)/.exec(String(message))?.[1] ?? "?"));
  socket.on("error", (error) => end(error.code === "ECONNREFUSED" ? "refused" : error.code));
  socket.connect(Number(port), ip, () => socket.send("hello"));
}
`;

beforeAll(async () => {
  await lab.up();
  await Promise.all([
    lab.pod(CLIENT, { node: NODES[0] }),
    ...NODES.flatMap((node, index) => [
      lab.pod(SERVERS[index] ?? "", { node, labels: WEB }),
      lab.pod(HOST_SERVERS[index] ?? "", { node, labels: HOST_WEB, hostNetwork: true }),
    ]),
  ]);
  await lab.ready(CLIENT, ...SERVERS, ...HOST_SERVERS);
});
afterAll(() => lab.down());

const distinct = (answers: readonly string[]) => [...new Set(answers)].sort();

/** Names of those that answered questions over new connections; UDP asks from a new socket each time. */
async function ask(how: Protocol, from: string, ip: string, port: number, count = 6): Promise<string[]> {
  if (how === "http") return lab.ask(from, `http://${ip}:${port}/hostname`, count);
  const words = [ip, port, count].map(String);
  return (await lab.run(from, process.execPath, "-e", UDP_ASKS, ...words)).stdout.split("\n").filter(Boolean);
}

/** A Service for the time of a test, once all of its endpoints have answered. */
async function withService(spec: object, test: (service: Reached) => Promise<void>): Promise<void> {
  const service = await lab.service("tried", { type: "NodePort", selector: WEB, ports: PORTS, ...spec });
  try {
    await lab.becomes(CLIENT, `http://${service.spec?.clusterIP}/hostname`, /^(netserver|host)-/);
    await test(reached(service));
  } finally {
    await lab.remove("services", "tried");
  }
}

interface Reached {
  readonly ip: string;
  readonly port: Readonly<Record<Protocol, number>>;
  readonly nodePort: Readonly<Record<Protocol, number>>;
}

function reached({ spec }: Service): Reached {
  const [http, udp] = (spec?.ports ?? []).map(({ nodePort = 0 }) => nodePort);
  return {
    ip: spec?.clusterIP ?? "",
    port: { http: 80, udp: 90 },
    nodePort: { http: http ?? 0, udp: udp ?? 0 },
  };
}

describe("[sig-network] Networking Granular Checks: Pods", () => {
  it.each(["http", "udp"] as const)("should function for intra-pod communication: %s", async (how) => {
    for (const server of SERVERS)
      expect(await ask(how, CLIENT, await lab.podIp(server), 8080, 1)).toEqual([server]);
  });

  it.each(["http", "udp"] as const)("should function for node-pod communication: %s", async (how) => {
    for (const server of SERVERS)
      expect(await ask(how, NODES[1], await lab.podIp(server), 8080, 1)).toEqual([server]);
  });
});

describe("[sig-network] Networking Granular Checks: Services", () => {
  const kinds = (["pod", "node", "endpoint"] as const).flatMap((from) =>
    (["http", "udp"] as const).map((how) => [from, how] as const),
  );
  it.each(kinds)("should function for %s-Service: %s", (from, how) =>
    withService({}, async ({ ip, port, nodePort }) => {
      expect(distinct(await ask(how, SOURCES[from], ip, port[how]))).toEqual(SERVERS);
      for (const node of NODE_IPS)
        expect(distinct(await ask(how, SOURCES[from], node, nodePort[how]))).toEqual(SERVERS);
    }),
  );

  it("should support basic nodePort: udp functionality", () =>
    withService({}, async ({ nodePort }) => {
      expect(distinct(await ask("udp", NODES[0], NODE_IPS[0], nodePort.udp))).toEqual(SERVERS);
      expect(distinct(await ask("udp", NODES[0], NODE_IPS[1], nodePort.udp))).toEqual(SERVERS);
    }));

  it.each(["http", "udp"] as const)("should function for client IP based session affinity: %s", (how) =>
    withService({ sessionAffinity: "ClientIP" }, async ({ ip, port }) => {
      expect(distinct(await ask(how, CLIENT, ip, port[how]))).toHaveLength(1);
    }),
  );

  it("should function for multiple endpoint-Services with same selector", () =>
    withService({}, async ({ ip }) => {
      const second = reached(await lab.service("second", { selector: WEB, ports: PORTS, type: "NodePort" }));
      await lab.becomes(CLIENT, `http://${second.ip}/hostname`, /^netserver-/);
      for (const address of [ip, second.ip])
        expect(distinct(await ask("http", SOURCES.endpoint, address, 80))).toEqual(SERVERS);
      await lab.remove("services", "second");
      await lab.becomes(CLIENT, `http://${NODE_IPS[0]}:${second.nodePort.http}/hostname`, "refused");
      expect(distinct(await ask("http", SOURCES.endpoint, ip, 80))).toEqual(SERVERS);
    }));

  it.each(["http", "udp"] as const)("should update nodePort: %s", (how) =>
    withService({}, async ({ ip, port, nodePort }) => {
      expect(distinct(await ask(how, NODES[0], NODE_IPS[0], nodePort[how]))).toEqual(SERVERS);
      await lab.edit<Service>("services", "tried", ({ spec }) => {
        if (spec) spec.type = "ClusterIP";
        for (const one of spec?.ports ?? []) delete one.nodePort;
      });
      const refused = async () => (await ask(how, NODES[0], NODE_IPS[0], nodePort[how], 1))[0] !== SERVERS[0];
      await lab.until("the node port closed", refused);
      expect(await ask(how, NODES[0], NODE_IPS[0], nodePort[how], 1)).toEqual(["refused"]);
      expect(distinct(await ask(how, CLIENT, ip, port[how]))).toEqual(SERVERS);
    }),
  );

  it("should function for service endpoints using hostNetwork", () =>
    withService({ selector: HOST_WEB }, async ({ ip, port, nodePort }) => {
      for (const how of ["http", "udp"] as const) {
        for (const from of [CLIENT, NODES[0]]) {
          expect(distinct(await ask(how, from, ip, port[how]))).toEqual(HOST_SERVERS);
          expect(distinct(await ask(how, from, NODE_IPS[1], nodePort[how]))).toEqual(HOST_SERVERS);
        }
      }
      expect(distinct(await ask("http", "host", NODE_IPS[2], nodePort.http))).toEqual(HOST_SERVERS);
    }));

  it("should be able to handle large requests: http", () =>
    withService({}, async ({ ip }) => {
      const { stdout } = await lab.run(
        CLIENT,
        ...["sh", "-c", `head -c 200000 /dev/zero | curl -sS --max-time 5 --data-binary @- http://${ip}/`],
      );
      expect(stdout).toMatch(/ 200000\n$/);
    }));

  it("should be able to handle large requests: udp", () =>
    withService({}, async ({ ip }) => {
      const script = `require("node:dgram").createSocket("udp4").on("message", (m) => { console.log(m.length); process.exit(); }).send("x".repeat(8000), 90, "${ip}"); setTimeout(() => process.exit(1), 3000)`;
      const { stdout } = await lab.run(CLIENT, process.execPath, "-e", script);
      expect(Number(stdout)).toBeGreaterThan(8000);
    }));

  it.each(["http", "udp"] as const)("should update endpoints: %s", async (how) => {
    const labels = { app: `updated-${how}` };
    const names = NODES.map((_, index) => `updated-${how}-${index}`);
    await Promise.all(names.map((name, index) => lab.pod(name, { node: NODES[index] ?? "", labels })));
    await lab.ready(...names);
    const service = reached(await lab.service(`updated-${how}`, { selector: labels, ports: PORTS }));
    await lab.hasEndpoints(`updated-${how}`, ...names);
    await lab.becomes(CLIENT, `http://${service.ip}/hostname`, /^updated-/);
    expect(distinct(await ask(how, CLIENT, service.ip, service.port[how]))).toEqual(names);
    await lab.remove("pods", names[0] ?? "");
    await lab.hasEndpoints(`updated-${how}`, ...names.slice(1));
    const left = async () => distinct(await ask(how, CLIENT, service.ip, service.port[how], 4)).join();
    await lab.until("two endpoints", async () => (await left()) === names.slice(1).join());
    await lab.remove("services", `updated-${how}`);
    await lab.remove("pods", ...names.slice(1));
  });
});

describe("[sig-network] Services should respect internalTrafficPolicy=Local", () => {
  const LOCAL = { type: "ClusterIP", internalTrafficPolicy: "Local" };

  it("Pod (hostNetwork: true) to Pod", () =>
    withService({ ...LOCAL, selector: WEB }, async ({ ip }) => {
      for (const index of [0, 1, 2])
        expect(distinct(await ask("http", HOST_SERVERS[index] ?? "", ip, 80, 3))).toEqual([SERVERS[index]]);
    }));

  it("Pod and Node, to Pod (hostNetwork: true)", () =>
    withService({ ...LOCAL, selector: HOST_WEB }, async ({ ip }) => {
      for (const from of [CLIENT, SERVERS[0] ?? "", NODES[0], HOST_SERVERS[0] ?? ""])
        expect(distinct(await ask("http", from, ip, 80, 3))).toEqual([HOST_SERVERS[0]]);
      await lab.remove("pods", HOST_SERVERS[0] ?? "");
      await lab.hasEndpoints("tried", ...HOST_SERVERS.slice(1));
      for (const from of [CLIENT, NODES[0]]) await lab.becomes(from, `http://${ip}/hostname`, "timeout");
      expect(distinct(await ask("http", NODES[1], ip, 80, 3))).toEqual([HOST_SERVERS[1]]);
    }));
});

describe("[sig-network] HostPort", () => {
  it("validates that there is no conflict between pods with same hostPort but different hostIP and protocol", async () => {
    const ports = [
      { hostIP: "127.0.0.1", protocol: "TCP" },
      { hostIP: NODE_IPS[1], protocol: "TCP" },
      { hostIP: NODE_IPS[1], protocol: "UDP" },
    ];
    for (const [index, port] of ports.entries()) {
      const container = {
        name: "main",
        image: "podwire/echo",
        ports: [{ containerPort: 8080, hostPort: 54323, ...port }],
        ...(port.protocol === "TCP"
          ? { readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 } }
          : {}),
      };
      await lab.client.create<Pod>("pods", {
        metadata: { name: `pod${index + 1}`, namespace: "default" },
        spec: { nodeSelector: { "kubernetes.io/hostname": NODES[1] }, containers: [container] },
      });
    }
    await lab.ready("pod1", "pod2", "pod3");
    const url = (ip: string) => `http://${ip}:54323/hostname`;
    await lab.becomes(NODES[1], url("127.0.0.1"), "pod1");
    const bound = await lab.run(NODES[1], "curl", "-sS", "--interface", NODE_IPS[1], url("127.0.0.1"));
    expect(bound.stdout).toBe("pod1");
    for (const from of [NODES[1], NODES[0], CLIENT, "pod2", "host"])
      expect(await lab.ask(from, url(NODE_IPS[1]))).toEqual(["pod2"]);
    await lab.until("pod3 over UDP", async () => (await lab.udp(NODES[1], NODE_IPS[1], 54323))[0] === "pod3");
    expect(await lab.ask("host", url(NODE_IPS[0]))).toEqual(["refused"]);
    await lab.remove("pods", "pod1", "pod2", "pod3");
    await lab.becomes(NODES[1], url("127.0.0.1"), "refused");
    expect(await lab.ask("host", url(NODE_IPS[1]))).toEqual(["refused"]);
    expect(await lab.udp("host", NODE_IPS[1], 54323)).toEqual(["refused"]);
  });
});

describe("[sig-network] Networking", () => {
  it("should allow creating a Pod with an SCTP HostPort [LinuxOnly] [Serial]", async () => {
    const loaded = async () => /^sctp /m.test((await lab.run(NODES[1], "cat", "/proc/modules")).stdout);
    const before = await loaded();
    const readinessProbe = { exec: { command: ["true"] }, periodSeconds: 1 };
    const ports = [{ containerPort: 5060, hostPort: 5060, protocol: "SCTP" }];
    await lab.client.create<Pod>("pods", {
      metadata: { name: "hostport", namespace: "default" },
      spec: {
        nodeSelector: { "kubernetes.io/hostname": NODES[1] },
        containers: [{ name: "main", image: "podwire/echo", ports, readinessProbe }],
      },
    });
    const [pod] = await lab.ready("hostport");
    expect(pod?.spec?.nodeName).toBe(NODES[1]);
    expect(pod?.spec?.containers[0]?.ports).toEqual(ports);
    // Its rule is the node process' own: no module of the kernel is loaded for it.
    expect(await loaded()).toBe(before);
    // The port is taken on that node, for SCTP alone.
    const rival = (name: string, protocol: string) =>
      lab.client.create<Pod>("pods", {
        metadata: { name, namespace: "default" },
        spec: {
          nodeSelector: { "kubernetes.io/hostname": NODES[1] },
          containers: [
            {
              name: "main",
              image: "podwire/echo",
              ports: [{ ...ports[0], protocol }],
              readinessProbe,
            } as Container,
          ],
        },
      });
    await rival("hostport-sctp", "SCTP");
    await rival("hostport-tcp", "TCP");
    await lab.ready("hostport-tcp");
    const waiting = async () =>
      (await lab.client.get<Pod>("pods", "default", "hostport-sctp")).status?.conditions?.find(
        ({ type }) => type === "PodScheduled",
      );
    await lab.until("no node for the other", async () => (await waiting())?.reason === "Unschedulable");
    expect((await waiting())?.message).toContain("free ports");
    const [{ status } = {} as Pod] = await lab.ready("hostport");
    expect(status?.containerStatuses?.[0]?.restartCount).toBe(0);
    await lab.remove("pods", "hostport", "hostport-sctp", "hostport-tcp");
  });
});

describe("[sig-network] NoSNAT", () => {
  it("Should be able to send traffic between Pods without SNAT", async () => {
    for (const from of SERVERS) {
      const own = await lab.podIp(from);
      for (const to of SERVERS.filter((name) => name !== from)) {
        const [seen] = await lab.ask(from, `http://${await lab.podIp(to)}:8080/clientip`);
        expect(seen?.split(":")[0]).toBe(own);
      }
    }
  });
});

describe("[sig-network] Connectivity Pod Lifecycle", () => {
  it("should be able to connect from a Pod to a terminating Pod; [sig-network] Connectivity Pod Lifecycle should be able to connect to other Pod from a terminating Pod", async () => {
    await lab.pod("leaving", { node: NODES[1], lingers: true, graceSeconds: 20 });
    const [leaving] = await lab.ready("leaving");
    const ip = leaving?.status?.podIP ?? "";
    expect(await lab.ask("leaving", `http://${await lab.podIp(SERVERS[0] ?? "")}:8080/hostname`)).toEqual([
      SERVERS[0],
    ]);
    await lab.remove("pods", "leaving");
    const terminating = async () => (await lab.client.get<Pod>("pods", "default", "leaving")).metadata;
    expect((await terminating())?.deletionTimestamp).toBeDefined();
    expect(await lab.ask(CLIENT, `http://${ip}:8080/hostname`)).toEqual(["leaving"]);
    expect(await lab.ask("leaving", `http://${await lab.podIp(SERVERS[0] ?? "")}:8080/hostname`)).toEqual([
      SERVERS[0],
    ]);
    expect((await terminating())?.deletionTimestamp).toBeDefined();
    await lab.client.delete("pods", "default", "leaving", { gracePeriodSeconds: 0 });
  });
});

describe("a node", () => {
  it("asks the kubelet's questions from its bridge's address", async () => {
    const { stdout } = await lab.run(NODES[0], "ip", "-4", "route", "get", await lab.podIp(SERVERS[0] ?? ""));
    const bridge = (await lab.podIp(SERVERS[0] ?? "")).replace(/\d+$/, "1");
    expect(stdout).toContain(`src ${bridge}`);
  });

  it("answers echo and refuses what nobody listens on, from everywhere", async () => {
    for (const from of [CLIENT, SERVERS[1] ?? "", NODES[0], NODES[1], "host"]) {
      expect((await lab.run(from, "ping", "-c1", "-W2", NODE_IPS[0])).code).toBe(0);
      expect(await lab.ask(from, `http://${NODE_IPS[0]}:9/`)).toEqual(["refused"]);
      expect(await lab.udp(from, NODE_IPS[0], 9)).toEqual(["refused"]);
    }
  });

  it("masquerades its pods towards the machine", async () => {
    const script = `require("node:http").createServer((q, r) => { r.end(q.socket.remoteAddress); setTimeout(() => process.exit(), 100); }).listen(8099, "${HOST_IP}")`;
    const server = lab.run("host", process.execPath, "-e", script);
    await lab.becomes(CLIENT, `http://${HOST_IP}:8099/`, NODE_IPS[0]);
    await server;
  });
});
