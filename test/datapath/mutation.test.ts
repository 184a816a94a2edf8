import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatIpv4, TcpFlag } from "../../src/wire/index.js";
import { encodeIcmp, encodePacket, encodeUdp, ICMP, slowChecksum, TCP, UDP } from "../sim/packet.js";
import * as h from "./harness.js";

const POD_A = formatIpv4(h.POD_A);
const NODE = formatIpv4(h.NODE);
/** Longer than any connection is remembered. */
const FORGOTTEN_MS = 6 * 24 * 3600 * 1000;

/** Well-formed packets for every kind of port, to start from. */
const SEEDS: readonly (readonly [port: number, packet: Uint8Array, peer: number])[] = [
  [
    h.Id.podA,
    h.tcp({
      src: h.POD_A,
      dst: h.VIP,
      sport: 4000,
      dport: 80,
      flags: TcpFlag.syn,
      payload: new Uint8Array(20),
    }),
    0,
  ],
  [
    h.Id.podA,
    h.udp({ src: h.POD_A, dst: h.REMOTE_POD, sport: 4000, dport: 53, payload: new Uint8Array(9) }),
    0,
  ],
  [h.Id.podB, h.echo({ src: h.POD_B, dst: h.NODE, icmpId: 1, icmpSeq: 2, payload: new Uint8Array(30) }), 0],
  [
    h.Id.host,
    h.udp({ src: h.HOST, dst: h.NODE, sport: 4000, dport: 30_001, payload: new Uint8Array(1465) }),
    0,
  ],
  [
    h.Id.overlay,
    h.tcp({ src: h.REMOTE_POD, dst: h.POD_A, sport: 8080, dport: 4000, flags: TcpFlag.syn | TcpFlag.ack }),
    h.PEER_2,
  ],
  [h.Id.nodenet, h.udp({ src: h.NODE_2, dst: h.NODE, sport: 1, dport: 30_001 }), h.PEER_2],
  [h.Id.podA, fragmentOf(true, 0), 0],
  [h.Id.podA, fragmentOf(false, 16), 0],
  [h.Id.podA, withOptions(), 0],
  [h.Id.overlay, portUnreachable(), h.PEER_2],
];

/** Of one datagram to the node port, in two pieces. */
function fragmentOf(mf: boolean, fragmentOffset: number): Uint8Array {
  const body = encodeUdp(POD_A, NODE, { sport: 4001, dport: 30_001, payload: new Uint8Array(20) });
  const head = { src: POD_A, dst: NODE, ttl: 64, id: 7, df: false, protocol: UDP };
  return encodePacket({ ...head, mf, fragmentOffset, body: body.slice(fragmentOffset, mf ? 16 : undefined) });
}

/** A SYN with IP options (record route, end of list) and TCP options (MSS, window scale). */
function withOptions(): Uint8Array {
  const plain = h.tcp({ src: h.POD_A, dst: h.VIP, sport: 4002, dport: 80, flags: TcpFlag.syn });
  const packet = Uint8Array.from([
    ...plain.slice(0, 20),
    ...[7, 7, 4, 0, 0, 0, 0, 0],
    ...plain.slice(20, 40),
    ...[2, 4, 5, 180, 1, 3, 3, 7],
  ]);
  packet[0] = 0x47;
  packet.set([0, packet.length], 2);
  packet[28 + 12] = 0x70;
  packet.set([0, 0], 28 + 16);
  const pseudo = [...packet.slice(12, 20), 0, TCP, 0, packet.length - 28];
  const sum = slowChecksum(Uint8Array.from([...pseudo, ...packet.slice(28)]));
  packet.set([sum >> 8, sum & 255], 28 + 16);
  mendHeader(packet);
  return packet;
}

/** An ICMP error that quotes what podA may have sent. */
function portUnreachable(): Uint8Array {
  const asked = h.udp({
    src: h.POD_A,
    dst: h.REMOTE_POD,
    sport: 4000,
    dport: 53,
    payload: new Uint8Array(9),
  });
  const body = encodeIcmp({ type: 3, code: 3, rest: 0, payload: asked.slice(0, 28) });
  const head = { src: formatIpv4(h.REMOTE_POD), dst: POD_A, ttl: 64, id: 9, df: false, mf: false };
  return encodePacket({ ...head, fragmentOffset: 0, protocol: ICMP, body });
}

function node(): h.Harness {
  const to = { ip: h.REMOTE_POD, port: 8080, masquerade: true };
  const services = new h.TableServices().put(6, h.VIP, 80, to).put(17, h.NODE, 30_001, to);
  const made = new h.Harness({}, services);
  made.trace.enabled = true;
  // Damage that reaches payloads of established flows passes through, wrong checksum and all.
  made.lenient = true;
  return made;
}

/** Sets the IP header checksum right, so that mutations reach what lies behind it. */
function mendHeader(packet: Uint8Array): void {
  const header = Math.min((packet[0] & 15) * 4, packet.length);
  if (header < 20) return;
  packet.set([0, 0], 10);
  let sum = 0;
  for (let i = 0; i < header; i += 2) sum += packet[i] * 256 + (packet[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  packet.set([(sum ^ 0xffff) >> 8, (sum ^ 0xffff) & 255], 10);
}

const change = fc.tuple(fc.nat(80), fc.nat(255));
const step = fc.record({
  seed: fc.nat(SEEDS.length - 1),
  changes: fc.array(change, { maxLength: 4 }),
  cut: fc.option(fc.nat(80), { freq: 4, nil: undefined }),
  mend: fc.boolean(),
  vnet: fc.option(fc.uint8Array({ minLength: 10, maxLength: 10 }), { freq: 3, nil: undefined }),
  passes: fc.constantFrom(0, 1, 500, 40_000),
});

describe("mutated packets", () => {
  it("never make the datapath throw, and each ends with one verdict", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const under = node();
        let received = 0;
        for (const { seed, changes, cut, mend, vnet, passes } of steps) {
          const [port, whole, peer] = SEEDS[seed];
          const packet = whole.slice(0, cut ?? whole.length);
          for (const [at, value] of changes) if (at < packet.length) packet[at] = value;
          if (mend) mendHeader(packet);
          under.tick(passes);
          under.inject(port, packet, { peer, vnet });
          received++;
        }
        const counted = Object.values(under.datapath.counters.export()).reduce(
          (sum, count) => sum + count,
          0,
        );
        expect(counted).toBeGreaterThanOrEqual(received);
        expect(under.datapath.conntrackRecords().length).toBeLessThanOrEqual(received);
        // Nothing of it stays.
        under.tick(FORGOTTEN_MS);
        expect(under.datapath.status().conntrack.count).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it("of any bytes at all, on any port", () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 10, 11, 12), fc.uint8Array({ maxLength: 200 }), (port, frame) => {
        const under = node();
        under.raw(port, frame, { peer: h.PEER_2 });
        expect(Object.values(under.datapath.counters.export())).toEqual([1]);
      }),
      { numRuns: 500 },
    );
  });
});
