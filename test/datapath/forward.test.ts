import { describe, expect, it } from "vitest";
import { TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";

const { syn, ack, rst } = TcpFlag;

describe("forwarding", () => {
  it("routes from a pod to a pod of another node and takes a hop off the TTL", () => {
    const node = new h.Harness();
    const packet = h.udp({
      src: h.POD_A,
      dst: h.REMOTE_POD,
      sport: 1000,
      dport: 53,
      payload: Uint8Array.of(1, 2, 3),
    });
    const sent = h.only(node.inject(h.Id.podA, packet));
    expect(sent).toMatchObject({ port: h.Id.overlay, peer: h.PEER_2 });
    expect(sent.packet).toMatchObject({
      src: "172.16.1.2",
      dst: "172.16.2.9",
      ttl: 63,
      sport: 1000,
      dport: 53,
    });
    expect([...sent.packet.payload]).toEqual([1, 2, 3]);
    expect(node.count("forward")).toBe(1);
  });

  it("delivers from the overlay to a pod with the pod's and the bridge's MAC", () => {
    const node = new h.Harness();
    const packet = h.udp({ src: h.REMOTE_POD, dst: h.POD_B, sport: 53, dport: 1000 });
    const sent = h.only(node.inject(h.Id.overlay, packet, { peer: h.PEER_2 }));
    expect(sent.port).toBe(h.Id.podB);
    expect([...sent.frame.slice(0, 12)]).toEqual([...h.MAC_B, ...h.BRIDGE_MAC]);
    expect(sent.packet.ttl).toBe(63);
  });

  it("leaves Ethernet padding behind", () => {
    const node = new h.Harness();
    const packet = h.udp({ src: h.POD_A, dst: h.REMOTE_POD, sport: 1, dport: 2 });
    const padded = new Uint8Array(46);
    padded.set(packet);
    expect(h.only(node.inject(h.Id.podA, padded)).frame.length).toBe(packet.length);
  });

  it("answers an expired TTL from the address towards the sender", () => {
    const node = new h.Harness();
    node.learnHost();
    const cases = [
      { port: h.Id.podA, src: h.POD_A, dst: h.REMOTE_POD, from: "172.16.1.1", peer: 0 },
      { port: h.Id.overlay, src: h.REMOTE_POD, dst: h.POD_A, from: "172.16.1.0", peer: h.PEER_2 },
      { port: h.Id.nodenet, src: h.NODE_2, dst: h.POD_A, from: "10.0.0.1", peer: h.PEER_2 },
      { port: h.Id.host, src: h.HOST, dst: h.POD_A, from: "10.0.0.1", peer: 0 },
    ];
    for (const { port, src, dst, from, peer } of cases) {
      const sent = h.only(node.inject(port, h.udp({ src, dst, sport: 7, dport: 9, ttl: 1 }), { peer }));
      expect(sent).toMatchObject({ port, peer });
      expect(sent.packet).toMatchObject({ src: from, icmpType: 11, icmpCode: 0, ttl: 64 });
      expect(sent.packet.quoted).toMatchObject({ sport: 7, dport: 9, ttl: 1 });
    }
    expect(node.count("drop:ttl-exceeded")).toBe(4);
    expect(node.datapath.conntrack.count).toBe(0);
  });

  it("says host unreachable for a pod that does not exist, network unreachable without a route", () => {
    const node = new h.Harness();
    const ask = (dst: string) =>
      h.only(node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.ip(dst), sport: 1, dport: 2 })));
    expect(ask("172.16.1.77").packet).toMatchObject({ icmpType: 3, icmpCode: 1, src: "172.16.1.1" });
    // In the pod network but leased by nobody: never out by the default route.
    expect(ask("172.16.9.9").packet).toMatchObject({ icmpType: 3, icmpCode: 0 });
    expect(ask("10.254.7.7").packet).toMatchObject({ icmpType: 3, icmpCode: 1 });
    expect(node.datapath.counters.export()).toMatchObject({
      "drop:host-unreachable": 1,
      "drop:no-route": 1,
      "reject:unknown-service": 1,
    });
  });

  it("does not send the machine back what came from it", () => {
    const node = new h.Harness();
    node.learnHost();
    const sent = h.only(
      node.inject(h.Id.host, h.udp({ src: h.HOST, dst: h.ip("203.0.113.9"), sport: 1, dport: 2 })),
    );
    expect(sent.packet).toMatchObject({ icmpType: 3, icmpCode: 0, dst: "10.0.0.254" });
  });

  it("never answers an ICMP error, a later fragment or a broadcast with an error", () => {
    const node = new h.Harness();
    const unreachable = h.only(
      node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.ip("172.16.1.77"), sport: 1, dport: 2 })),
    );
    const error = unreachable.frame.slice(h.ETHERNET);
    // The same error as if the pod had sent it on: conntrack knows nothing of it.
    expect(node.inject(h.Id.overlay, error, { peer: h.PEER_2 })).toEqual([]);
    expect(
      node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.ip("172.16.1.255"), sport: 1, dport: 2 })),
    ).toEqual([]);
    expect(
      node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.ip("224.0.0.251"), sport: 1, dport: 2 })),
    ).toEqual([]);
    const expired = h.udp({ src: h.HOST, dst: h.POD_A, sport: 1, dport: 2, ttl: 1 });
    node.learnHost();
    expect(node.inject(h.Id.host, expired, { to: h.mac("ff:ff:ff:ff:ff:ff") })).toEqual([]);
    expect(node.count("drop:multicast")).toBe(2);
  });

  it("limits ICMP errors to a burst of 50 and 1000 a second", () => {
    const node = new h.Harness();
    const fail = () =>
      node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.ip("172.16.1.77"), sport: 1, dport: 2 })).length;
    let answered = 0;
    for (let i = 0; i < 80; i++) answered += fail();
    expect(answered).toBe(50);
    expect(node.count("drop:icmp-rate-limited")).toBe(30);
    node.nowMs += 5;
    for (let i = 0; i < 80; i++) answered += fail();
    expect(answered).toBe(55);
  });
});

describe("the node itself", () => {
  it("answers echo requests to each of its addresses", () => {
    const node = new h.Harness();
    for (const dst of ["172.16.1.1", "172.16.1.0", "10.0.0.1"]) {
      const request = h.echo({
        src: h.POD_A,
        dst: h.ip(dst),
        icmpId: 7,
        icmpSeq: 3,
        payload: Uint8Array.of(9, 8, 7),
      });
      const sent = h.only(node.inject(h.Id.podA, request));
      expect(sent.port).toBe(h.Id.podA);
      expect(sent.packet).toMatchObject({
        src: dst,
        dst: "172.16.1.2",
        icmpType: 0,
        icmpId: 7,
        icmpSeq: 3,
        ttl: 64,
      });
      expect([...sent.packet.payload]).toEqual([9, 8, 7]);
    }
    const [record] = node.datapath.conntrackRecords();
    expect(record).toMatchObject({ protocol: 1, unreplied: false, originalPackets: 1, replyPackets: 1 });
  });

  it("resets TCP and refuses UDP and unknown protocols", () => {
    const node = new h.Harness();
    const to = { src: h.POD_A, dst: ADDRESS, sport: 4000, dport: 22 };
    const reset = h.only(node.inject(h.Id.podA, h.tcp({ ...to, flags: syn, seq: 100 })));
    expect(reset.packet).toMatchObject({
      src: "172.16.1.1",
      sport: 22,
      dport: 4000,
      flags: rst | ack,
      ack: 101,
      seq: 0,
    });
    const refused = h.only(node.inject(h.Id.podA, h.udp(to)));
    expect(refused.packet).toMatchObject({ icmpType: 3, icmpCode: 3 });
    const other = h.udp(to);
    other[9] = 99;
    other[11] -= 99 - 17;
    expect(h.only(node.inject(h.Id.podA, other)).packet).toMatchObject({ icmpType: 3, icmpCode: 2 });
    expect(node.inject(h.Id.podA, h.tcp({ ...to, flags: rst | ack, seq: 1, sport: 4001 }))).toEqual([]);
    expect(node.datapath.conntrack.count).toBe(0);
  });
});

const ADDRESS = h.ip("172.16.1.1");

describe("spoofed and martian packets", () => {
  const udp = (src: string, dst = "172.16.2.9") =>
    h.udp({ src: h.ip(src), dst: h.ip(dst), sport: 1, dport: 2 });

  it.each([
    ["a pod with another pod's address", h.Id.podA, udp("172.16.1.3"), 0, "drop:invalid-source-ip"],
    ["a pod with an outside address", h.Id.podA, udp("203.0.113.1"), 0, "drop:invalid-source-ip"],
    [
      "the machine with a pod's address",
      h.Id.host,
      udp("172.16.2.9", "172.16.1.2"),
      0,
      "drop:invalid-source-ip",
    ],
    ["the machine with the node's address", h.Id.host, udp("10.0.0.1", "172.16.1.2"), 0, "drop:martian"],
    ["the machine with a loopback address", h.Id.host, udp("127.0.0.1", "172.16.1.2"), 0, "drop:martian"],
    [
      "a peer with an address of another subnet",
      h.Id.overlay,
      udp("172.16.3.9", "172.16.1.2"),
      h.PEER_2,
      "drop:invalid-source-ip",
    ],
    [
      "a peer with an address of this node",
      h.Id.overlay,
      udp("172.16.1.3", "172.16.1.2"),
      h.PEER_2,
      "drop:invalid-source-ip",
    ],
    [
      "a peer with the machine's address",
      h.Id.overlay,
      udp("10.0.0.254", "172.16.1.2"),
      h.PEER_2,
      "drop:invalid-source-ip",
    ],
    [
      "a stranger on the overlay",
      h.Id.overlay,
      udp("172.16.2.9", "172.16.1.2"),
      h.ip("198.51.100.1"),
      "drop:unknown-peer",
    ],
    [
      "a node with another node's address",
      h.Id.nodenet,
      udp("10.0.0.3", "10.0.0.1"),
      h.PEER_2,
      "drop:invalid-source-ip",
    ],
    ["a multicast source", h.Id.overlay, udp("224.0.0.1", "172.16.1.2"), h.PEER_2, "drop:martian"],
    ["a broadcast source", h.Id.overlay, udp("255.255.255.255", "172.16.1.2"), h.PEER_2, "drop:martian"],
    ["a source in 0/8", h.Id.overlay, udp("0.0.0.0", "172.16.1.2"), h.PEER_2, "drop:martian"],
    ["a loopback destination", h.Id.podA, udp("172.16.1.2", "127.0.0.1"), 0, "drop:martian"],
  ])("drops %s", (_, port, packet, peer, counter) => {
    const node = new h.Harness();
    expect(node.inject(port, packet, { peer })).toEqual([]);
    expect(node.datapath.counters.export()).toEqual({ [counter]: 1 });
  });

  it("drops a pod's frame with another MAC", () => {
    const node = new h.Harness();
    expect(node.inject(h.Id.podA, udp("172.16.1.2"), { from: h.MAC_B })).toEqual([]);
    expect(node.count("drop:invalid-source-mac")).toBe(1);
  });

  it("drops frames for other stations, unknown EtherTypes, unknown ports and short frames", () => {
    const node = new h.Harness();
    expect(node.inject(h.Id.host, udp("10.0.0.254"), { to: h.MAC_A })).toEqual([]);
    const ipv6 = new Uint8Array(60);
    ipv6.set(h.BRIDGE_MAC);
    ipv6.set(h.MAC_A, 6);
    ipv6.set([0x86, 0xdd], 12);
    expect(node.raw(h.Id.podA, ipv6)).toEqual([]);
    expect(node.raw(77, ipv6)).toEqual([]);
    expect(node.raw(h.Id.podA, ipv6.slice(0, 13))).toEqual([]);
    expect(node.datapath.counters.export()).toEqual({
      "drop:invalid-destination-mac": 1,
      "drop:unsupported-l3-protocol": 1,
      "drop:unknown-port": 1,
      "drop:malformed": 1,
    });
  });
});
