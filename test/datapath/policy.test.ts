import { describe, expect, it } from "vitest";
import type { PolicyDecision, PolicyQuery, PolicyResolver } from "../../src/datapath/index.js";
import { formatIpv4, TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";

const { syn, ack } = TcpFlag;
const DENIED = "drop:policy-denied";

/** Denies what a test names, and keeps the questions: `6 172.16.1.2>172.16.2.9:80`. */
class TablePolicies implements PolicyResolver {
  active = true;
  generation = 1;
  readonly asked: string[] = [];
  denied: string[] = [];

  allows({ protocol, src, dst, dport }: PolicyQuery, out: PolicyDecision): boolean {
    const question = `${protocol} ${formatIpv4(src)}>${formatIpv4(dst)}:${dport}`;
    this.asked.push(question);
    out.isolation = "ingress:x/deny";
    return !this.denied.some((text) => question.includes(text));
  }
}

function setUp(options: h.HarnessOptions = {}) {
  const policies = new TablePolicies();
  const node = new h.Harness({ policies, ...options });
  node.learnHost();
  return { policies, node };
}

/** A segment of the connection 172.16.1.2:1000 > 172.16.2.9:80, from either end. */
function segment(flags: number, back = false): Uint8Array {
  const there = { src: h.POD_A, dst: h.REMOTE_POD, sport: 1000, dport: 80 };
  return h.tcp({
    ...(back ? { src: there.dst, dst: there.src, sport: there.dport, dport: there.sport } : there),
    flags,
  });
}

describe("network policies", () => {
  it("are asked about the first packet of a connection, and again about an entry's next", () => {
    const { node, policies } = setUp();
    node.inject(h.Id.podA, segment(syn));
    node.inject(h.Id.overlay, segment(syn | ack, true), { peer: h.PEER_2 });
    for (let i = 0; i < 5; i++) {
      node.inject(h.Id.podA, segment(ack));
      node.inject(h.Id.overlay, segment(ack, true), { peer: h.PEER_2 });
    }
    expect(policies.asked).toEqual(Array(2).fill("6 172.16.1.2>172.16.2.9:80"));
    expect(node.count("forward")).toBe(12);
  });

  it("are not asked while no pod is isolated", () => {
    const { node, policies } = setUp();
    policies.active = false;
    policies.denied = [">"];
    node.inject(h.Id.podA, segment(syn));
    expect(policies.asked).toEqual([]);
    expect(node.count("forward")).toBe(1);
  });

  it("a denied connection is dropped without an answer, leaves no entry, and is traced with what isolates", () => {
    const { node, policies } = setUp();
    policies.denied = ["172.16.2.9:80"];
    node.trace.enabled = true;
    expect(node.inject(h.Id.podA, segment(syn))).toEqual([]);
    expect(node.count(DENIED)).toBe(1);
    expect(node.datapath.conntrack.count).toBe(0);
    expect(node.trace.seen[0]).toMatchObject({
      verdict: "drop",
      reason: "policy-denied",
      policy: "ingress:x/deny",
      ctState: "NEW",
    });
    expect(node.trace.seen[0]?.stages.at(-1)).toEqual({
      hook: "forward",
      verdict: "drop",
      reason: "policy-denied",
    });
  });

  it("change for connections that are open, in both directions, and back", () => {
    const { node, policies } = setUp();
    node.inject(h.Id.podA, segment(syn));
    node.inject(h.Id.overlay, segment(syn | ack, true), { peer: h.PEER_2 });
    node.inject(h.Id.podA, segment(ack));
    policies.denied = ["172.16.1.2>172.16.2.9:80"];
    // As long as the generation says that nothing has changed, nobody asks.
    expect(node.inject(h.Id.podA, segment(ack))).toHaveLength(1);
    policies.generation++;
    expect(node.inject(h.Id.podA, segment(ack))).toEqual([]);
    expect(node.inject(h.Id.overlay, segment(ack, true), { peer: h.PEER_2 })).toEqual([]);
    expect(node.count(DENIED)).toBe(2);
    policies.denied = [];
    policies.generation++;
    expect(node.inject(h.Id.overlay, segment(ack, true), { peer: h.PEER_2 })).toHaveLength(1);
    expect(node.inject(h.Id.podA, segment(ack))).toHaveLength(1);
    expect(node.datapath.conntrackRecords()).toHaveLength(1);
  });

  it("see the server behind the Service, and the client before it is masqueraded, in both directions", () => {
    const { node, policies } = setUp();
    const endpoint = { ip: h.POD_B, port: 8080, masquerade: true, service: "x/web", endpoint: "x/b" };
    node.services.put(6, h.NODE, 30080, endpoint);
    const question = "6 10.0.0.254>172.16.1.3:8080";
    node.inject(h.Id.host, h.tcp({ src: h.HOST, dst: h.NODE, sport: 5000, dport: 30080, flags: syn }));
    const answer = h.tcp({
      src: h.POD_B,
      dst: h.ADDRESSES.bridgeIp,
      sport: 8080,
      dport: 5000,
      flags: syn | ack,
    });
    policies.generation++;
    node.inject(h.Id.podB, answer);
    expect(policies.asked).toEqual([question, question]);
    expect(node.count("forward")).toBe(2);
  });

  it("let a pod's own node through, and the machine that asks a pod by its own address as the kubelet does", () => {
    const { node, policies } = setUp();
    policies.denied = [">"];
    const datagram = (src: number, dst: number) => h.udp({ src, dst, sport: 9, dport: 53 });
    node.inject(h.Id.host, datagram(h.HOST, h.POD_A));
    policies.generation++;
    node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.HOST, sport: 53, dport: 9 }));
    node.inject(h.Id.podA, h.echo({ src: h.POD_A, dst: h.ADDRESSES.bridgeIp, icmpId: 1, icmpSeq: 1 }));
    expect(node.count(DENIED)).toBe(0);
    // The ARP request by which the node knows the machine, and the echo request.
    expect(node.count("deliver")).toBe(2);
    // Another node is not the pod's own, and a connection to the machine is one to the outside.
    node.inject(h.Id.nodenet, datagram(h.NODE_2, h.POD_A), { peer: h.PEER_2 });
    node.inject(h.Id.podB, datagram(h.POD_B, h.HOST));
    expect(node.count(DENIED)).toBe(2);
  });

  it("hold between pods of one node, unless their bridge keeps its frames from netfilter", () => {
    for (const bridgeNetfilter of [true, false]) {
      const { node, policies } = setUp({ bridgeNetfilter });
      policies.denied = [">"];
      const datagram = h.udp({ src: h.POD_A, dst: h.POD_B, sport: 9, dport: 53 });
      const sent = node.inject(h.Id.podA, datagram, { to: h.MAC_B });
      expect(sent).toHaveLength(bridgeNetfilter ? 0 : 1);
    }
  });

  it("hold for broadcasts: each pod is judged that the frame would reach", () => {
    const { node, policies } = setUp();
    policies.denied = ["172.16.1.3:53"];
    const broadcast = h.mac("ff:ff:ff:ff:ff:ff");
    for (const dst of ["172.16.1.3", "172.16.1.255", "255.255.255.255"]) {
      const datagram = h.udp({ src: h.POD_A, dst: h.ip(dst), sport: 9, dport: 53 });
      expect(node.inject(h.Id.podA, datagram, { to: broadcast })).toEqual([]);
      expect(node.inject(h.Id.podA, datagram, { to: h.MAC_B })).toEqual([]);
    }
    expect(new Set(policies.asked)).toEqual(new Set(["17 172.16.1.2>172.16.1.3:53"]));
    policies.denied = [];
    const datagram = h.udp({ src: h.POD_A, dst: h.ip("172.16.1.255"), sport: 9, dport: 53 });
    expect(node.inject(h.Id.podA, datagram, { to: broadcast })).toHaveLength(1);
  });

  it("leave ICMP errors to the connection they are about", () => {
    const { node, policies } = setUp();
    node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.REMOTE_POD, sport: 9, dport: 53 }));
    policies.denied = ["1 "];
    policies.generation++;
    const back = node.inject(
      h.Id.podA,
      h.udp({ src: h.POD_A, dst: h.REMOTE_POD, sport: 9, dport: 53, ttl: 1 }),
    );
    expect(h.only(back).packet).toMatchObject({ icmpType: 11 });
    node.inject(h.Id.podA, h.echo({ src: h.POD_A, dst: h.REMOTE_POD, icmpId: 1, icmpSeq: 1 }));
    expect(node.count(DENIED)).toBe(1);
    expect(policies.asked.at(-1)).toMatch(/^1 172.16.1.2>172.16.2.9:/);
  });

  it("an entry that another connection had before is not taken for allowed", () => {
    const { node, policies } = setUp({ conntrackMax: 1 });
    const datagram = (sport: number) => h.udp({ src: h.POD_A, dst: h.REMOTE_POD, sport, dport: 53 });
    node.inject(h.Id.podA, datagram(1));
    node.inject(h.Id.podA, datagram(1));
    node.datapath.deleteConntrack({});
    policies.generation++;
    node.inject(h.Id.podA, datagram(2));
    policies.denied = [">"];
    policies.generation++;
    expect(node.inject(h.Id.podA, datagram(2))).toEqual([]);
    expect(node.count(DENIED)).toBe(1);
  });
});
