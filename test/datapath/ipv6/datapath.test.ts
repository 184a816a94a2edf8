import { describe, expect, it } from "vitest";
import { AddressBook, ServiceAction } from "../../../src/datapath/index.js";
import { IpProtocol, Ipv6Next, setU16, TcpFlag } from "../../../src/wire/index.js";
import * as h from "../harness.js";
import * as v6 from "./harness6.js";
import { fragments, node, syn } from "./packets6.js";

const { Id } = h;

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
