/** Host ports as CNI's portmap plugin makes them: who reaches the pod by which address of its node, and as whom. */
import { describe, expect, it } from "vitest";
import type { HostPort } from "../../src/node/pods/hostPorts.js";
import { type AskProtocol, ask } from "./ask.js";
import { Cluster, HOST_IP, networks6Of, sixOf } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { asText, text } from "./packet.js";
import type { Station } from "./station.js";

const NODE = ["10.0.0.11", "10.0.0.12"] as const;
const VIP = "10.254.0.10";

interface Lab {
  readonly cluster: Cluster;
  readonly stations: Readonly<Record<string, Station>>;
}

/** Two nodes with IP stacks; web and a neighbour on node-1, web with the host ports; another pod on node-2. */
function setUp(...ports: Partial<HostPort>[]): Lab {
  const cluster = new Cluster({ nodes: 2, dualStack: true });
  const stations: Record<string, Station> = { host: cluster.host };
  for (const [name, node] of [
    ["web", 1],
    ["neighbour", 1],
    ["other", 2],
  ] as const)
    stations[name] = cluster.addPod(name, node);
  for (const number of [1, 2]) stations[`node-${number}`] = cluster.addNodeStack(number);
  serveEcho(stations.web!);
  lead(cluster, stations.web!, ports);
  return { cluster, stations };
}

function lead(cluster: Cluster, pod: Station, ports: readonly Partial<HostPort>[]): void {
  const whole = ports.map((port) => ({ protocol: "TCP", hostPort: 80, containerPort: 8080, ...port }));
  cluster.nodeOf(pod).hostPorts.put(pod.name, `default/${pod.name}`, [pod.ip, pod.ip6], whole);
}

function seen({ cluster, stations }: Lab, from: string, dst: string, how: AskProtocol = "TCP"): string {
  const answer = ask(cluster, stations[from]!, dst, 80, how);
  if (answer.outcome === "answered") expect(answer.replyFrom).toBe(dst);
  return answer.outcome === "answered" ? `${answer.pod} saw ${answer.seenAs}` : answer.outcome;
}

describe.each(["TCP", "UDP", "SCTP"] as const)("host ports, %s", (protocol) => {
  it.each([
    ["the host, with its address", "host", NODE[0], `web saw ${HOST_IP}`],
    ["another pod of the node, masqueraded", "neighbour", NODE[0], "web saw 172.16.1.1"],
    ["the pod itself, masqueraded", "web", NODE[0], "web saw 172.16.1.1"],
    ["a pod by its bridge's address", "neighbour", "172.16.1.1", "web saw 172.16.1.1"],
    ["a pod of another node, as that node", "other", NODE[0], `web saw ${NODE[1]}`],
    ["the node", "node-1", NODE[0], `web saw ${NODE[0]}`],
    ["the node by loopback, masqueraded", "node-1", "127.0.0.1", "web saw 172.16.1.1"],
    ["another node", "node-2", NODE[0], `web saw ${NODE[1]}`],
    // A station does not abort associations that it has no server for.
    ["nobody on another node's address", "host", NODE[1], protocol === "SCTP" ? "silence" : "refused"],
  ])("are reached by %s", (_name, from, dst, expected) => {
    expect(seen(setUp({ protocol }), from, dst, protocol)).toBe(expected);
  });
});

const [ONE, TWO] = [networks6Of(1), networks6Of(2)];
const HOST_IP6 = sixOf(HOST_IP);

describe.each(["TCP", "UDP", "SCTP"] as const)("host ports over IPv6, %s", (protocol) => {
  it.each([
    ["the host, with its address", "host", ONE.nodeIp, `web saw ${HOST_IP6}`],
    ["another pod of the node, masqueraded", "neighbour", ONE.nodeIp, `web saw ${ONE.bridgeIp}`],
    ["the pod itself, masqueraded", "web", ONE.nodeIp, `web saw ${ONE.bridgeIp}`],
    ["a pod by its bridge's address", "neighbour", ONE.bridgeIp, `web saw ${ONE.bridgeIp}`],
    ["a pod of another node, as that node", "other", ONE.nodeIp, `web saw ${TWO.nodeIp}`],
    ["the node", "node-1", ONE.nodeIp, `web saw ${ONE.nodeIp}`],
    ["another node", "node-2", ONE.nodeIp, `web saw ${TWO.nodeIp}`],
    ["nobody on another node's address", "host", TWO.nodeIp, protocol === "SCTP" ? "silence" : "refused"],
  ])("are reached by %s", (_name, from, dst, expected) => {
    expect(seen(setUp({ protocol }), from, dst, protocol)).toBe(expected);
  });
});

describe("the hostIP of a host port", () => {
  it.each([
    [ONE.nodeIp, "refused", `web saw ${HOST_IP6}`],
    ["::", "refused", `web saw ${HOST_IP6}`],
    [ONE.bridgeIp, "refused", "refused"],
    [NODE[0], `web saw ${HOST_IP}`, "refused"],
    ["0.0.0.0", `web saw ${HOST_IP}`, "refused"],
  ])("%s is the only address, or the only family, that has it", (hostIp, ipv4, ipv6) => {
    const lab = setUp({ hostIp });
    expect([seen(lab, "host", NODE[0]), seen(lab, "host", ONE.nodeIp)]).toEqual([ipv4, ipv6]);
  });

  it("may be one for each family, with a pod for each", () => {
    const lab = setUp({ hostIp: ONE.nodeIp });
    const four = lab.cluster.addPod("four", 1);
    serveEcho(four);
    lead(lab.cluster, four, [{ hostIp: NODE[0] }]);
    expect(seen(lab, "host", ONE.nodeIp)).toBe(`web saw ${HOST_IP6}`);
    expect(seen(lab, "host", NODE[0])).toBe(`four saw ${HOST_IP}`);
    lab.cluster.node(1).hostPorts.delete("web");
    expect(seen(lab, "host", ONE.nodeIp)).toBe("refused");
    expect(seen(lab, "host", NODE[0])).toBe(`four saw ${HOST_IP}`);
  });
});

describe("host ports", () => {
  it("validates that there is no conflict between pods with same hostPort but different hostIP and protocol", () => {
    const lab = setUp({ hostIp: "127.0.0.1" });
    const [local, udp] = [lab.cluster.addPod("local", 1), lab.cluster.addPod("udp", 1)];
    for (const pod of [local, udp]) serveEcho(pod);
    lead(lab.cluster, local, [{ hostIp: NODE[0] }]);
    lead(lab.cluster, udp, [{ hostIp: NODE[0], protocol: "UDP" }]);
    expect(seen(lab, "node-1", "127.0.0.1")).toBe("web saw 172.16.1.1");
    expect(seen(lab, "node-1", NODE[0])).toBe(`local saw ${NODE[0]}`);
    expect(seen(lab, "node-1", NODE[0], "UDP")).toBe(`udp saw ${NODE[0]}`);
    expect(seen(lab, "host", NODE[0])).toBe(`local saw ${HOST_IP}`);
    expect(seen(lab, "neighbour", "172.16.1.1")).toBe("refused");
  });

  it("stand behind node ports", () => {
    const lab = setUp({ hostPort: 30080 });
    const backend = lab.cluster.addPod("backend", 2);
    serveEcho(backend);
    lab.cluster.expose("web", VIP, [backend], { port: 80, targetPort: 8080, nodePort: 30080 });
    expect(ask(lab.cluster, lab.cluster.host, NODE[0], 30080, "TCP").pod).toBe("backend");
    expect(ask(lab.cluster, lab.stations["node-1"]!, "127.0.0.1", 30080, "TCP")).toMatchObject({
      pod: "backend",
      seenAs: "172.16.1.0",
    });
    lab.cluster.expose("web", VIP, [], { port: 80, targetPort: 8080, nodePort: 30080 });
    for (const [from, dst] of [
      ["host", NODE[0]],
      ["node-1", "127.0.0.1"],
    ] as const)
      expect(ask(lab.cluster, lab.stations[from]!, dst, 30080, "TCP").outcome).toBe("refused");
  });

  it("lead to the pod that came last, and to the one before when it goes", () => {
    const lab = setUp({});
    const later = lab.cluster.addPod("later", 1);
    serveEcho(later);
    lead(lab.cluster, later, [{}]);
    expect(seen(lab, "host", NODE[0])).toBe(`later saw ${HOST_IP}`);
    lab.cluster.node(1).hostPorts.delete("later");
    expect(seen(lab, "host", NODE[0])).toBe(`web saw ${HOST_IP}`);
    lab.cluster.node(1).hostPorts.delete("web");
    expect(seen(lab, "host", NODE[0])).toBe("refused");
  });

  it("forget the UDP flows of a pod that is gone", () => {
    const lab = setUp({ protocol: "UDP" });
    const { cluster } = lab;
    const send = (): string => {
      const before = cluster.host.datagrams.length;
      cluster.host.sendUdp(NODE[0], 80, text("x"), { sport: 5000 });
      cluster.run(500);
      return cluster.host.datagrams.slice(before).map(({ payload }) => asText(payload))[0] ?? "nothing";
    };
    expect(send()).toMatch(/^pod=web /);
    cluster.node(1).hostPorts.delete("web");
    expect(send()).toBe("nothing");
    const next = cluster.addPod("next", 1);
    serveEcho(next);
    lead(cluster, next, [{ protocol: "UDP" }]);
    expect(send()).toMatch(/^pod=next /);
  });

  it("are of no use to who claims loopback's address from elsewhere", () => {
    const lab = setUp({ hostIp: "127.0.0.1" });
    lab.stations.neighbour!.sendUdp("127.0.0.1", 80, text("x"));
    lab.stations["node-1"]!.ping(lab.stations.web!.ip, 1, 56, { src: "127.0.0.1" });
    lab.cluster.run(1000);
    expect(lab.stations.web!.received).toEqual([]);
    expect(lab.cluster.node(1).datapath.status().counters["drop:martian"]).toBe(2);
  });
});
