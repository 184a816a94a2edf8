/**
 * Frames that lie, of both families, on every port of a dual-stack node: cut at every length, every header byte changed, and
 * mixed at random. Nothing throws, each ends with a verdict, nothing but the packet leaves, and no table keeps anything.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AddressBook } from "../../../src/datapath/index.js";
import {
  EtherType,
  IpProtocol,
  Ipv6Next,
  SctpChunk,
  setU16,
  TcpFlag,
  writeEthernet,
} from "../../../src/wire/index.js";
import * as h from "../harness.js";
import * as v6 from "./harness6.js";
import { errorAbout, fragments, syn } from "./packets6.js";

const { Id } = h;
/** Longer than any connection is remembered. */
const FORGOTTEN_MS = 6 * 24 * 3600 * 1000;
const BOOK_ADDRESSES = 256;
/** What the arena holds where no packet is; the samples have no such byte. */
const POISON = 0xa5;
const POISON_RUN = 4;

interface Sample {
  readonly port: number;
  /** With its link header. */
  readonly frame: Uint8Array;
  readonly peer: number;
}

/** Keeps no frame: it checks that each holds only what came in or was written, and counts it. */
class Mute extends v6.Harness6 {
  constructor() {
    const sink = { send: (_port: number, offset: number, length: number) => this.#check(offset, length) };
    super({ sink, addressBook: new AddressBook(h.seededRandom(4), BOOK_ADDRESSES, BOOK_ADDRESSES) });
    this.arena.fill(POISON);
    this.trace.enabled = true;
    this.service(IpProtocol.tcp, v6.VIP, 80, v6.REMOTE_POD, { port: 8080, masquerade: true });
    this.service(IpProtocol.udp, v6.VIP, 53, v6.POD_B, { port: 5353 });
    this.service(IpProtocol.sctp, v6.VIP, 99, v6.REMOTE_POD, { port: 98 });
    for (const protocol of [IpProtocol.tcp, IpProtocol.udp, IpProtocol.sctp])
      this.services.put(protocol, h.VIP, 80, { ip: h.REMOTE_POD, port: 8080, masquerade: true });
  }

  put({ port, frame, peer }: Sample, vnet?: Uint8Array): void {
    this.frame(port, frame, { peer, ...(vnet && { vnet }) });
  }

  /** All verdicts so far. */
  verdicts(): number {
    return Object.values(this.datapath.counters.export()).reduce((sum, count) => sum + count, 0);
  }

  #check(offset: number, length: number): void {
    const frame = this.arena.subarray(offset, offset + length);
    expect(frame.length).toBe(length);
    let run = 0;
    for (const byte of frame) {
      run = byte === POISON ? run + 1 : 0;
      if (run === POISON_RUN) throw new Error("a frame leaves with what was in the arena before");
    }
  }
}

function link(port: number, packet: Uint8Array, type: EtherType = EtherType.ipv6): Uint8Array {
  if (port === Id.overlay || port === Id.nodenet) return packet;
  const frame = new Uint8Array(h.ETHERNET + packet.length);
  const [to, from] = port === Id.host ? [h.HOST_PORT_MAC, h.HOST_MAC] : [h.BRIDGE_MAC, h.MAC_A];
  writeEthernet(frame, 0, to, 0, from, 0, type);
  frame.set(packet, h.ETHERNET);
  return frame;
}

const NS = v6.solicit(h.MAC_A, v6.POD_A, v6.GATEWAY);
const payload = new Uint8Array(30).fill(7);
const toService = { ...v6.ends(v6.POD_A, v6.VIP), sport: 4000, dport: 53, payload };
const chunks = [{ type: SctpChunk.init, value: new Uint8Array(16).fill(1) }];

/** Upper layer behind every extension header that may be there, or not. */
function behind(nextHeader: number, ...bytes: number[]): Uint8Array {
  return v6.udp6({ ...toService, extensions: { nextHeader, bytes: Uint8Array.from(bytes) } });
}

/** SCTP has no builder for IPv6: its packet of IPv4 under another header. */
function sctp6(): Uint8Array {
  const whole = h.sctp({ src: h.POD_A, dst: h.VIP, sport: 4000, dport: 99, tag: 0, chunks });
  const bytes = v6.udp6({ ...toService, payload: whole.slice(20 + 8) });
  bytes.set(whole.slice(20), 40);
  bytes[6] = IpProtocol.sctp;
  setU16(bytes, 4, whole.length - 20);
  return bytes;
}

/** A neighbour message of another type. */
function typed(type: number): Uint8Array {
  const frame = NS.slice();
  const field = h.ETHERNET + 42;
  const sum = frame[field] * 256 + frame[field + 1] + (135 - type) * 256;
  frame[h.ETHERNET + 40] = type;
  setU16(frame, field, sum % 0xffff);
  return frame;
}

const padding = [1, 4, 0, 0, 0, 0] as const;
const OF_POD: readonly Uint8Array[] = [
  syn(v6.POD_A, v6.VIP),
  v6.udp6(toService),
  sctp6(),
  v6.echo6({ ...v6.ends(v6.POD_A, v6.NODE), icmpId: 1, icmpSeq: 2, payload }),
  v6.echo6({ ...v6.ends(v6.LINK_A, v6.ip6("ff02::1")), icmpId: 1, icmpSeq: 2, payload }),
  behind(Ipv6Next.hopByHop, IpProtocol.udp, 0, ...padding),
  behind(Ipv6Next.destination, Ipv6Next.destination, 0, ...padding, IpProtocol.udp, 0, ...padding),
  behind(Ipv6Next.routing, IpProtocol.udp, 0, 0, 0, 0, 0, 0, 0),
  behind(Ipv6Next.authentication, IpProtocol.udp, 4, ...new Array<number>(22).fill(0)),
  behind(Ipv6Next.fragment, IpProtocol.udp, 0, 0, 0, 0, 0, 0, 9),
  errorAbout(syn(v6.REMOTE_POD, v6.POD_A), v6.POD_A, v6.REMOTE_POD, 1, 4, 0),
  errorAbout(behind(Ipv6Next.destination, IpProtocol.udp, 0, ...padding), v6.POD_A, v6.VIP, 2, 0, 1280),
  errorAbout(
    v6.echo6({ ...v6.ends(v6.REMOTE_POD, v6.POD_A), icmpId: 3, icmpSeq: 4 }),
    v6.POD_A,
    v6.REMOTE_POD,
    3,
    0,
    0,
  ),
  ...fragments(5),
];
const OF_IPV4: readonly Uint8Array[] = [
  h.sctp({ src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80, tag: 0, chunks }),
  h.tcp({ src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80, flags: TcpFlag.syn }),
];
const LINK_FRAMES: readonly Uint8Array[] = [
  NS,
  v6.advertise(h.MAC_A, v6.POD_A, v6.POD_B, v6.POD_A),
  ...[133, 134, 137, 130, 131, 143].map(typed),
  h.arpFrame(1, h.MAC_A, h.POD_A, h.POD_B),
  h.arpFrame(2, h.MAC_A, h.POD_A, h.POD_B, h.MAC_B),
];

const SAMPLES: readonly Sample[] = [
  ...OF_POD.map((packet) => ({ port: Id.podA, frame: link(Id.podA, packet), peer: 0 })),
  ...OF_IPV4.map((packet) => ({ port: Id.podA, frame: link(Id.podA, packet, EtherType.ipv4), peer: 0 })),
  ...LINK_FRAMES.map((frame) => ({ port: Id.podA, frame, peer: 0 })),
  { port: Id.host, frame: h.arpFrame(1, h.HOST_MAC, h.HOST, h.NODE), peer: 0 },
  { port: Id.host, frame: v6.solicit(h.HOST_MAC, v6.HOST, v6.NODE), peer: 0 },
  { port: Id.host, frame: link(Id.host, v6.udp6({ ...toService, src: v6.HOST })), peer: 0 },
  { port: Id.overlay, frame: syn(v6.REMOTE_POD, v6.POD_A), peer: h.PEER_2 },
  { port: Id.overlay, frame: fragments(6)[1], peer: h.PEER_2 },
  { port: Id.nodenet, frame: v6.udp6({ ...toService, src: v6.NODE_2, dst: v6.NODE }), peer: h.PEER_2 },
];
const named = SAMPLES.map((sample, index): [number, Sample] => [index, sample]);

/** Headers of all layers lie here. */
const HEADER_BYTES = 130;
const LIES = [0, 1, 2, 6, 17, 44, 58, 60, 0x7f, 0x80, 0xff];

describe("frames that lie", () => {
  it.each(named)("sample %i cut at every length", (_index, sample) => {
    const under = new Mute();
    for (let length = 0; length <= sample.frame.length; length++)
      under.put({ ...sample, frame: sample.frame.slice(0, length) });
    expect(under.verdicts()).toBeGreaterThan(sample.frame.length);
    expectForgotten(under);
  });

  it.each(named)("sample %i with every byte of its headers changed", (_index, sample) => {
    const under = new Mute();
    let frames = 0;
    for (let at = 0; at < Math.min(HEADER_BYTES, sample.frame.length); at++) {
      for (const lie of LIES) {
        under.put({ ...sample, frame: sample.frame.with(at, lie) });
        frames++;
      }
      under.nowMs += 100;
    }
    expect(under.verdicts()).toBeGreaterThanOrEqual(frames);
    expectForgotten(under);
  });

  const change = fc.tuple(fc.nat(HEADER_BYTES), fc.nat(255));
  const step = fc.record({
    sample: fc.constantFrom(...SAMPLES),
    changes: fc.array(change, { maxLength: 5 }),
    cut: fc.option(fc.nat(160), { freq: 4, nil: undefined }),
    vnet: fc.option(fc.uint8Array({ minLength: h.VNET, maxLength: h.VNET }), { freq: 3, nil: undefined }),
    passesMs: fc.constantFrom(0, 1, 500, 40_000),
  });
  it("mixed at random, one after the other", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const under = new Mute();
        for (const { sample, changes, cut, vnet, passesMs } of steps) {
          const frame = sample.frame.slice(0, cut ?? sample.frame.length);
          for (const [at, value] of changes) if (at < frame.length && value !== POISON) frame[at] = value;
          under.nowMs += passesMs;
          under.put({ ...sample, frame }, vnet);
        }
        expect(under.verdicts()).toBeGreaterThanOrEqual(steps.length);
        expectForgotten(under);
      }),
      { numRuns: 300 },
    );
  });
});

/** No connection is left once all time-outs are over, and no address but those that are configured. */
function expectForgotten(under: Mute): void {
  under.nowMs += FORGOTTEN_MS;
  under.datapath.beginBatch(under.nowMs);
  for (let i = 0; i < 300; i++) under.datapath.tick();
  expect(under.datapath.status().conntrack.count).toBe(0);
  expect(under.book.count).toBeLessThanOrEqual(BOOK_ADDRESSES);
  // A full book has room again.
  const bytes = new Uint8Array(16).fill(0x20);
  for (let i = 0; i < BOOK_ADDRESSES; i++) {
    bytes[15] = i;
    expect(under.book.intern(bytes, 0)).not.toBe(0);
    if (i % 64 === 0) under.book.tick();
  }
}
