/** The node's own IP stack: what it sends passes the Service rules as in OUTPUT, what is for the node is given to it. */
import { describe, expect, it } from "vitest";
import { type AskProtocol, ask } from "./ask.js";
import { Cluster, HOST_IP } from "./cluster.js";
import { serveEcho } from "./echo.js";
import type { Station } from "./station.js";

const VIP = "10.254.0.10";
const NODE = ["10.0.0.11", "10.0.0.12", "10.0.0.13"] as const;

interface Lab {
  readonly cluster: Cluster;
  readonly stations: Readonly<Record<string, Station>>;
}

/** Three nodes with IP stacks that serve 9000, a client on node-1, a web pod each; `endpoints` may name nodes as well. */
function setUp(endpoints: readonly string[], protocol: AskProtocol = "TCP", spec: object = {}): Lab {
  const cluster = new Cluster({ nodes: 3, trace: true });
  const stations: Record<string, Station> = { host: cluster.host, client: cluster.addPod("client", 1) };
  for (const number of [1, 2, 3]) {
    const node = cluster.addNodeStack(number);
    const web = cluster.addPod(`web-${number}`, number);
    serveEcho(node, 9000);
    serveEcho(web, 9000);
    stations[node.name] = node;
    stations[web.name] = web;
  }
  const port = { port: 80, targetPort: 9000, nodePort: 30080, spec } as const;
  const backends = endpoints.map((name) => stations[name]!);
  cluster.expose("web", VIP, backends, { ...port, protocol: protocol === "UDP" ? "UDP" : "TCP" });
  return { cluster, stations };
}

function seen({ cluster, stations }: Lab, from: string, dst: string, port: number, how: AskProtocol): string {
  const answer = ask(cluster, stations[from]!, dst, port, how);
  if (answer.outcome === "answered") expect(answer.replyFrom).toBe(dst);
  return answer.outcome === "answered" ? `${answer.pod} saw ${answer.seenAs}` : answer.outcome;
}

type Row = readonly [
  name: string,
  from: string,
  dst: string,
  port: number,
  endpoints: string[],
  expected: string,
];

const rows: Row[] = [
  ["node to a pod that does not listen", "node-1", "172.16.1.2", 9000, [], "refused"],
  ["node to a pod of its own", "node-1", "172.16.1.3", 9000, [], "web-1 saw 172.16.1.1"],
  ["node to a pod of another node", "node-1", "172.16.2.2", 9000, [], "web-2 saw 172.16.1.0"],
  ["node to another node", "node-1", NODE[1], 9000, [], `node-2 saw ${NODE[0]}`],
  ["node to itself", "node-1", NODE[0], 9000, [], `node-1 saw ${NODE[0]}`],
  ["pod to its own node", "client", NODE[0], 9000, [], "node-1 saw 172.16.1.2"],
  ["pod to its bridge", "client", "172.16.1.1", 9000, [], "node-1 saw 172.16.1.2"],
  ["pod to another node", "client", NODE[1], 9000, [], `node-2 saw ${NODE[0]}`],
  ["host to a node", "host", NODE[1], 9000, [], `node-2 saw ${HOST_IP}`],
  ["node to a closed port of its own", "node-1", NODE[0], 9, [], "refused"],
  ["pod to a closed port of its node", "client", NODE[0], 9, [], "refused"],
  ["host to a closed port of a node", "host", NODE[1], 9, [], "refused"],
  ["node to cluster IP, endpoint there", "node-1", VIP, 80, ["web-1"], "web-1 saw 172.16.1.1"],
  ["node to cluster IP, endpoint elsewhere", "node-1", VIP, 80, ["web-2"], "web-2 saw 172.16.1.0"],
  ["node to cluster IP without endpoints", "node-1", VIP, 80, [], "refused"],
  ["node to its own node port, endpoint there", "node-1", NODE[0], 30080, ["web-1"], "web-1 saw 172.16.1.1"],
  [
    "node to its own node port, endpoint elsewhere",
    "node-1",
    NODE[0],
    30080,
    ["web-2"],
    "web-2 saw 172.16.1.0",
  ],
  [
    "node to another's node port, endpoint there",
    "node-1",
    NODE[1],
    30080,
    ["web-2"],
    "web-2 saw 172.16.2.1",
  ],
  [
    "node to another's node port, endpoint at home",
    "node-1",
    NODE[1],
    30080,
    ["web-1"],
    "web-1 saw 172.16.2.0",
  ],
  ["node to its own node port without endpoints", "node-1", NODE[0], 30080, [], "refused"],
  ["pod to cluster IP, its own node is the endpoint", "client", VIP, 80, ["node-1"], "node-1 saw 172.16.1.2"],
  ["pod to cluster IP, another node is the endpoint", "client", VIP, 80, ["node-2"], `node-2 saw ${NODE[0]}`],
  [
    "pod to node port, that node is the endpoint",
    "client",
    NODE[0],
    30080,
    ["node-1"],
    "node-1 saw 172.16.1.2",
  ],
  ["node to cluster IP, itself the endpoint", "node-1", VIP, 80, ["node-1"], `node-1 saw ${NODE[0]}`],
  ["node to cluster IP, another node the endpoint", "node-1", VIP, 80, ["node-2"], `node-2 saw ${NODE[0]}`],
  [
    "host to node port, that node is the endpoint",
    "host",
    NODE[1],
    30080,
    ["node-2"],
    `node-2 saw ${HOST_IP}`,
  ],
  [
    "host to node port, another node is the endpoint",
    "host",
    NODE[1],
    30080,
    ["node-3"],
    `node-3 saw ${NODE[1]}`,
  ],
];

describe.each(["TCP", "UDP"] as const)("node stack, %s", (protocol) => {
  it.each(rows)("%s", (_name, from, dst, port, endpoints, expected) => {
    expect(seen(setUp(endpoints, protocol), from, dst, port, protocol)).toBe(expected);
  });
});

describe("node stack", () => {
  it("is under no Local policy to external addresses, and under it to cluster IPs", () => {
    const external = { externalTrafficPolicy: "Local" };
    expect(seen(setUp(["web-2"], "TCP", external), "node-1", NODE[0], 30080, "TCP")).toBe(
      "web-2 saw 172.16.1.0",
    );
    expect(seen(setUp(["web-2"], "TCP", external), "client", NODE[0], 30080, "TCP")).toBe(
      "web-2 saw 172.16.1.2",
    );
    const internal = { internalTrafficPolicy: "Local" };
    expect(seen(setUp(["web-2"], "TCP", internal), "node-1", VIP, 80, "TCP")).toBe("silence");
    expect(seen(setUp(["web-2"], "TCP", internal), "node-2", VIP, 80, "TCP")).toBe("web-2 saw 172.16.2.1");
  });

  it.each([
    ["node-1", NODE[0], 64],
    ["node-1", NODE[1], 64],
    ["client", NODE[0], 64],
    ["client", "172.16.2.0", 63],
    ["host", NODE[0], 64],
  ])("answers echo of %s to %s with TTL %i", (from, dst, ttl) => {
    const { cluster, stations } = setUp([]);
    stations[from]!.ping(dst, 7);
    cluster.run(1000);
    expect(stations[from]!.echoReplies).toMatchObject([{ from: dst, sequence: 7, ttl }]);
  });

  it("sends with TTL 1 as far as the next hop", () => {
    const { cluster, stations } = setUp([]);
    const node = stations["node-1"]!;
    node.ping("172.16.1.2", 1, 56, { ttl: 1 });
    node.ping("172.16.2.2", 2, 56, { ttl: 1 });
    cluster.run(1000);
    expect(node.echoReplies).toMatchObject([{ from: "172.16.1.2" }]);
    expect(node.errors).toMatchObject([{ from: "172.16.2.0", type: 11, code: 0 }]);
  });

  it("is told of the overlay's MTU, and its large datagrams arrive in pieces", () => {
    const { cluster, stations } = setUp([]);
    const node = stations["node-1"]!;
    node.ping("172.16.2.2", 1, 1472, { df: true });
    node.ping("172.16.2.2", 2, 3000);
    cluster.run(1000);
    expect(node.errors).toMatchObject([{ from: NODE[0], type: 3, code: 4, mtuBytes: 1472 }]);
    expect(node.echoReplies).toMatchObject([{ sequence: 2, bytes: 3000 }]);
  });

  it("may not send with an address that is not the node's", () => {
    const { cluster, stations } = setUp([]);
    stations["node-1"]!.ping("172.16.1.2", 1, 56, { src: "172.16.1.9" });
    cluster.run(1000);
    expect(stations.client!.received).toEqual([]);
    expect(cluster.node(1).datapath.status().counters["drop:invalid-source-ip"]).toBe(1);
  });

  it("keeps connections apart that it shares an address with", () => {
    const lab = setUp([]);
    const { cluster, stations } = lab;
    // The pod is masqueraded to the node's address; the node's own connection from the same port must not be confused.
    const ends = [stations.client!, stations["node-1"]!].map((station) =>
      station.connect(NODE[1], 9000, 45_000),
    );
    for (const end of ends) end.write("x");
    cluster.run(500);
    const sources = ends.map((end) => /client=(\S+) /.exec(end.input)?.[1]);
    expect(new Set(sources).size).toBe(2);
    expect(sources).toContain(`${NODE[0]}:45000`);
    for (const source of sources) expect(source).toMatch(new RegExp(`^${NODE[0]}:\\d+$`));
  });

  it("shows in the trace as output and as local", () => {
    const lab = setUp(["web-1"]);
    seen(lab, "node-1", VIP, 80, "TCP");
    const [first] = lab.cluster.observations;
    expect(first).toMatchObject({ inPort: "node", outPort: "default/web-1", ttl: 64 });
    expect(first?.stages.map(({ hook }) => hook)).toEqual([
      "conntrack",
      "output",
      "route",
      "postrouting",
      "egress",
    ]);
    const back = lab.cluster.observations.find(({ outPort }) => outPort === "node");
    expect(back).toMatchObject({ verdict: "deliver", reply: true, after: { src: 0x0afe000a } });
    expect(back?.stages.at(-1)).toEqual({ hook: "local", verdict: "deliver" });
  });
});
