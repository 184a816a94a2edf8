import { afterAll, beforeAll, expect, it } from "vitest";
import type { Node, ReplicationController } from "../../src/kube/index.js";
import { NODES, ServiceLab } from "./service-lab.js";

/** Upstream's measurement between nodes (test/e2e/network/networking_perf.go), with its program, iperf 2. */
const lab = new ServiceLab("iperf2");
const PORT = 6789;
const NAME = "iperf2-server";
const CLIENTS = NODES.map((_node, index) => `iperf2-client-${index + 1}`);

beforeAll(async () => {
  await lab.up();
  const container = {
    name: NAME,
    image: "podwire/echo",
    command: ["iperf", "-s", "-p", String(PORT)],
    ports: [{ containerPort: PORT }],
    readinessProbe: { tcpSocket: { port: PORT }, periodSeconds: 1 },
  };
  const labels = { app: NAME };
  const template = {
    metadata: { labels },
    spec: { terminationGracePeriodSeconds: 1, containers: [container] },
  };
  await lab.client.create<ReplicationController>("replicationcontrollers", {
    metadata: { name: NAME, namespace: "default" },
    spec: { replicas: 1, selector: labels, template },
  });
  await lab.service(NAME, { selector: labels, ports: [{ port: PORT, protocol: "TCP" }] });
  await Promise.all(CLIENTS.map((name, index) => lab.pod(name, { node: NODES[index] ?? "" })));
  await lab.ready(...CLIENTS);
  await lab.until("the server is an endpoint", async () => (await lab.endpoints(NAME)).length === 1);
});
afterAll(() => lab.down());

/** The lines of iperf's CSV: `begin-end` in seconds, bytes, bit/s. */
function reports(csv: string): { interval: string; bytes: number; bitsPerSecond: number }[] {
  return csv
    .trim()
    .split("\n")
    .map((line) => line.split(","))
    .map((fields) => ({
      interval: fields[6] ?? "",
      bytes: Number(fields[7]),
      bitsPerSecond: Number(fields[8]),
    }));
}

it("[sig-network] Networking IPerf2 [Feature:Networking-Performance] should run iperf2", async () => {
  for (const client of CLIENTS) {
    const options = ["-e", "-p", String(PORT), "--reportstyle", "C", "-i", "1", "-t", "3", "-c", NAME];
    await lab.until(
      `${client} finds the server`,
      async () => (await lab.run(client, "getent", "hosts", NAME)).code === 0,
    );
    const { code, stdout, stderr } = await lab.run(client, "iperf", ...options);
    expect([code, stderr]).toEqual([0, ""]);
    const lines = reports(stdout);
    const total = lines.at(-1);
    // One line a second, and the sum of them.
    expect(lines.length, stdout).toBeGreaterThanOrEqual(4);
    expect(total?.interval).toMatch(/^0\.0+-3\./);
    expect(total?.bytes).toBeGreaterThanOrEqual(Math.max(...lines.slice(0, -1).map(({ bytes }) => bytes)));
    for (const { bitsPerSecond } of lines) expect(bitsPerSecond, stdout).toBeGreaterThan(0);
  }
});

it("between nodes of one machine super-packets stay whole, unless the receiving node does not read them so", async () => {
  const [sender, receiver] = ["k1", "k2"];
  await lab.pod(sender, { node: NODES[0] });
  await lab.pod(receiver, { node: NODES[1] });
  await lab.ready(sender, receiver);
  const address = await lab.podIp(receiver);
  const server = await lab.spawn(receiver, "iperf", "-s", "-p", String(PORT));
  await server.says("Server listening");
  type Report = {
    nodes: { name: string; status: { ports: { overlay: { txBytes: number; txSegments: number } } } }[];
  };
  /** How many bytes the sender's node sent to others, and how many packets it cut them into. */
  const sent = async () => {
    const { nodes } = await lab.test.json<Report>("status");
    return nodes.find(({ name }) => name === NODES[0])!.status.ports.overlay;
  };
  const bulk = async () => {
    const before = await sent();
    const { code } = await lab.run(sender, "iperf", "-p", String(PORT), "-n", "64M", "-c", address);
    expect(code).toBe(0);
    const after = await sent();
    expect(after.txBytes - before.txBytes).toBeGreaterThan(64e6);
    return after.txSegments - before.txSegments;
  };
  try {
    expect(await bulk()).toBe(0);
    const annotate = (value: string) =>
      lab.edit<Node>("nodes", NODES[1], ({ metadata }) => {
        metadata!.annotations!["podwire.dev/super-packets"] = value;
      });
    await annotate("");
    await lab.until("bulk is cut", async () => (await bulk()) > 40_000);
    await annotate("whole");
    await lab.until("bulk is whole again", async () => (await bulk()) === 0);
  } finally {
    server.kill();
  }
});
