/** Upstream's cases of group Networking on simulated clusters (test/e2e/network/networking.go, test/e2e/common/network). */
import { describe, expect, it } from "vitest";
import { type AskProtocol, ask } from "./ask.js";
import { Cluster } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { text } from "./packet.js";
import type { ExposedPort } from "./service-spec.js";
import type { Station } from "./station.js";

const VIP = "10.254.0.10";
const OTHER_VIP = "10.254.0.11";
const NODE_IPS = ["10.0.0.11", "10.0.0.12"] as const;
const NODE_PORT = 30080;
const TARGET = 8080;
/** Upstream asks for 2000 bytes over UDP and 10 kB over HTTP: more than a packet holds. */
const LARGE_BYTES = 10_000;
const KINDS = [
  ["http", "TCP"],
  ["udp", "UDP"],
] as const;

/** A netserver on each of two nodes, a client pod on the first, and the nodes' own stacks. */
function setUp() {
  const cluster = new Cluster({ nodes: 2 });
  const client = cluster.addPod("client", 1);
  const node = cluster.addNodeStack(1);
  const servers = [1, 2].map((number) => cluster.addPod(`netserver-${number}`, number));
  for (const server of servers) serveEcho(server);
  const who = (from: Station, dst: string, port: number, protocol: AskProtocol) => {
    const { outcome, pod } = ask(cluster, from, dst, port, protocol);
    return outcome === "answered" ? pod : outcome;
  };
  /** Who answers, asked as often as there are servers and once more. */
  const all = (from: Station, dst: string, port: number, protocol: AskProtocol) =>
    [...new Set([1, 2, 3].map(() => who(from, dst, port, protocol)))].sort();
  const expose = (protocol: "TCP" | "UDP", pods = servers, more: Partial<ExposedPort> = {}) =>
    cluster.expose("web", VIP, pods, {
      port: 80,
      targetPort: TARGET,
      nodePort: NODE_PORT,
      protocol,
      ...more,
    });
  return { cluster, client, node, servers, who, all, expose };
}

const BOTH = ["netserver-1", "netserver-2"];

describe.each(KINDS)("[sig-network] Networking Granular Checks:", (kind, protocol) => {
  it(`Pods should function for intra-pod communication: ${kind}`, () => {
    const { client, servers, who } = setUp();
    expect(servers.map(({ ip }) => who(client, ip, TARGET, protocol))).toEqual(BOTH);
  });

  it(`Pods should function for node-pod communication: ${kind}`, () => {
    const { node, servers, who } = setUp();
    expect(servers.map(({ ip }) => who(node, ip, TARGET, protocol))).toEqual(BOTH);
  });

  it(`Services should function for pod-Service: ${kind}`, () => {
    const { client, all, expose } = setUp();
    expose(protocol);
    expect(all(client, VIP, 80, protocol)).toEqual(BOTH);
    for (const nodeIp of NODE_IPS) expect(all(client, nodeIp, NODE_PORT, protocol)).toEqual(BOTH);
  });

  it(`Services should function for node-Service: ${kind}`, () => {
    const { cluster, node, all, expose } = setUp();
    expose(protocol);
    for (const from of [node, cluster.host]) {
      expect(all(from, VIP, 80, protocol)).toEqual(BOTH);
      for (const nodeIp of NODE_IPS) expect(all(from, nodeIp, NODE_PORT, protocol)).toEqual(BOTH);
    }
  });

  it(`Services should function for endpoint-Service: ${kind}`, () => {
    const { servers, all, expose } = setUp();
    expose(protocol);
    for (const server of servers) {
      expect(all(server, VIP, 80, protocol)).toEqual(BOTH);
      for (const nodeIp of NODE_IPS) expect(all(server, nodeIp, NODE_PORT, protocol)).toEqual(BOTH);
    }
  });

  it(`Services should update endpoints: ${kind}`, () => {
    const { client, servers, all, expose } = setUp();
    expose(protocol);
    expect(all(client, VIP, 80, protocol)).toEqual(BOTH);
    expose(protocol, [servers[1]]);
    expect(all(client, VIP, 80, protocol)).toEqual([BOTH[1]]);
  });

  it(`Services should update nodePort: ${kind}`, () => {
    const { client, all, who, expose } = setUp();
    expose(protocol);
    expect(all(client, NODE_IPS[1], NODE_PORT, protocol)).toEqual(BOTH);
    expose(protocol, undefined, { nodePort: NODE_PORT + 1 });
    expect(who(client, NODE_IPS[1], NODE_PORT, protocol)).toBe("refused");
    expect(all(client, NODE_IPS[1], NODE_PORT + 1, protocol)).toEqual(BOTH);
  });

  it(`Services should function for client IP based session affinity: ${kind}`, () => {
    const { client, all, expose } = setUp();
    expose(protocol, undefined, { spec: { sessionAffinity: "ClientIP" } });
    expect(all(client, VIP, 80, protocol)).toHaveLength(1);
    expect(all(client, NODE_IPS[1], NODE_PORT, protocol)).toHaveLength(1);
  });
});

describe("[sig-network] Networking Granular Checks: Services", () => {
  it("should be able to handle large requests: http", () => {
    const { cluster, client, expose } = setUp();
    expose("TCP");
    const end = client.connect(VIP, 80);
    end.write("x".repeat(LARGE_BYTES));
    cluster.run(2000);
    expect(end.idle).toBe(true);
    expect(end.input.match(/x/g)).toHaveLength(LARGE_BYTES);
  });

  it("should be able to handle large requests: udp", () => {
    const { cluster, client, servers, expose } = setUp();
    for (const server of servers) server.serveUdp(TARGET, ({ payload }) => payload);
    expose("UDP");
    client.sendUdp(VIP, 80, text("x".repeat(LARGE_BYTES)));
    cluster.run(100);
    expect(client.datagrams.map(({ from, payload }) => [from, payload.length])).toEqual([[VIP, LARGE_BYTES]]);
  });

  it("should function for multiple endpoint-Services with same selector", () => {
    const { cluster, servers, client, all, expose } = setUp();
    expose("TCP");
    cluster.expose("other", OTHER_VIP, servers, { port: 80, targetPort: TARGET });
    for (const vip of [VIP, OTHER_VIP]) expect(all(client, vip, 80, "TCP")).toEqual(BOTH);
    cluster.deleteService("other");
    cluster.sync();
    expect(all(client, VIP, 80, "TCP")).toEqual(BOTH);
  });

  it("should support basic nodePort: udp functionality", () => {
    const { cluster, all, expose } = setUp();
    expose("UDP");
    for (const nodeIp of NODE_IPS) expect(all(cluster.host, nodeIp, NODE_PORT, "UDP")).toEqual(BOTH);
  });

  it("should function for service endpoints using hostNetwork", () => {
    const { cluster, client, node, all, expose } = setUp();
    const nodes = [node, cluster.addNodeStack(2)];
    for (const each of nodes) serveEcho(each);
    for (const protocol of ["TCP", "UDP"] as const) {
      expose(protocol, nodes);
      for (const from of [client, node, cluster.host])
        expect(all(from, VIP, 80, protocol)).toEqual(["node-1", "node-2"]);
    }
  });
});

it("[sig-network] NoSNAT Should be able to send traffic between Pods without SNAT", () => {
  const { cluster, servers, client } = setUp();
  const pods = [client, ...servers];
  serveEcho(client);
  for (const from of pods)
    for (const to of pods.filter((pod) => pod !== from))
      expect(ask(cluster, from, to.ip, TARGET, "TCP").seenAs, `${from.name} to ${to.name}`).toBe(from.ip);
});

describe("[sig-network] EndpointSlice", () => {
  function withSlices(
    slices: { pods: Station[]; ports: { name: string; port: number }[] }[],
    cluster: Cluster,
  ) {
    const metadata = (index: number) => ({
      name: `web-${index}`,
      namespace: "default",
      labels: { "kubernetes.io/service-name": "web" },
    });
    for (const { proxier } of cluster.nodes)
      for (const [index, { pods, ports }] of slices.entries())
        proxier.onEndpointSliceUpsert({
          addressType: "IPv4",
          metadata: metadata(index),
          endpoints: pods.map(({ ip }) => ({ addresses: [ip] })),
          ports,
        });
    cluster.sync();
  }

  it("should support a Service with multiple endpoint IPs specified in multiple EndpointSlices", () => {
    const { cluster, client, servers, all } = setUp();
    cluster.applyService("web", { clusterIP: VIP, ports: [{ name: "http", port: 80 }] });
    const ports = [{ name: "http", port: TARGET }];
    withSlices(
      servers.map((pod) => ({ pods: [pod], ports })),
      cluster,
    );
    expect(all(client, VIP, 80, "TCP")).toEqual(BOTH);
  });

  it("should support a Service with multiple ports specified in multiple EndpointSlices", () => {
    const { cluster, client, servers, all } = setUp();
    for (const server of servers) serveEcho(server, TARGET + 1);
    const ports = [
      { name: "one", port: 80 },
      { name: "two", port: 81 },
    ];
    cluster.applyService("web", { clusterIP: VIP, ports });
    withSlices(
      ["one", "two"].map((name, index) => ({ pods: servers, ports: [{ name, port: TARGET + index }] })),
      cluster,
    );
    for (const { port } of ports) expect(all(client, VIP, port, "TCP")).toEqual(BOTH);
  });
});
