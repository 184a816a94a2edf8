import { describe, expect, it } from "vitest";
import { ServiceAction } from "../../src/datapath/index.js";
import { TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";
import { offload, readVnet } from "./offload.js";

const { syn, ack } = TcpFlag;
const TCP = 6;
const UDP = 17;

type Protocol = "tcp" | "udp";
type Form = "complete" | "partial";
const FORMS: [Protocol, Form][] = [
  ["tcp", "complete"],
  ["tcp", "partial"],
  ["udp", "complete"],
  ["udp", "partial"],
];

interface Ends {
  readonly src: number;
  readonly dst: number;
  readonly sport: number;
  readonly dport: number;
}

/** Puts a packet in by a port in the wanted form; everything that leaves is checked by the harness. */
function put(
  node: h.Harness,
  port: number,
  ends: Ends,
  [protocol, form]: [Protocol, Form],
  flags: number = syn,
): h.Sent[] {
  const payload = Uint8Array.from({ length: 33 }, (_, i) => i * 7);
  const whole = protocol === "tcp" ? h.tcp({ ...ends, flags, payload, seq: 1 }) : h.udp({ ...ends, payload });
  const isBare = port === h.Id.overlay || port === h.Id.nodenet;
  const peer = isBare ? h.PEER_2 : 0;
  if (form === "complete") return node.inject(port, whole, { peer });
  const { packet, vnet } = offload(whole, { link: isBare ? 0 : h.ETHERNET });
  return node.inject(port, packet, { peer, vnet });
}

function serviceTo(ip: number, port: number, more: object = {}): h.TableServices {
  const decision = { ip, port, service: "default/web:http", endpoint: "default/web-1", ...more };
  return new h.TableServices().put(TCP, h.VIP, 80, decision).put(UDP, h.VIP, 80, decision);
}

describe.each(FORMS)("NAT of %s with a %s checksum", (...form) => {
  it("sends a pod through a ClusterIP to a pod of another node and back", () => {
    const node = new h.Harness({}, serviceTo(h.REMOTE_POD, 8080));
    const out = h.only(put(node, h.Id.podA, { src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80 }, form));
    expect(out.port).toBe(h.Id.overlay);
    expect(out.packet).toMatchObject({ src: "172.16.1.2", dst: "172.16.2.9", sport: 4000, dport: 8080 });
    const back = { src: h.REMOTE_POD, dst: h.POD_A, sport: 8080, dport: 4000 };
    const reply = h.only(put(node, h.Id.overlay, back, form, syn | ack));
    expect(reply.port).toBe(h.Id.podA);
    expect(reply.packet).toMatchObject({ src: "10.254.0.10", dst: "172.16.1.2", sport: 80, dport: 4000 });
    expect(node.services.queries).toBe(1);
    if (form[1] === "complete") return;
    expect(readVnet(out.vnet)).toMatchObject({ flags: 1, start: 20 });
    expect(readVnet(reply.vnet)).toMatchObject({ flags: 1, start: 34 });
  });

  it("undoes DNAT on frames switched between pods of the node", () => {
    const node = new h.Harness({}, serviceTo(h.POD_B, 8080));
    const out = h.only(put(node, h.Id.podA, { src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80 }, form));
    expect(out).toMatchObject({ port: h.Id.podB, packet: { dst: "172.16.1.3", dport: 8080, ttl: 63 } });
    const back = { src: h.POD_B, dst: h.POD_A, sport: 8080, dport: 4000 };
    const whole = form[0] === "tcp" ? h.tcp({ ...back, flags: syn | ack }) : h.udp(back);
    // B knows A's MAC, so its reply never sees the gateway.
    const reply = h.only(node.inject(h.Id.podB, whole, { to: h.MAC_A }));
    expect(reply).toMatchObject({ port: h.Id.podA, packet: { src: "10.254.0.10", sport: 80, ttl: 64 } });
    expect([...reply.frame.slice(6, 12)]).toEqual([...h.MAC_B]);
  });

  it("masquerades what comes in from outside through a node port", () => {
    const node = new h.Harness();
    node.services.put(form[0] === "tcp" ? TCP : UDP, h.NODE, 30_001, {
      ip: h.REMOTE_POD,
      port: 8080,
      masquerade: true,
    });
    node.learnHost();
    const out = h.only(put(node, h.Id.host, { src: h.HOST, dst: h.NODE, sport: 5000, dport: 30_001 }, form));
    expect(out.port).toBe(h.Id.overlay);
    expect(out.packet).toMatchObject({ src: "172.16.1.0", dst: "172.16.2.9", sport: 5000, dport: 8080 });
    const back = { src: h.REMOTE_POD, dst: h.ADDRESSES.overlayIp, sport: 8080, dport: 5000 };
    const reply = h.only(put(node, h.Id.overlay, back, form, syn | ack));
    expect(reply.port).toBe(h.Id.host);
    expect([...reply.frame.slice(0, 6)]).toEqual([...h.HOST_MAC]);
    expect(reply.packet).toMatchObject({ src: "10.0.0.1", dst: "10.0.0.254", sport: 30_001, dport: 5000 });
  });

  it("lets a pod reach itself through a Service", () => {
    const node = new h.Harness({}, serviceTo(h.POD_A, 8080));
    const out = h.only(put(node, h.Id.podA, { src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80 }, form));
    expect(out.port).toBe(h.Id.podA);
    expect(out.packet).toMatchObject({ src: "172.16.1.1", dst: "172.16.1.2", sport: 4000, dport: 8080 });
    const back = { src: h.POD_A, dst: h.ADDRESSES.bridgeIp, sport: 8080, dport: 4000 };
    const reply = h.only(put(node, h.Id.podA, back, form, syn | ack));
    expect(reply.packet).toMatchObject({ src: "10.254.0.10", dst: "172.16.1.2", sport: 80, dport: 4000 });
  });

  it("keeps two clients with one source port apart behind the node's address", () => {
    const node = new h.Harness();
    node.learnHost();
    const dst = h.ip("203.0.113.5");
    const first = h.only(put(node, h.Id.podA, { src: h.POD_A, dst, sport: 4000, dport: 53 }, form));
    const second = h.only(put(node, h.Id.podB, { src: h.POD_B, dst, sport: 4000, dport: 53 }, form));
    expect(first.packet).toMatchObject({ src: "10.0.0.1", sport: 4000 });
    expect(second.packet.src).toBe("10.0.0.1");
    expect(second.packet.sport).not.toBe(4000);
    expect(second.packet.sport).toBeGreaterThanOrEqual(1024);
    const answer = (dport: number) =>
      h.only(put(node, h.Id.host, { src: dst, dst: h.NODE, sport: 53, dport }, form, syn | ack));
    expect(answer(4000)).toMatchObject({ port: h.Id.podA, packet: { dst: "172.16.1.2", dport: 4000 } });
    expect(answer(second.packet.sport)).toMatchObject({
      port: h.Id.podB,
      packet: { dst: "172.16.1.3", dport: 4000 },
    });
  });

  it("gives way with another source port when the endpoint already talks to that tuple", () => {
    const node = new h.Harness({}, serviceTo(h.REMOTE_POD, 8080));
    put(node, h.Id.podA, { src: h.POD_A, dst: h.REMOTE_POD, sport: 4000, dport: 8080 }, form);
    const out = h.only(put(node, h.Id.podA, { src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80 }, form));
    expect(out.packet).toMatchObject({ src: "172.16.1.2", dst: "172.16.2.9", dport: 8080 });
    expect(out.packet.sport).not.toBe(4000);
    const back = { src: h.REMOTE_POD, dst: h.POD_A, sport: 8080, dport: out.packet.sport };
    expect(h.only(put(node, h.Id.overlay, back, form, syn | ack)).packet).toMatchObject({
      sport: 80,
      dport: 4000,
    });
  });
});

describe("masquerading", () => {
  it("follows flannel's rules", () => {
    const node = new h.Harness();
    node.learnHost();
    const source = (port: number, src: number, dst: number) =>
      h.only(node.inject(port, h.udp({ src, dst, sport: 1, dport: 2 }))).packet.src;
    expect(source(h.Id.podA, h.POD_A, h.ip("203.0.113.5"))).toBe("10.0.0.1");
    expect(source(h.Id.podA, h.POD_A, h.NODE_2)).toBe("10.0.0.1");
    expect(source(h.Id.podA, h.POD_A, h.REMOTE_POD)).toBe("172.16.1.2");
    expect(source(h.Id.host, h.HOST, h.REMOTE_POD)).toBe("172.16.1.0");
    expect(source(h.Id.host, h.HOST, h.POD_A)).toBe("10.0.0.254");
  });

  it("can be switched off", () => {
    const node = new h.Harness({ ipMasq: false });
    node.learnHost();
    const packet = h.udp({ src: h.POD_A, dst: h.ip("203.0.113.5"), sport: 1, dport: 2 });
    expect(h.only(node.inject(h.Id.podA, packet)).packet.src).toBe("172.16.1.2");
  });

  it("translates ICMP identifiers that collide", () => {
    const node = new h.Harness();
    node.learnHost();
    const dst = h.ip("203.0.113.5");
    const ask = (port: number, src: number) =>
      h.only(node.inject(port, h.echo({ src, dst, icmpId: 7, icmpSeq: 1 }))).packet;
    expect(ask(h.Id.podA, h.POD_A)).toMatchObject({ src: "10.0.0.1", icmpId: 7 });
    const { icmpId } = ask(h.Id.podB, h.POD_B);
    expect(icmpId).not.toBe(7);
    const reply = h.echo({ src: dst, dst: h.NODE, icmpId, icmpSeq: 1, reply: true });
    expect(h.only(node.inject(h.Id.host, reply))).toMatchObject({
      port: h.Id.podB,
      packet: { dst: "172.16.1.3", icmpId: 7, icmpType: 0 },
    });
  });

  it("keeps privileged ports among themselves and says when none is left", () => {
    const node = new h.Harness();
    node.learnHost();
    const dst = h.ip("203.0.113.5");
    const seen = new Set<number>();
    let refused = 0;
    for (let i = 0; i < 700; i++) {
      // Each a new connection of its own original tuple, and all want one reply tuple.
      const src = i % 2 === 0 ? h.POD_A : h.POD_B;
      const port = i % 2 === 0 ? h.Id.podA : h.Id.podB;
      const sent = node.inject(port, h.udp({ src, dst, sport: 1 + (i % 511), dport: 53 }));
      if (sent.length === 0) refused++;
      for (const { packet } of sent) seen.add(packet?.sport ?? 0);
    }
    expect(Math.max(...seen)).toBeLessThan(512);
    expect(refused).toBeGreaterThan(0);
    expect(node.count("drop:snat-no-ports")).toBe(refused);
    expect(node.datapath.conntrack.count).toBe(seen.size);
  });
});

describe("UDP checksums", () => {
  const ends = { src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80 };

  it("keeps none as none", () => {
    const node = new h.Harness({}, serviceTo(h.REMOTE_POD, 8080));
    const packet = h.udp({ ...ends, payload: Uint8Array.of(1) });
    packet.set([0, 0], 26);
    expect(h.only(node.inject(h.Id.podA, packet)).packet).toMatchObject({ dst: "172.16.2.9", l4Checksum: 0 });
  });

  it("sends one that comes to 0 as 0xffff", () => {
    const services = new h.TableServices().put(UDP, h.VIP, 80, { ip: h.REMOTE_POD, port: 8080 });
    const node = new h.Harness({}, services);
    // The payload word that makes the rewritten datagram sum up to 0xffff.
    const rewritten = h.udp({
      src: h.POD_A,
      dst: h.REMOTE_POD,
      sport: 4000,
      dport: 8080,
      payload: Uint8Array.of(0, 0),
    });
    const payload = rewritten.slice(26, 28);
    const packet = h.udp({ ...ends, payload });
    expect(h.only(node.inject(h.Id.podA, packet)).packet).toMatchObject({ dport: 8080, l4Checksum: 0xffff });
  });

  it("refuses a new connection whose checksum is wrong, but does not mend one on the way", () => {
    const node = new h.Harness({}, serviceTo(h.REMOTE_POD, 8080));
    const bad = h.udp({ ...ends, payload: Uint8Array.of(1, 2) });
    bad[28] ^= 0xff;
    expect(node.inject(h.Id.podA, bad)).toEqual([]);
    expect(node.datapath.counters.export()).toEqual({ "drop:invalid-checksum": 1 });
    node.inject(h.Id.podA, h.udp({ ...ends, payload: Uint8Array.of(1, 2) }));
    expect(() => node.inject(h.Id.podA, bad)).toThrow("transport checksum");
  });
});

describe("refusals by the proxy", () => {
  it.each([
    ["TCP", h.tcp({ src: h.POD_A, dst: h.VIP, sport: 1, dport: 80, flags: syn })],
    ["UDP", h.udp({ src: h.POD_A, dst: h.VIP, sport: 1, dport: 80 })],
  ])("rejects %s with port unreachable at once and leaves no entry", (_, packet) => {
    const refusal = { action: ServiceAction.reject, reason: "no-endpoints", service: "default/web" };
    const services = new h.TableServices().put(TCP, h.VIP, 80, refusal).put(UDP, h.VIP, 80, refusal);
    const node = new h.Harness({}, services);
    const sent = h.only(node.inject(h.Id.podA, packet));
    expect(sent).toMatchObject({ port: h.Id.podA, packet: { icmpType: 3, icmpCode: 3, src: "172.16.1.1" } });
    expect(sent.packet.quoted).toMatchObject({ dst: "10.254.0.10", dport: 80 });
    expect(node.count("reject:no-endpoints")).toBe(1);
    expect(node.datapath.conntrack.count).toBe(0);
  });

  it("drops without a word", () => {
    const drop = { action: ServiceAction.drop, reason: "no-local-endpoints" };
    const node = new h.Harness({}, new h.TableServices().put(UDP, h.NODE, 30_001, drop));
    expect(node.inject(h.Id.host, h.udp({ src: h.HOST, dst: h.NODE, sport: 1, dport: 30_001 }))).toEqual([]);
    expect(node.count("drop:no-local-endpoints")).toBe(1);
  });
});

describe("super-packets", () => {
  it("pass whole when their segments fit, with the header moved", () => {
    const node = new h.Harness({}, serviceTo(h.REMOTE_POD, 8080));
    const ends = { src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80 };
    const payload = new Uint8Array(60_000).fill(5);
    const whole = h.tcp({ ...ends, flags: ack, payload, dontFragment: true });
    const { packet, vnet } = offload(whole, { link: h.ETHERNET, segmentBytes: 1432 });
    const out = h.only(node.inject(h.Id.podA, packet, { vnet }));
    expect(out.packet).toMatchObject({ dst: "172.16.2.9", dport: 8080, length: 60_040 });
    expect(readVnet(out.vnet)).toEqual({
      flags: 1,
      gsoType: 1,
      hdrLen: 40,
      gsoSize: 1432,
      start: 20,
      offset: 16,
    });
    const back = h.tcp({ src: h.REMOTE_POD, dst: h.POD_A, sport: 8080, dport: 4000, flags: ack, payload });
    const merged = offload(back, { link: 0, segmentBytes: 1432 });
    const reply = h.only(node.inject(h.Id.overlay, merged.packet, { vnet: merged.vnet, peer: h.PEER_2 }));
    expect(readVnet(reply.vnet)).toEqual({
      flags: 1,
      gsoType: 1,
      hdrLen: 54,
      gsoSize: 1432,
      start: 34,
      offset: 16,
    });
    expect(reply.packet).toMatchObject({ src: "10.254.0.10", sport: 80 });
  });

  it("get fragmentation-needed when a segment is too large", () => {
    const node = new h.Harness();
    const payload = new Uint8Array(20_000);
    const whole = h.tcp({
      src: h.POD_A,
      dst: h.REMOTE_POD,
      sport: 1,
      dport: 2,
      flags: ack,
      payload,
      dontFragment: true,
    });
    const { packet, vnet } = offload(whole, { link: h.ETHERNET, segmentBytes: 1433 });
    const sent = h.only(node.inject(h.Id.podA, packet, { vnet }));
    expect(sent.packet).toMatchObject({ icmpType: 3, icmpCode: 4, nextHopMtu: 1472, length: 576 });
    expect([...sent.vnet]).toEqual(Array(10).fill(0));
  });

  it("are dropped when their header points outside the packet", () => {
    const node = new h.Harness();
    const whole = h.udp({ src: h.POD_A, dst: h.REMOTE_POD, sport: 1, dport: 2 });
    const vnet = Uint8Array.from([1, 0, 0, 0, 0, 0, 42, 0, 6, 0]);
    expect(node.inject(h.Id.podA, whole, { vnet })).toEqual([]);
    expect(node.count("drop:malformed")).toBe(1);
  });

  it("leave a tunnel's inner checksum alone", () => {
    const node = new h.Harness({}, serviceTo(h.REMOTE_POD, 8080));
    const payload = Uint8Array.from({ length: 60 }, (_, i) => i);
    const whole = h.udp({ src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80, payload });
    // NEEDS_CSUM for something 20 bytes into the payload; the outer checksum is complete.
    const vnet = Uint8Array.from([1, 0, 0, 0, 0, 0, 14 + 20 + 8 + 20, 0, 16, 0]);
    node.lenient = true;
    const out = h.only(node.inject(h.Id.podA, whole, { vnet }));
    expect([...out.packet.payload]).toEqual([...payload]);
    expect(readVnet(out.vnet)).toMatchObject({ start: 20 + 8 + 20, offset: 16 });
    const expected = h.udp({ src: h.POD_A, dst: h.REMOTE_POD, sport: 4000, dport: 8080, payload });
    expect(out.packet.l4Checksum).toBe(expected[26] * 256 + expected[27]);
  });
});
