/** NetworkPolicies where IPv6 has something of its own: neighbours, link-local addresses, groups. And the node's own way in. */
import { describe, expect, it } from "vitest";
import { ask } from "./ask.js";
import { Cluster, HOST_IP6, networks6Of } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { ethernet, IPV6_TYPE, macBytes } from "./ethernet.js";
import { encodePacket, encodeUdp, text, UDP } from "./packet.js";
import type { Station } from "./station.js";

const { bridgeIp } = networks6Of(1);
const DENY_ALL = { policyTypes: ["Ingress", "Egress"], ingress: [], egress: [] };
const ALL_NODES = "ff02::1";
/** Of a pod's frames to the group. */
const ALL_NODES_MAC = "33:33:00:00:00:01";
const PORT = 8080;

interface Set {
  readonly cluster: Cluster;
  readonly red: Station;
  readonly blue: Station;
}

/** Two pods on one node. */
function setUp(): Set {
  const cluster = new Cluster({ dualStack: true });
  const [red, blue] = ["red", "blue"].map((team) => cluster.addPod(team, 1, { labels: { team } }));
  for (const pod of [red!, blue!]) serveEcho(pod);
  return { cluster, red: red!, blue: blue! };
}

const outcome = ({ cluster, red, blue }: Set, dst = blue.ip6) => ask(cluster, red, dst, PORT, "UDP").outcome;

/** Sends a datagram to all on the link, and says who got it. */
function tellAll({ cluster, red, blue }: Set): string[] {
  const route = red.routes.find(({ prefix }) => prefix === "fe80::/10")!;
  const datagram = encodeUdp(red.linkLocal, ALL_NODES, { sport: 9, dport: PORT, payload: text("all") });
  const head = { src: red.linkLocal, dst: ALL_NODES, ttl: 1, id: 0, df: true, mf: false, fragmentOffset: 0 };
  const packet = encodePacket({ ...head, protocol: UDP, body: datagram });
  const got: string[] = [];
  const node = cluster.nodeOf(blue);
  for (const port of node.ports.values()) {
    const { name, deliver } = port;
    const heard = (...frame: Parameters<typeof deliver>) => {
      if (frame[0].slice(0, 6).every((byte, i) => byte === macBytes(ALL_NODES_MAC)[i])) got.push(name);
      else deliver(...frame);
    };
    node.ports.set(port.id, { ...port, deliver: heard });
  }
  route.via.transmit(ethernet(ALL_NODES_MAC, route.via.mac, IPV6_TYPE, packet));
  cluster.run();
  return got;
}

describe("policies over IPv6", () => {
  it("never hinder neighbour discovery", () => {
    const set = setUp();
    set.cluster.applyPolicy("default/none", DENY_ALL);
    expect(outcome(set)).toBe("silence");
    // The question was answered across the bridge, and the packet itself was denied.
    const { counters } = set.cluster.node(1).datapath.status();
    expect(counters["drop:policy-denied"]).toBe(1);
    expect(counters["forward:bridged"]).toBeGreaterThan(0);
    set.cluster.deletePolicy("default/none");
    expect(outcome(set)).toBe("answered");
  });

  it("judge pods by their link-local addresses as by their own", () => {
    const set = setUp();
    expect(outcome(set, set.blue.linkLocal)).toBe("answered");
    const podSelector = { matchLabels: { team: "blue" } };
    const from = (team: string) => [{ podSelector: { matchLabels: { team } } }];
    set.cluster.applyPolicy("default/one", { podSelector, ingress: [{ from: from("green") }] });
    expect([outcome(set, set.blue.linkLocal), outcome(set)]).toEqual(["silence", "silence"]);
    set.cluster.applyPolicy("default/one", { podSelector, ingress: [{ from: from("red") }] });
    expect([outcome(set, set.blue.linkLocal), outcome(set)]).toEqual(["answered", "answered"]);
    const egress = [{ to: [{ ipBlock: { cidr: "fe80::/10" } }] }];
    set.cluster.applyPolicy("default/two", { policyTypes: ["Egress"], egress });
    // A link-local address is the pod's, not a block's.
    expect(outcome(set, set.blue.linkLocal)).toBe("silence");
  });

  it("judge what is sent to all for each that would hear it", () => {
    const set = setUp();
    expect(tellAll(set)).toEqual(["default/blue"]);
    set.cluster.applyPolicy("default/one", { podSelector: { matchLabels: { team: "blue" } }, ingress: [] });
    expect(tellAll(set)).toEqual([]);
    set.cluster.addPod("green", 1);
    expect(tellAll(set)).toEqual(["default/green"]);
    set.cluster.applyPolicy("default/two", {
      podSelector: { matchLabels: { team: "red" } },
      egress: [],
      policyTypes: ["Egress"],
    });
    expect(tellAll(set)).toEqual([]);
  });

  it("let the node through, which asks with the bridge's address, and the machine by a pod's own address", () => {
    const { cluster, red, blue } = setUp();
    const node = cluster.addNodeStack(1);
    cluster.expose("web", networks6Of(1).serviceNetwork.replace("/112", "a"), [blue], {
      port: 80,
      targetPort: PORT,
    });
    cluster.applyPolicy("default/none", DENY_ALL);
    for (const protocol of ["TCP", "UDP"] as const) {
      expect(ask(cluster, node, blue.ip6, PORT, protocol)).toMatchObject({ pod: "blue", seenAs: bridgeIp });
      expect(ask(cluster, cluster.host, blue.ip6, PORT, protocol)).toMatchObject({
        pod: "blue",
        seenAs: HOST_IP6,
      });
    }
    expect(ask(cluster, red, bridgeIp, 0, "ICMP").outcome).toBe("answered");
    expect(ask(cluster, cluster.host, "fd00:10:96::a", 80, "TCP").outcome).toBe("silence");
  });
});
