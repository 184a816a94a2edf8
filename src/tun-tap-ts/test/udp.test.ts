import { afterEach, describe, expect, it } from "vitest";
import { HEADROOM_BYTES } from "../src/index.js";
import { Lab, until } from "./lab.js";
import {
  encodeVnet,
  finishChecksums,
  packet,
  payload,
  pseudoSum,
  segments,
  sum16,
  superHeader,
} from "./twin.js";
import { collector, LOOPBACK, sender, socket } from "./wire.js";

const lab = new Lab();
afterEach(() => lab.cleanUp());

const TCPV4 = 1;
const TCPV6 = 4;
const UDP_L4 = 5;
const ECN = 0x80;
const NO_HEADER = Buffer.alloc(10);
const TIMESTAMP = Uint8Array.from([1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6]);

describe.each([false, true])("datagrams, gro %s", (gro) => {
  it("arrive in order, byte for byte, with room before them and their peer", async () => {
    const from = sender(lab);
    const to = collector(lab);
    to.io.arena.fill(0xff);
    const udp = socket(lab, { gro });
    const port = to.io.addUdp(udp);
    const lengths = [...Array(200).fill(64), 1, 1400, 1400, 900, 1400, 65507, 20, 20, 21, 64, 64];
    const sent = lengths.map((length, i) => ({ bytes: payload(length, i) }));
    from.send(sent, udp.port);
    await until(() => to.frames.length >= sent.length, "the datagrams");
    to.frames.forEach((frame, i) => {
      expect(frame.bytes.equals(sent[i]!.bytes)).toBe(true);
      expect(frame).toMatchObject({
        port,
        peerAddress: LOOPBACK,
        peerPort: from.localPort,
        header: NO_HEADER,
      });
      expect(frame.gap).toBeGreaterThanOrEqual(HEADROOM_BYTES);
    });
    const bytes = lengths.reduce((sum, length) => sum + length, 0);
    expect(from.stats()).toMatchObject({ txFrames: sent.length, txBytes: bytes, txDropped: 0, txErrors: 0 });
    expect(to.io.ioStats(port)).toMatchObject({ rxFrames: sent.length, rxBytes: bytes, rxErrors: 0 });
    expect(to.batches.length).toBeLessThan(sent.length / 8);
  });
});

it("gives every port its turn in each batch", async () => {
  const from = sender(lab);
  const to = collector(lab, { budgetFrames: 16 });
  const [busy, quiet] = [socket(lab), socket(lab)];
  const busyPort = to.io.addUdp(busy);
  const quietPort = to.io.addUdp(quiet);
  from.send(
    Array.from({ length: 300 }, (_, i) => ({ bytes: payload(100, i) })),
    busy.port,
  );
  from.send([{ bytes: payload(10) }], quiet.port);
  await until(() => to.frames.length === 301, "all frames");
  const first = to.frames.slice(0, to.batches[0]);
  expect(first.filter((f) => f.port === quietPort)).toHaveLength(1);
  expect(first.filter((f) => f.port === busyPort)).toHaveLength(16);
});

it("completes an unfinished checksum, once for several ports", async () => {
  const from = sender(lab);
  const to = collector(lab);
  const udp = socket(lab);
  to.io.addUdp(udp);
  for (const protocol of ["tcp", "udp"] as const) {
    for (const length of [1, 2, 33, 1399]) {
      const right = packet({ payload: payload(length), protocol });
      const unfinished = Buffer.from(right);
      const header = superHeader(unfinished, 0, 0);
      expect(unfinished.equals(right)).toBe(false);
      to.frames.length = 0;
      from.send([{ bytes: unfinished, header }], udp.port);
      from.io.flush(1);
      await until(() => to.frames.length === 2, "two copies");
      for (const frame of to.frames) expect(frame.bytes.equals(right)).toBe(true);
    }
  }
});

it("sums any length from any place as the slow twin does", async () => {
  const from = sender(lab);
  const to = collector(lab);
  const udp = socket(lab);
  to.io.addUdp(udp);
  const lengths = [...Array.from({ length: 300 }, (_, i) => i + 2), 1447, 1448, 1449, 8191, 65506, 65507];
  const sent = lengths.map((length, i) => {
    const bytes = Buffer.from(i % 5 === 0 ? new Uint8Array(length).fill(0xff) : payload(length, i));
    const checksumStart = i % Math.min(70, length - 1);
    const checksumOffset = (i >> 1) % Math.min(20, length - checksumStart - 1);
    const header = encodeVnet({
      flags: 1,
      gsoType: 0,
      headerLength: 0,
      gsoSize: 0,
      checksumStart,
      checksumOffset,
    });
    const expected = Buffer.from(bytes);
    const sum = ~sum16(bytes.subarray(checksumStart)) & 0xffff;
    expected.writeUInt16BE(sum || 0xffff, checksumStart + checksumOffset);
    return { bytes, header, expected };
  });
  from.send(sent, udp.port);
  await until(() => to.frames.length === sent.length, "the datagrams");
  for (const [i, { expected }] of sent.entries()) expect(to.frames[i]!.bytes.equals(expected)).toBe(true);
});

it("sends all ones for a UDP checksum of zero (RFC 768)", async () => {
  const from = sender(lab);
  const to = collector(lab);
  const udp = socket(lab);
  to.io.addUdp(udp);
  const p = packet({ payload: new Uint8Array(2), protocol: "udp" });
  p.set(p.subarray(26, 28), 28);
  finishChecksums(p);
  expect(p.readUInt16BE(26)).toBe(0xffff);
  const unfinished = Buffer.from(p);
  from.send([{ bytes: unfinished, header: superHeader(unfinished, 0, 0) }], udp.port);
  await until(() => to.frames.length === 1, "the datagram");
  expect(to.frames[0]!.bytes.equals(p)).toBe(true);
});

describe("segmentation is what the slow twin does", () => {
  it.each([
    [
      "TCP over IPv4",
      TCPV4,
      1448,
      { payload: payload(64000), tcpOptions: TIMESTAMP, flags: 0x19, id: 65530 },
    ],
    ["TCP, sequence wrap, CWR", TCPV4 | ECN, 1000, { payload: payload(5001), seq: 0xfffffff0, flags: 0x98 }],
    ["TCP, more than one send can hold", TCPV4, 1400, { payload: payload(65483), tcpOptions: TIMESTAMP }],
    ["TCP, hundreds of segments", TCPV4, 101, { payload: payload(60007) }],
    ["TCP, one segment", TCPV4, 1448, { payload: payload(300), flags: 0x18 }],
    ["TCP over IPv6", TCPV6, 1428, { payload: payload(40001), v6: true, flags: 0x18 }],
    ["UDP", UDP_L4, 1200, { payload: payload(30010), protocol: "udp" }],
    ["UDP over IPv6", UDP_L4, 999, { payload: payload(30010), protocol: "udp", v6: true }],
  ] as const)("%s", async (_, gsoType, gsoSize, spec) => {
    const from = sender(lab);
    const to = collector(lab);
    const udp = socket(lab);
    to.io.addUdp(udp);
    const superPacket = packet(spec);
    const expected = segments(superPacket, gsoSize);
    const header = superHeader(superPacket, gsoType, gsoSize);
    const original = Buffer.from(superPacket);
    // Three in one flush also pass the limits of the addon's tables.
    from.send(
      [1, 2, 3].map(() => ({ bytes: superPacket, header })),
      udp.port,
    );
    expect(superPacket.equals(original)).toBe(true);
    await until(() => to.frames.length >= 3 * expected.length, "the segments");
    expect(to.frames).toHaveLength(3 * expected.length);
    to.frames.forEach((frame, i) => {
      expect(frame.bytes.equals(expected[i % expected.length]!)).toBe(true);
    });
    const stats = from.stats();
    expect(stats).toMatchObject({ txFrames: 3, txBytes: 3 * superPacket.length, txErrors: 0, txDropped: 0 });
    expect(stats.txSegments).toBe(3 * expected.length);
  });

  it("refuses a header that does not fit its frame", async () => {
    const from = sender(lab);
    const tcp = packet({ payload: payload(3000) });
    const good = superHeader(tcp, TCPV4, 1000);
    const broken = (at: number, value: number) => {
      const header = Buffer.from(good);
      header.writeUInt8(value, at);
      return header;
    };
    const noSize = Buffer.from(good);
    noSize.writeUInt16LE(0, 4);
    const headers = [
      broken(1, TCPV6),
      broken(1, UDP_L4),
      broken(1, 77),
      broken(6, 24),
      broken(7, 99),
      noSize,
    ];
    from.send(
      headers.map((header) => ({ bytes: tcp, header })),
      from.localPort,
    );
    from.send([{ bytes: tcp.subarray(0, 40), header: good }], from.localPort);
    const checksumOnly = broken(1, 0);
    checksumOnly.writeUInt16LE(5000, 8);
    from.send([{ bytes: tcp, header: checksumOnly }], from.localPort);
    expect(from.stats()).toMatchObject({ txFrames: 0, txSegments: 0, txErrors: headers.length + 2 });
  });
});

describe("merging", () => {
  const first = { payload: payload(1000, 1), tcpOptions: TIMESTAMP, id: 10, seq: 5000 };
  const next = { payload: payload(1000, 2), tcpOptions: TIMESTAMP, id: 11, seq: 6000 };

  /** Sends the packets to a merging port; returns what it delivers. */
  async function through(packets: Buffer[], gro: boolean, frames: number) {
    const from = sender(lab);
    const to = collector(lab);
    const udp = socket(lab, { gro, merge: true });
    const port = to.io.addUdp(udp);
    from.send(
      packets.map((bytes) => ({ bytes })),
      udp.port,
    );
    const arrived = () => to.frames.length + to.io.ioStats(port)!.rxMerged;
    await until(() => arrived() >= packets.length, "the packets");
    expect(to.frames).toHaveLength(frames);
    return to.frames;
  }

  it.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])("restores the super-packet, gro %s, IPv6 %s", async (gro, v6) => {
    for (const [length, flags] of [
      [40000, 0x18],
      [1500, 0x10],
      [64000, 0x10],
    ] as const) {
      const whole = packet({ payload: payload(length), tcpOptions: TIMESTAMP, flags, id: 65533, v6 });
      const [frame] = await through(segments(whole, 1400), gro, 1);
      const header = superHeader(whole, v6 ? TCPV6 : TCPV4, 1400);
      expect(frame!.bytes.equals(whole)).toBe(true);
      expect(frame!.header.equals(header)).toBe(true);
      lab.cleanUp();
    }
  });

  it("restores segments of any size, and drops none of a damaged run", async () => {
    for (const size of [1, 3, 60, 61, 64, 127, 129, 536, 1011, 1399]) {
      const whole = packet({ payload: payload(size * 30 + 1, size), id: 5 });
      const [frame] = await through(segments(whole, size), true, 1);
      superHeader(whole, TCPV4, size);
      expect(frame!.bytes.equals(whole)).toBe(true);
      const damaged = segments(whole, size);
      damaged[7]![40 + (size >> 1)]! ^= 0x10;
      const frames = await through(damaged, true, 3);
      expect(frames[1]!.bytes.equals(damaged[7]!)).toBe(true);
      expect(frames[0]!.bytes.subarray(40).equals(whole.subarray(40, 40 + 7 * size))).toBe(true);
      expect(frames[2]!.bytes.subarray(40).equals(whole.subarray(40 + 8 * size))).toBe(true);
      lab.cleanUp();
    }
  });

  it("stops at 65,535 bytes and begins anew", async () => {
    const whole = packet({ payload: payload(1400 * 46) });
    const more = packet({ payload: payload(1400), seq: 1000 + 1400 * 46, id: 47 });
    const frames = await through([...segments(whole, 1400), more], true, 2);
    expect(frames[0]!.bytes).toHaveLength(40 + 1400 * 46);
    expect(frames[1]!.bytes.equals(more)).toBe(true);
    expect(frames[1]!.header.equals(NO_HEADER)).toBe(true);
  });

  it("keeps interleaved flows apart and merges a stationary id under DF", async () => {
    const other = packet({ ...first, sourcePort: 2 });
    await through([packet(first), other, packet(next)], false, 3);
    const still = packet({ ...next, id: 10 });
    await through([packet(first), still, packet({ ...next, id: 10, seq: 7000 })], false, 1);
    await through([packet(first), still, packet({ ...next, id: 12, seq: 7000 })], false, 2);
  });

  it("ends at PSH, which the super-packet carries", async () => {
    const last = packet({ ...next, flags: 0x18 });
    const after = packet({ ...next, seq: 7000, id: 12 });
    const frames = await through([packet(first), last, after], false, 2);
    expect(frames[0]!.bytes[33]).toBe(0x18);
    expect(frames[0]!.bytes.readUInt16BE(36)).toBe(
      pseudoSum(frames[0]!.bytes, 6, frames[0]!.bytes.length - 20),
    );
    expect(frames[1]!.bytes.equals(after)).toBe(true);
  });

  const damaged = packet(next);
  damaged[200] = damaged[200]! ^ 1;
  const damagedHeader = packet(next);
  damagedHeader[10] = damagedHeader[10]! ^ 1;
  const damagedFirst = packet(first);
  damagedFirst[200] = damagedFirst[200]! ^ 1;
  const damagedV6 = packet({ ...next, v6: true });
  damagedV6[70] = damagedV6[70]! ^ 1;
  const fragment = packet(next);
  fragment[6] = 0x20;
  finishChecksums(fragment);
  const padded = Buffer.concat([packet(next), Buffer.alloc(2)]);
  it.each([
    ["a gap", packet(first), packet({ ...next, seq: 6001 })],
    ["another window", packet(first), packet({ ...next, window: 501 })],
    ["another acknowledgement", packet(first), packet({ ...next, ack: 78 })],
    ["another timestamp", packet(first), packet({ ...next, tcpOptions: TIMESTAMP.map((b) => b + 1) })],
    ["other options", packet(first), packet({ ...next, tcpOptions: new Uint8Array(0) })],
    ["another TTL", packet(first), packet({ ...next, ttl: 63 })],
    ["another TOS", packet(first), packet({ ...next, tos: 2 })],
    ["another source", packet(first), packet({ ...next, source: 0x0a000009 })],
    ["a larger segment", packet(first), packet({ ...next, payload: payload(1001) })],
    ["an id that jumps", packet(first), packet({ ...next, id: 12 })],
    [
      "a stationary id without DF",
      packet({ ...first, dontFragment: false }),
      packet({ ...next, id: 10, dontFragment: false }),
    ],
    ["FIN", packet(first), packet({ ...next, flags: 0x11 })],
    ["a pure acknowledgement", packet(first), packet({ ...next, payload: new Uint8Array(0) })],
    ["PSH on the first", packet({ ...first, flags: 0x18 }), packet(next)],
    ["a damaged segment", packet(first), damaged],
    ["a damaged IP header", packet(first), damagedHeader],
    ["a damaged first", damagedFirst, packet(next)],
    ["a fragment", packet(first), fragment],
    ["padding", packet(first), padded],
    ["IPv6 after IPv4", packet(first), packet({ ...next, v6: true })],
    ["another hop limit", packet({ ...first, v6: true }), packet({ ...next, v6: true, ttl: 63 })],
    ["another traffic class", packet({ ...first, v6: true }), packet({ ...next, v6: true, tos: 2 })],
    ["another IPv6 source", packet({ ...first, v6: true }), packet({ ...next, v6: true, source: 9 })],
    ["another IPv6 port", packet({ ...first, v6: true }), packet({ ...next, v6: true, sourcePort: 9 })],
    ["a gap in IPv6", packet({ ...first, v6: true }), packet({ ...next, v6: true, seq: 6001 })],
    ["a damaged IPv6 segment", packet({ ...first, v6: true }), damagedV6],
  ])("leaves alone: %s", async (_, a, b) => {
    const frames = await through([a, b], false, 2);
    expect(frames.map((f) => f.bytes)).toEqual([a, b]);
    expect(frames.map((f) => f.header)).toEqual([NO_HEADER, NO_HEADER]);
  });
});
