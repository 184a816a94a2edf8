/** One node's IPv6: the same ways as IPv4's, with what IPv6 does differently. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AddressBook, ServiceAction } from "../../../src/datapath/index.js";
import { IpProtocol, Ipv6Next, setU16, TcpFlag, writeIpv6Fragment } from "../../../src/wire/index.js";
import * as h from "../harness.js";
import * as v6 from "./harness6.js";

const { Id } = h;
const syn = (src: bigint, dst: bigint, sport = 40000, dport = 80) =>
  v6.tcp6({ src, dst, sport, dport, flags: TcpFlag.syn });

/** A node that knows the machine's MAC already. */
function node(options: ConstructorParameters<typeof v6.Harness6>[0] = {}): v6.Harness6 {
  const harness = new v6.Harness6(options);
  harness.learnHost();
  return harness;
}

describe("forwarding", () => {
  it("pods of one node reach each other across the bridge, hop limit and MACs as they are", () => {
    const sent = v6.only6(node().inject(Id.podA, syn(v6.POD_A, v6.POD_B), { to: h.MAC_B }));
    expect(sent).toMatchObject({ port: Id.podB, packet: { src: "fd00:10:244:1::2", hopLimit: 64 } });
    expect(sent.frame.slice(0, 12)).toEqual(Uint8Array.from([...h.MAC_B, ...h.MAC_A]));
  });

  it("a pod of another node is reached over the overlay, one hop less, as a bare packet", () => {
    const sent = v6.only6(node().inject(Id.podA, syn(v6.POD_A, v6.REMOTE_POD)));
    expect(sent).toMatchObject({ port: Id.overlay, peer: h.PEER_2, packet: { hopLimit: 63, dport: 80 } });
  });

  it("and answers to the pod's own MAC", () => {
    const harness = node();
    harness.inject(Id.podA, syn(v6.POD_A, v6.REMOTE_POD));
    const answer = v6.tcp6({ src: v6.REMOTE_POD, dst: v6.POD_A, sport: 80, dport: 40000, flags: 0x12 });
    const sent = v6.only6(harness.inject(Id.overlay, answer, { peer: h.PEER_2 }));
    expect(sent).toMatchObject({ port: Id.podA, packet: { sport: 80, hopLimit: 63 } });
    expect(sent.frame.slice(0, 12)).toEqual(Uint8Array.from([...h.MAC_A, ...h.BRIDGE_MAC]));
    expect(harness.datapath.conntrackRecords()).toMatchObject([
      { original: { src: "fd00:10:244:1::2", dst: "fd00:10:244:2::9" }, state: "SYN_RECV" },
    ]);
  });

  it("pods reach the outside with the node's address, and get the answer", () => {
    const harness = node();
    const out = v6.only6(harness.inject(Id.podA, syn(v6.POD_A, v6.OUTSIDE)));
    expect(out).toMatchObject({ port: Id.host, packet: { src: "fd00:10::11", dst: "2001:db8::1" } });
    const { sport } = out.packet;
    const back = v6.tcp6({ src: v6.OUTSIDE, dst: v6.NODE, sport: 80, dport: sport, flags: 0x12 });
    expect(v6.only6(harness.inject(Id.host, back))).toMatchObject({
      port: Id.podA,
      packet: { src: "2001:db8::1", dst: "fd00:10:244:1::2", dport: 40000 },
    });
  });

  it("IPv4 goes on beside it, in the same connection table", () => {
    const harness = node();
    harness.inject(Id.podA, syn(v6.POD_A, v6.REMOTE_POD));
    expect(harness.datapath.conntrack.count).toBe(1);
    harness.datapath.routes.put({ prefix: h.prefix("172.16.2.0/24"), port: Id.overlay, nextHop: h.PEER_2 });
    const packet = h.tcp({ src: h.POD_A, dst: h.REMOTE_POD, sport: 1, dport: 2, flags: TcpFlag.syn });
    const frame = Uint8Array.from([...h.BRIDGE_MAC, ...h.MAC_A, 8, 0, ...packet]);
    expect(() => harness.frame(Id.podA, frame)).toThrow("version");
    expect(harness.datapath.conntrack.count).toBe(2);
  });

  it("no IPv4 packet passes for an address' handle", () => {
    const harness = node();
    harness.service(6, v6.VIP, 80, v6.POD_B, { port: 8080 });
    const handle = harness.book.pin(v6.POD_B);
    const packet = h.tcp({ src: h.POD_A, dst: handle, sport: 1, dport: 2, flags: TcpFlag.syn });
    harness.frame(Id.podA, Uint8Array.from([...h.BRIDGE_MAC, ...h.MAC_A, 8, 0, ...packet]));
    expect(harness.count("drop:martian")).toBe(1);
  });

  it("a node without IPv6 knows no such frames", () => {
    const harness = new h.Harness();
    const frame = Uint8Array.from([...h.BRIDGE_MAC, ...h.MAC_A, 0x86, 0xdd, ...syn(v6.POD_A, v6.POD_B)]);
    expect(harness.raw(Id.podA, frame)).toEqual([]);
    expect(harness.count("drop:unsupported-l3-protocol")).toBe(1);
  });
});

describe("who may send what", () => {
  it.each([
    ["another pod's address", v6.POD_B, v6.REMOTE_POD, "drop:invalid-source-ip"],
    ["the gateway's", v6.GATEWAY, v6.REMOTE_POD, "drop:invalid-source-ip"],
    ["nobody's", 0n, v6.REMOTE_POD, "drop:martian"],
    ["the loopback address", 1n, v6.REMOTE_POD, "drop:invalid-source-ip"],
    ["a link-local address that its MAC does not make", v6.LINK_B, v6.GATEWAY, "drop:invalid-source-ip"],
    ["its link-local address beyond the link", v6.LINK_A, v6.REMOTE_POD, "drop:martian"],
    ["its own, to an IPv4-mapped one", v6.POD_A, v6.ip6("::ffff:10.0.0.1"), "drop:martian"],
    ["its own, to a link-local one through the router", v6.POD_A, v6.LINK_B, "drop:martian"],
  ])("a pod, as %s: not", (_, src, dst, counter) => {
    const harness = node();
    expect(harness.inject(Id.podA, syn(src, dst))).toEqual([]);
    expect(harness.count(counter)).toBe(1);
    expect(harness.datapath.conntrack.count).toBe(0);
  });

  it.each([
    [
      "a source outside its subnet",
      Id.overlay,
      v6.ip6("fd00:10:244:3::1"),
      h.PEER_2,
      "drop:invalid-source-ip",
    ],
    ["a stranger", Id.overlay, v6.REMOTE_POD, h.ip("192.0.2.9"), "drop:unknown-peer"],
    ["a link-local source", Id.overlay, v6.LINK_A, h.PEER_2, "drop:martian"],
    ["the machine as a pod", Id.host, v6.REMOTE_POD, 0, "drop:invalid-source-ip"],
  ])("%s is dropped", (_, port, src, peer, counter) => {
    const harness = node();
    expect(harness.inject(port, syn(src, v6.POD_A), { peer })).toEqual([]);
    expect(harness.count(counter)).toBe(1);
  });
});

describe("neighbour discovery", () => {
  it("the node answers for the gateway and its link-local address", () => {
    for (const target of [v6.GATEWAY, v6.ip6("fe80::42:acff:fe10:101")]) {
      const sent = v6.only6(node().frame(Id.podA, v6.solicit(h.MAC_A, v6.POD_A, target)));
      expect(sent).toMatchObject({
        port: Id.podA,
        packet: { dst: "fd00:10:244:1::2", icmpType: 136, hopLimit: 255, icmpRest: 0xe0000000 },
      });
      expect(sent.frame.slice(0, 12)).toEqual(Uint8Array.from([...h.MAC_A, ...h.BRIDGE_MAC]));
      expect(sent.packet.payload.slice(-6)).toEqual(h.BRIDGE_MAC);
    }
  });

  it("between pods it crosses the bridge", () => {
    const harness = node();
    expect(v6.only6(harness.frame(Id.podA, v6.solicit(h.MAC_A, v6.POD_A, v6.POD_B)))).toMatchObject({
      port: Id.podB,
      packet: { icmpType: 135 },
    });
    const answer = v6.advertise(h.MAC_B, v6.POD_B, v6.POD_A, v6.POD_B);
    answer.set(h.MAC_A, 0);
    expect(v6.only6(harness.frame(Id.podB, answer))).toMatchObject({
      port: Id.podA,
      packet: { icmpType: 136 },
    });
  });

  it("a pod's duplicate address detection is flooded; of the gateway's address it fails", () => {
    const harness = node();
    const detect = (target: bigint) => {
      const frame = v6.solicit(h.MAC_A, v6.POD_A, target).slice(0, h.ETHERNET + 64);
      frame.fill(0, h.ETHERNET + 8, h.ETHERNET + 24);
      setU16(frame, h.ETHERNET + 4, 24);
      setU16(frame, h.ETHERNET + 42, 0);
      const l4 = frame.slice(h.ETHERNET + 40);
      const pseudo = [...frame.slice(h.ETHERNET + 8, h.ETHERNET + 40), 0, 0, 0, 24, 0, 0, 0, 58];
      let sum = 0;
      const all = [...pseudo, ...l4];
      for (let i = 0; i < all.length; i += 2) sum += all[i] * 256 + all[i + 1];
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
      setU16(frame, h.ETHERNET + 42, sum ^ 0xffff);
      return frame;
    };
    expect(v6.only6(harness.frame(Id.podA, detect(v6.POD_A))).port).toBe(Id.podB);
    expect(v6.only6(harness.frame(Id.podA, detect(v6.GATEWAY)))).toMatchObject({
      port: Id.podA,
      packet: { dst: "ff02::1", icmpRest: 0xa0000000 },
    });
  });

  it.each([
    [
      "says it has another's address",
      v6.advertise(h.MAC_A, v6.POD_A, v6.POD_B, v6.GATEWAY),
      "drop:invalid-source-ip",
    ],
    ["asks as another", v6.solicit(h.MAC_A, v6.POD_B, v6.GATEWAY), "drop:invalid-source-ip"],
    [
      "gives another's MAC",
      withMac(v6.solicit(h.MAC_A, v6.POD_A, v6.POD_B), h.MAC_B),
      "drop:invalid-source-mac",
    ],
  ])("a pod that %s is not heard", (_, frame, counter) => {
    const harness = node();
    expect(harness.frame(Id.podA, frame)).toEqual([]);
    expect(harness.count(counter)).toBe(1);
  });

  it("no pod is a router", () => {
    const harness = node();
    const frame = v6.advertise(h.MAC_A, v6.LINK_A, v6.ip6("ff02::1"), v6.POD_A);
    frame[h.ETHERNET + 40] = 134;
    expect(harness.frame(Id.podA, frame)).toEqual([]);
    expect(harness.count("drop:rogue-router-advertisement")).toBe(1);
  });

  it("on the host port the node answers for all that lies behind it, and for nothing else", () => {
    const answers = (target: bigint) => {
      const sent = node().frame(Id.host, v6.solicit(h.HOST_MAC, v6.HOST, target));
      return sent.length === 1 && sent[0].packet.icmpType === 136;
    };
    for (const target of [v6.NODE, v6.POD_A, v6.REMOTE_POD, v6.VIP]) expect(answers(target)).toBe(true);
    for (const target of [v6.HOST, v6.NODE_2, v6.OUTSIDE]) expect(answers(target)).toBe(false);
  });

  it("the machine's MAC is learned from its questions; what waited for it is sent", () => {
    const harness = new v6.Harness6();
    expect(harness.inject(Id.podA, syn(v6.POD_A, v6.OUTSIDE))).toEqual([]);
    expect(harness.arpRequests).toBe(1);
    const sent = harness.frame(Id.host, v6.solicit(h.HOST_MAC, v6.HOST, v6.NODE));
    expect(sent.map(({ packet }) => packet.protocol)).toEqual([IpProtocol.tcp, IpProtocol.icmpv6]);
    expect(sent[0].frame.slice(0, 6)).toEqual(h.HOST_MAC);
  });
});

describe("Services", () => {
  it("a cluster IP leads to its endpoint and back, every checksum right", () => {
    const harness = node();
    harness.service(IpProtocol.tcp, v6.VIP, 80, v6.REMOTE_POD, { port: 8080 });
    expect(v6.only6(harness.inject(Id.podA, syn(v6.POD_A, v6.VIP)))).toMatchObject({
      port: Id.overlay,
      packet: { src: "fd00:10:244:1::2", dst: "fd00:10:244:2::9", dport: 8080 },
    });
    const answer = v6.tcp6({ src: v6.REMOTE_POD, dst: v6.POD_A, sport: 8080, dport: 40000, flags: 0x12 });
    expect(v6.only6(harness.inject(Id.overlay, answer, { peer: h.PEER_2 }))).toMatchObject({
      port: Id.podA,
      packet: { src: "fd00:10:96::a", sport: 80 },
    });
  });

  it("a node port from outside is masqueraded to the overlay's address", () => {
    const harness = node();
    harness.service(IpProtocol.udp, v6.NODE, 30053, v6.REMOTE_POD, { port: 53, masquerade: true });
    const query = v6.udp6({
      ...v6.ends(v6.HOST, v6.NODE),
      sport: 5000,
      dport: 30053,
      payload: new Uint8Array(9),
    });
    expect(v6.only6(harness.inject(Id.host, query))).toMatchObject({
      port: Id.overlay,
      packet: { src: "fd00:10:244:1::", dst: "fd00:10:244:2::9", dport: 53 },
    });
    const reply = v6.udp6({
      ...v6.ends(v6.REMOTE_POD, v6.ip6("fd00:10:244:1::")),
      sport: 53,
      dport: 5000,
      payload: new Uint8Array(3),
    });
    expect(v6.only6(harness.inject(Id.overlay, reply, { peer: h.PEER_2 }))).toMatchObject({
      port: Id.host,
      packet: { src: "fd00:10::11", sport: 30053, dst: "fd00:10::1", dport: 5000 },
    });
  });

  it("a pod that reaches itself is masqueraded (hairpin)", () => {
    const harness = node();
    harness.service(IpProtocol.tcp, v6.VIP, 80, v6.POD_A, { port: 8080 });
    expect(v6.only6(harness.inject(Id.podA, syn(v6.POD_A, v6.VIP)))).toMatchObject({
      port: Id.podA,
      packet: { src: "fd00:10:244:1::1", dst: "fd00:10:244:1::2", dport: 8080 },
    });
  });

  it("one without endpoints refuses with port unreachable", () => {
    const harness = node();
    harness.service(IpProtocol.tcp, v6.VIP, 80, v6.POD_B, {
      action: ServiceAction.reject,
      reason: "no-endpoints",
    });
    expect(v6.only6(harness.inject(Id.podA, syn(v6.POD_A, v6.VIP)))).toMatchObject({
      port: Id.podA,
      packet: {
        src: "fd00:10:244:1::1",
        icmpType: 1,
        icmpCode: 4,
        quoted: { dst: "fd00:10:96::a", dport: 80 },
      },
    });
    expect(harness.count("reject:no-endpoints")).toBe(1);
  });

  it("no Service leads from one family to the other", () => {
    const harness = node();
    harness.services.put(IpProtocol.tcp, harness.book.pin(v6.VIP), 80, { ip: h.POD_B, port: 8080 });
    expect(harness.inject(Id.podA, syn(v6.POD_A, v6.VIP))).toEqual([]);
    expect(harness.datapath.conntrack.count).toBe(0);
  });

  it("a partial checksum stays one: addresses change it, ports do not", () => {
    const harness = node();
    harness.service(IpProtocol.tcp, v6.VIP, 80, v6.REMOTE_POD, { port: 8080 });
    const packet = v6.tcp6({
      ...v6.ends(v6.POD_A, v6.VIP),
      sport: 40000,
      dport: 80,
      flags: TcpFlag.syn,
      payload: new Uint8Array(3000),
    });
    const pseudo = [
      ...packet.slice(8, 40),
      0,
      0,
      (packet.length - 40) >>> 8,
      (packet.length - 40) & 255,
      0,
      0,
      0,
      6,
    ];
    let sum = 0;
    for (let i = 0; i < pseudo.length; i += 2) sum += pseudo[i] * 256 + pseudo[i + 1];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    setU16(packet, 56, sum);
    // NEEDS_CSUM, TCP over IPv6, 74 bytes of headers, segments of 1400 bytes, checksum from 54 at 16.
    const vnet = Uint8Array.from([1, 4, 74, 0, 0x78, 5, 54, 0, 16, 0]);
    const sent = v6.only6(harness.inject(Id.podA, packet, { vnet }));
    expect(sent).toMatchObject({ port: Id.overlay, packet: { dst: "fd00:10:244:2::9", dport: 8080 } });
    expect([...sent.vnet]).toEqual([1, 4, 60, 0, 0x78, 5, 40, 0, 16, 0]);
  });
});

describe("ICMPv6", () => {
  it("the node answers pings to each of its addresses", () => {
    for (const dst of [v6.GATEWAY, v6.NODE, v6.ip6("fd00:10:244:1::")]) {
      const request = v6.echo6({
        ...v6.ends(v6.POD_A, dst),
        icmpId: 7,
        icmpSeq: 3,
        payload: new Uint8Array(56),
      });
      expect(v6.only6(node().inject(Id.podA, request))).toMatchObject({
        port: Id.podA,
        packet: { dst: "fd00:10:244:1::2", icmpType: 129, icmpRest: (7 << 16) | 3 },
      });
    }
  });

  it("also between link-local addresses, on the link they came from", () => {
    const request = v6.echo6({
      ...v6.ends(v6.LINK_A, v6.ip6("fe80::42:acff:fe10:101")),
      icmpId: 7,
      icmpSeq: 1,
    });
    expect(v6.only6(node().inject(Id.podA, request))).toMatchObject({
      port: Id.podA,
      packet: { src: "fe80::42:acff:fe10:101", dst: "fe80::42:acff:fe10:102", icmpType: 129 },
    });
  });

  it("a hop limit that runs out is told from the gateway", () => {
    const packet = v6.udp6({ ...v6.ends(v6.POD_A, v6.REMOTE_POD), sport: 1, dport: 2, hopLimit: 1 });
    expect(v6.only6(node().inject(Id.podA, packet)).packet).toMatchObject({
      src: "fd00:10:244:1::1",
      icmpType: 3,
      icmpCode: 0,
      quoted: { hopLimit: 1, dport: 2 },
    });
  });

  it("a packet that the next link cannot take is told its MTU, and never cut", () => {
    const packet = v6.udp6({
      ...v6.ends(v6.HOST, v6.REMOTE_POD),
      sport: 1,
      dport: 2,
      payload: new Uint8Array(1450),
    });
    expect(v6.only6(node().inject(Id.host, packet))).toMatchObject({
      port: Id.host,
      packet: { icmpType: 2, icmpCode: 0, icmpRest: h.MTU, length: 1280, dst: "fd00:10::1" },
    });
  });

  it.each([
    ["an address of the pods' subnet that no pod has", v6.ip6("fd00:10:244:1::77"), 1, 3],
    ["a pod network that no node has", v6.ip6("fd00:10:244:55::1"), 1, 0],
    ["an address of the service network without a Service", v6.ip6("fd00:10:96::77"), 1, 3],
  ])("%s is unreachable", (_, dst, icmpType, icmpCode) => {
    const packet = v6.udp6({ ...v6.ends(v6.POD_A, dst), sport: 1, dport: 2 });
    expect(v6.only6(node().inject(Id.podA, packet)).packet).toMatchObject({ icmpType, icmpCode });
  });

  it("the node refuses what it does not serve: UDP ports, TCP ports, and protocols where the packet names them", () => {
    const udp = v6.udp6({ ...v6.ends(v6.POD_A, v6.NODE), sport: 1, dport: 2 });
    expect(v6.only6(node().inject(Id.podA, udp)).packet).toMatchObject({ icmpType: 1, icmpCode: 4 });
    expect(v6.only6(node().inject(Id.podA, syn(v6.POD_A, v6.NODE))).packet).toMatchObject({
      src: "fd00:10::11",
      flags: TcpFlag.rst | TcpFlag.ack,
      ack: 1,
    });
    const unknown = udp.slice();
    unknown[6] = 200;
    expect(v6.only6(node().inject(Id.podA, unknown)).packet).toMatchObject({
      icmpType: 4,
      icmpCode: 1,
      icmpRest: 6,
    });
    const extended = v6.udp6({
      ...v6.ends(v6.POD_A, v6.NODE),
      sport: 1,
      dport: 2,
      extensions: { nextHeader: Ipv6Next.destination, bytes: Uint8Array.from([200, 0, 1, 4, 0, 0, 0, 0]) },
    });
    expect(v6.only6(node().inject(Id.podA, extended)).packet).toMatchObject({ icmpType: 4, icmpRest: 40 });
  });

  it("an error about a translated packet comes back as if nothing had been translated", () => {
    const harness = node();
    harness.service(IpProtocol.udp, v6.VIP, 53, v6.REMOTE_POD, { port: 5353 });
    const query = v6.udp6({
      ...v6.ends(v6.POD_A, v6.VIP),
      sport: 4000,
      dport: 53,
      payload: new Uint8Array(20),
    });
    const forwarded = v6.only6(harness.inject(Id.podA, query)).frame;
    const error = errorAbout(forwarded, v6.REMOTE_POD, v6.POD_A, 1, 4, 0);
    expect(v6.only6(harness.inject(Id.overlay, error, { peer: h.PEER_2 }))).toMatchObject({
      port: Id.podA,
      packet: {
        src: "fd00:10:96::a",
        icmpType: 1,
        icmpCode: 4,
        quoted: { src: "fd00:10:244:1::2", dst: "fd00:10:96::a", sport: 4000, dport: 53 },
      },
    });
  });

  it("path MTU discovery works through a masqueraded connection", () => {
    const harness = node();
    const out = v6.only6(harness.inject(Id.podA, syn(v6.POD_A, v6.OUTSIDE)));
    const router = v6.ip6("2001:db8:ffff::1");
    const error = errorAbout(out.frame.slice(h.ETHERNET), router, v6.NODE, 2, 0, 1400);
    expect(v6.only6(harness.inject(Id.host, error))).toMatchObject({
      port: Id.podA,
      packet: {
        src: "2001:db8:ffff::1",
        dst: "fd00:10:244:1::2",
        icmpType: 2,
        icmpRest: 1400,
        quoted: { src: "fd00:10:244:1::2", sport: 40000 },
      },
    });
  });

  it("one about no connection is invalid", () => {
    const harness = node();
    const stray = errorAbout(syn(v6.POD_A, v6.OUTSIDE), v6.OUTSIDE, v6.POD_A, 1, 4, 0);
    expect(harness.inject(Id.host, stray)).toEqual([]);
    expect(harness.count("drop:ct-invalid")).toBe(1);
  });
});

describe("extension headers and fragments", () => {
  it("are carried along, with the translation behind them", () => {
    const harness = node();
    harness.service(IpProtocol.udp, v6.VIP, 53, v6.REMOTE_POD, { port: 5353 });
    const packet = v6.udp6({
      ...v6.ends(v6.POD_A, v6.VIP),
      sport: 4000,
      dport: 53,
      payload: new Uint8Array(8),
      extensions: { nextHeader: Ipv6Next.destination, bytes: Uint8Array.from([17, 0, 1, 4, 0, 0, 0, 0]) },
    });
    expect(v6.only6(harness.inject(Id.podA, packet)).packet).toMatchObject({
      protocol: IpProtocol.udp,
      dst: "fd00:10:244:2::9",
      dport: 5353,
    });
  });

  it("later fragments follow their first, by identification", () => {
    const harness = node();
    harness.service(IpProtocol.udp, v6.VIP, 53, v6.REMOTE_POD, { port: 5353 });
    const [first, second] = fragments(0x12345678);
    expect(harness.inject(Id.podA, second)).toEqual([]);
    expect(harness.count("drop:fragment-without-first")).toBe(1);
    const translated = v6.only6(harness.inject(Id.podA, first)).packet;
    expect(translated).toMatchObject({
      dst: "fd00:10:244:2::9",
      fragment: { offset: 0, more: true, id: 0x12345678 },
    });
    expect(v6.only6(harness.inject(Id.podA, second)).packet).toMatchObject({
      dst: "fd00:10:244:2::9",
      fragment: { offset: 1208, more: false, id: 0x12345678 },
    });
    // The same low bits are another packet's.
    expect(harness.inject(Id.podA, fragments(0x99345678)[1])).toEqual([]);
  });
});

describe("the address book in the datapath", () => {
  it("stays within its size, whatever a pod sends to, and no connection loses its addresses", () => {
    const book = new AddressBook(h.seededRandom(3), 256, 256);
    const harness = node({ addressBook: book, conntrackTimeouts: { udp: 1 } });
    harness.inject(Id.podA, syn(v6.POD_A, v6.REMOTE_POD));
    for (let i = 0; i < 5000; i++) {
      const dst = v6.OUTSIDE + BigInt(i * 7);
      harness.inject(Id.podA, v6.udp6({ ...v6.ends(v6.POD_A, dst), sport: 1, dport: 2 }));
      harness.nowMs += 20;
      if (i % 40 === 0) harness.datapath.tick();
      if (i % 40 === 0) harness.learnHost();
    }
    expect(book.count).toBeLessThanOrEqual(256);
    expect(harness.count("forward")).toBeGreaterThan(4000);
    const answer = v6.tcp6({ src: v6.REMOTE_POD, dst: v6.POD_A, sport: 80, dport: 40000, flags: 0x12 });
    expect(v6.only6(harness.inject(Id.overlay, answer, { peer: h.PEER_2 })).port).toBe(Id.podA);
  });

  it("full of live connections, it refuses new addresses and says so", () => {
    const book = new AddressBook(h.seededRandom(3), 32, 32);
    const harness = node({ addressBook: book });
    for (let i = 0; i < 100; i++)
      harness.inject(Id.podA, v6.udp6({ ...v6.ends(v6.POD_A, v6.OUTSIDE + BigInt(i)), sport: 1, dport: 2 }));
    expect(harness.count("drop:address-table-full")).toBeGreaterThan(50);
    expect(book.count).toBe(32);
  });
});

describe("traces", () => {
  it("tell IPv6 addresses in their text, before and after", () => {
    const harness = node();
    harness.trace.enabled = true;
    harness.service(IpProtocol.tcp, v6.VIP, 80, v6.REMOTE_POD, { port: 8080, service: "default/web" });
    harness.inject(Id.podA, syn(v6.POD_A, v6.VIP));
    harness.inject(Id.podA, syn(v6.POD_B, v6.VIP));
    expect(harness.trace.seen).toMatchObject([
      {
        verdict: "forward",
        before: { src: "fd00:10:244:1::2", dst: "fd00:10:96::a", dport: 80 },
        after: { dst: "fd00:10:244:2::9", dport: 8080 },
        service: "default/web",
        ctState: "NEW",
      },
      { verdict: "drop", reason: "invalid-source-ip", before: { src: "fd00:10:244:1::3" } },
    ]);
  });
});

describe("malformed frames", () => {
  it("never throw and are never forwarded with a wrong checksum", () => {
    const samples = [
      syn(v6.POD_A, v6.VIP),
      v6.udp6({ ...v6.ends(v6.POD_A, v6.VIP), sport: 4, dport: 53, payload: new Uint8Array(30) }),
      v6.echo6({ ...v6.ends(v6.POD_A, v6.REMOTE_POD), icmpId: 1, icmpSeq: 2 }),
      v6.solicit(h.MAC_A, v6.POD_A, v6.GATEWAY).slice(h.ETHERNET),
      errorAbout(syn(v6.REMOTE_POD, v6.POD_A), v6.POD_A, v6.REMOTE_POD, 1, 4, 0),
      ...fragments(5),
    ];
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    const harness = node();
    harness.service(IpProtocol.tcp, v6.VIP, 80, v6.REMOTE_POD, { port: 8080 });
    harness.service(IpProtocol.udp, v6.VIP, 53, v6.POD_B, { port: 5353 });
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.array(change, { maxLength: 5 }),
        fc.nat(),
        (sample, changes, cut) => {
          const bytes = sample.slice(0, sample.length - (cut % 3 === 0 ? cut % (sample.length + 1) : 0));
          for (const [where, value] of changes) if (bytes.length > 0) bytes[where % bytes.length] = value;
          harness.nowMs += 50;
          try {
            harness.inject(Id.podA, bytes);
          } catch (error) {
            // What passes with a checksum that was wrong before is the receiver's to find: it must be wrong still.
            if (!(error instanceof Error) || !/checksum/.test(error.message)) throw error;
            expect(changes.length).toBeGreaterThan(0);
          }
        },
      ),
      { numRuns: 4000 },
    );
  });
});

/** The frame with another MAC in its option. */
function withMac(frame: Uint8Array, mac: Uint8Array): Uint8Array {
  const changed = frame.slice();
  const before = frame.slice(-6);
  changed.set(mac, changed.length - 6);
  // The checksum follows the change.
  let sum = frame[h.ETHERNET + 42] * 256 + frame[h.ETHERNET + 43];
  for (let i = 0; i < 6; i += 2) {
    sum += before[i] * 256 + before[i + 1] + (0xffff - (mac[i] * 256 + mac[i + 1]));
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  setU16(changed, h.ETHERNET + 42, sum);
  return changed;
}

/** An ICMPv6 error about a packet, written by hand. */
function errorAbout(
  packet: Uint8Array,
  src: bigint,
  dst: bigint,
  type: number,
  code: number,
  rest: number,
): Uint8Array {
  const quoted = packet.slice(0, 1232);
  const bytes = v6.echo6({
    ...v6.ends(src, dst),
    icmpId: rest >>> 16,
    icmpSeq: rest & 0xffff,
    payload: quoted,
  });
  const sum = bytes[42] * 256 + bytes[43] + 0x8000 + (0xffff - (type * 256 + code));
  bytes[40] = type;
  bytes[41] = code;
  setU16(bytes, 42, (sum & 0xffff) + (sum >>> 16));
  return bytes;
}

/** A datagram of 1300 bytes from pod A to the Service's port 53, in two fragments. */
function fragments(id: number): [Uint8Array, Uint8Array] {
  const whole = v6.udp6({
    ...v6.ends(v6.POD_A, v6.VIP),
    sport: 4000,
    dport: 53,
    payload: new Uint8Array(1300),
  });
  const piece = (offset: number, end: number) => {
    const header = new Uint8Array(8);
    writeIpv6Fragment(header, 0, IpProtocol.udp, offset, end < whole.length - 40, id);
    const bytes = Uint8Array.from([...whole.slice(0, 40), ...header, ...whole.slice(40 + offset, 40 + end)]);
    bytes[6] = Ipv6Next.fragment;
    setU16(bytes, 4, bytes.length - 40);
    return bytes;
  };
  return [piece(0, 1208), piece(1208, whole.length - 40)];
}
