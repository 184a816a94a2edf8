/**
 * Who reaches whom, how the source looks on arrival, and where the reply comes from: kube-proxy's `packetFlowTest`. The
 * tables are written for IPv4; IPv6 has the same with the addresses that stand in the same places.
 */
import { describe, expect, it } from "vitest";
import { type AskProtocol, ask } from "./ask.js";
import { Cluster, HOST_IP, sixOf } from "./cluster.js";
import { serveEcho } from "./echo.js";

const VIP = "10.254.0.10";
const PORT = 80;
const NODE_PORT = 30080;
const TARGET = 8080;

/** Three nodes; client and web-1 on node-1, web-2 on node-2, web-3 on node-3. Services as each row wants them. */
function setUp(protocol: AskProtocol, endpoints: readonly string[]): Cluster {
  const cluster = new Cluster({ nodes: 3, dualStack: true });
  cluster.addPod("client", 1);
  for (const [name, node] of [
    ["web-1", 1],
    ["web-2", 2],
    ["web-3", 3],
  ] as const)
    serveEcho(cluster.addPod(name, node));
  const pods = endpoints.map((name) => cluster.pods.get(name)!);
  const port = {
    port: PORT,
    targetPort: TARGET,
    nodePort: NODE_PORT,
    clusterIp6: sixOf(VIP),
    protocol: protocol === "UDP" ? "UDP" : "TCP",
  } as const;
  cluster.expose("web", VIP, pods, port);
  return cluster;
}

/** `who saw whom`: the pod that answered and the source it saw, or how it failed. */
type Row = readonly [
  name: string,
  from: string,
  dst: string,
  port: number,
  endpoints: string[],
  expected: string,
];

const CLIENT = "172.16.1.2";
const WEB = { "web-1": "172.16.1.3", "web-2": "172.16.2.2" } as const;
const NODE = { 1: "10.0.0.11", 2: "10.0.0.12" } as const;

const rows: Row[] = [
  ["pod to pod, same node", "client", WEB["web-1"], TARGET, [], `web-1 saw ${CLIENT}`],
  ["pod to pod, other node", "client", WEB["web-2"], TARGET, [], `web-2 saw ${CLIENT}`],
  ["pod to pod, other node, the other way", "web-2", WEB["web-1"], TARGET, [], "web-1 saw 172.16.2.2"],
  ["host to pod", "host", WEB["web-1"], TARGET, [], `web-1 saw ${HOST_IP}`],
  ["host to pod of another node", "host", WEB["web-2"], TARGET, [], `web-2 saw ${HOST_IP}`],
  ["pod to cluster IP, endpoint on same node", "client", VIP, PORT, ["web-1"], `web-1 saw ${CLIENT}`],
  ["pod to cluster IP, endpoint on other node", "client", VIP, PORT, ["web-2"], `web-2 saw ${CLIENT}`],
  [
    "host to cluster IP, endpoint on the node it goes through",
    "host",
    VIP,
    PORT,
    ["web-1"],
    "web-1 saw 172.16.1.1",
  ],
  ["host to cluster IP, endpoint on other node", "host", VIP, PORT, ["web-2"], "web-2 saw 172.16.1.0"],
  ["host to node port, endpoint on that node", "host", NODE[1], NODE_PORT, ["web-1"], "web-1 saw 172.16.1.1"],
  [
    "host to node port, endpoint on other node",
    "host",
    NODE[1],
    NODE_PORT,
    ["web-2"],
    "web-2 saw 172.16.1.0",
  ],
  [
    "host to node port of second node, endpoint on first",
    "host",
    NODE[2],
    NODE_PORT,
    ["web-1"],
    "web-1 saw 172.16.2.0",
  ],
  [
    "pod to node port of its own node, endpoint there",
    "client",
    NODE[1],
    NODE_PORT,
    ["web-1"],
    "web-1 saw 172.16.1.1",
  ],
  [
    "pod to node port of its own node, endpoint on other node",
    "client",
    NODE[1],
    NODE_PORT,
    ["web-2"],
    "web-2 saw 172.16.1.0",
  ],
  [
    "pod to node port of other node, endpoint there",
    "client",
    NODE[2],
    NODE_PORT,
    ["web-2"],
    "web-2 saw 172.16.2.1",
  ],
  [
    "pod to node port of other node, endpoint on its own",
    "client",
    NODE[2],
    NODE_PORT,
    ["web-1"],
    "web-1 saw 172.16.2.0",
  ],
  [
    "pod to node port of other node, endpoint on third",
    "client",
    NODE[2],
    NODE_PORT,
    ["web-3"],
    "web-3 saw 172.16.2.0",
  ],
  ["hairpin by cluster IP", "web-1", VIP, PORT, ["web-1"], "web-1 saw 172.16.1.1"],
  ["hairpin by node port of its own node", "web-1", NODE[1], NODE_PORT, ["web-1"], "web-1 saw 172.16.1.1"],
  ["hairpin by node port of other node", "web-1", NODE[2], NODE_PORT, ["web-1"], "web-1 saw 172.16.2.0"],
  ["pod to cluster IP without endpoints", "client", VIP, PORT, [], "refused"],
  ["host to cluster IP without endpoints", "host", VIP, PORT, [], "refused"],
  ["host to node port without endpoints", "host", NODE[1], NODE_PORT, [], "refused"],
  ["pod to node port of other node without endpoints", "client", NODE[2], NODE_PORT, [], "refused"],
  ["pod to unused port of a cluster IP", "client", VIP, PORT + 1, ["web-1"], "refused"],
  ["pod to an address that no Service has", "client", "10.254.77.77", PORT, ["web-1"], "silence"],
  ["host to a port of the node that is no node port", "host", NODE[1], 30081, ["web-1"], "refused"],
  [
    "pod to an address of the pod network that no node has",
    "client",
    "172.16.99.9",
    TARGET,
    [],
    "unreachable",
  ],
];

type Family = "IPv4" | "IPv6";

/** A text with all its addresses in the family. */
function inFamily(text: string, family: Family): string {
  return family === "IPv4" ? text : text.replaceAll(/\d+\.\d+\.\d+\.\d+/g, sixOf);
}

describe.each([
  ["TCP", "IPv4"],
  ["UDP", "IPv4"],
  ["TCP", "IPv6"],
  ["UDP", "IPv6"],
] as const)("packet flow, %s over %s", (protocol, family) => {
  it.each(rows)("%s", (_name, from, dst4, port, endpoints, expected4) => {
    const cluster = setUp(protocol, endpoints);
    const [dst, expected] = [inFamily(dst4, family), inFamily(expected4, family)];
    const answer = ask(cluster, cluster.pods.get(from) ?? cluster.host, dst, port, protocol);
    const got = answer.outcome === "answered" ? `${answer.pod} saw ${answer.seenAs}` : answer.outcome;
    expect(got).toBe(expected);
    if (answer.outcome === "answered") expect(answer.replyFrom).toBe(dst);
  });
});

describe.each(["IPv4", "IPv6"] as const)("packet flow, ICMP echo over %s", (family) => {
  const pings: [name: string, from: string, dst: string, expected: string][] = [
    ["pod to pod, same node", "client", WEB["web-1"], `web-1 saw ${CLIENT}`],
    ["pod to pod, other node", "client", WEB["web-2"], `web-2 saw ${CLIENT}`],
    ["host to pod", "host", WEB["web-2"], `web-2 saw ${HOST_IP}`],
    ["pod to its bridge", "client", "172.16.1.1", "node saw "],
    ["pod to its node's IP", "client", NODE[1], "node saw "],
    ["pod to other node's IP", "client", NODE[2], "node saw "],
    ["pod to other node's bridge", "client", "172.16.2.1", "node saw "],
    ["host to node IP", "host", NODE[2], "node saw "],
    ["pod to host", "client", HOST_IP, "node saw "],
  ];
  it.each(pings)("%s", (_name, from, dst4, expected) => {
    const cluster = setUp("TCP", ["web-1"]);
    const dst = inFamily(dst4, family);
    const answer = ask(cluster, cluster.pods.get(from) ?? cluster.host, dst, 0, "ICMP");
    expect(`${answer.pod} saw ${answer.seenAs}`).toBe(inFamily(expected, family));
    expect(answer.replyFrom).toBe(dst);
  });

  it("a cluster IP does not answer to echo", () => {
    const cluster = setUp("TCP", ["web-1"]);
    const vip = inFamily(VIP, family);
    expect(ask(cluster, cluster.pods.get("client")!, vip, 0, "ICMP").outcome).toBe("silence");
  });
});

describe("packet flow, options", () => {
  it("masquerade-all hides pods from each other behind cluster IPs", () => {
    const cluster = new Cluster({ proxy: { masqueradeAll: true } });
    const client = cluster.addPod("client", 1);
    const web = cluster.addPod("web-1", 2);
    serveEcho(web);
    cluster.expose("web", VIP, [web], { port: PORT, targetPort: TARGET });
    expect(ask(cluster, client, VIP, PORT, "TCP")).toMatchObject({ pod: "web-1", seenAs: "172.16.1.0" });
  });

  it("without bridge netfilter a Service fails when its endpoint is on the client's node, and only then", () => {
    const cluster = new Cluster({ bridgeNetfilter: false });
    const client = cluster.addPod("client", 1);
    const [near, far] = [cluster.addPod("near", 1), cluster.addPod("far", 2)];
    for (const pod of [near, far]) serveEcho(pod);
    cluster.expose("near", VIP, [near], { port: PORT, targetPort: TARGET });
    cluster.expose("far", "10.254.0.11", [far], { port: PORT, targetPort: TARGET });
    expect(ask(cluster, client, near.ip, TARGET, "TCP").outcome).toBe("answered");
    expect(ask(cluster, client, "10.254.0.11", PORT, "TCP").outcome).toBe("answered");
    expect(ask(cluster, client, VIP, PORT, "TCP").outcome).toBe("silence");
    // The reply did arrive, but from an address that was never asked.
    expect(client.received.some((packet) => packet.src === near.ip && packet.protocol === 6)).toBe(true);
  });

  it("the same seed gives the same run", () => {
    const play = (): string => {
      const cluster = new Cluster({ seed: 7, trace: true });
      const client = cluster.addPod("client", 1);
      const webs = [cluster.addPod("web-1", 1), cluster.addPod("web-2", 2)];
      for (const web of webs) serveEcho(web);
      cluster.link(1, 2).jitterMs = 5;
      cluster.expose("web", VIP, webs, { port: PORT, targetPort: TARGET, nodePort: NODE_PORT });
      for (let i = 0; i < 4; i++)
        ask(cluster, i % 2 ? client : cluster.host, i % 2 ? VIP : NODE[1], i % 2 ? PORT : NODE_PORT, "TCP");
      return JSON.stringify(cluster.observations);
    };
    const first = play();
    expect(first.length).toBeGreaterThan(1000);
    expect(play()).toBe(first);
  });
});
