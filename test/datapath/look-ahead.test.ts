/** Frames in batches against the same one by one: looking ahead may change when memory is read, and nothing else. */
import { Field } from "tun-tap-ts";
import { describe, expect, it } from "vitest";
import { Conntrack } from "../../src/datapath/conntrack/conntrack.js";
import { FrameField, LOOK_AHEAD_FRAMES } from "../../src/datapath/conntrack/look-ahead.js";
import { TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";

const STRIDE = 5;
const SLOT_BYTES = 512;
const FRAME_AT = 256;
const BATCHES = 150;
const TCP = 6;
const UDP = 17;
const NOBODY = 99;

interface Frame {
  readonly port: number;
  readonly bytes: Uint8Array;
}

/** A node that gets frames in both ways, and notes what leaves as it is when it leaves. */
class Node extends h.Harness {
  readonly left: string[] = [];

  constructor() {
    const services = new h.TableServices();
    const left: string[] = [];
    const sink = {
      send: (port: number, offset: number, length: number, peer: number) => {
        const bytes = this.arena.subarray(offset - h.VNET, offset + length);
        left.push(`${port} ${peer} ${Buffer.from(bytes).toString("hex")}`);
      },
    };
    super({ sink }, services);
    this.left = left;
    for (const protocol of [TCP, UDP]) services.put(protocol, h.VIP, 80, { ip: h.REMOTE_POD, port: 8080 });
  }

  /** Puts the frames in, all at once or one by one. */
  take(frames: readonly Frame[], atOnce: boolean): void {
    this.nowMs += 10;
    this.datapath.beginBatch(this.nowMs);
    const table = new Int32Array(frames.length * STRIDE);
    frames.forEach(({ port, bytes }, i) => {
      const at = i * SLOT_BYTES + FRAME_AT;
      this.arena.fill(0, at - FRAME_AT, at + FRAME_AT);
      this.arena.set(bytes, at);
      table.set([port, at, bytes.length, port === h.Id.overlay ? h.PEER_2 : 0], i * STRIDE);
    });
    if (atOnce) this.datapath.receiveAll(table, STRIDE, frames.length);
    else
      for (let at = 0; at < table.length; at += STRIDE)
        this.datapath.receive(table[at], table[at + 1], table[at + 2], table[at + 3]);
  }

  state() {
    const { datapath, left } = this;
    return {
      left: left.splice(0),
      counters: datapath.status().counters,
      records: datapath.conntrackRecords(),
    };
  }
}

/** Frames of a few connections that come, go and come again, and some that are none. */
function frame(random: () => number): Frame {
  const some = (count: number) => Math.floor(random() * count);
  const sport = 1000 + some(20);
  const flags = [TcpFlag.ack, TcpFlag.ack, TcpFlag.ack, TcpFlag.syn, TcpFlag.rst, TcpFlag.fin | TcpFlag.ack];
  const isReply = random() < 0.4;
  const isTcp = random() < 0.6;
  const isFirst = random() < 0.3;
  const link = [...h.BRIDGE_MAC, ...h.MAC_A, 8, 0];
  const ends = isReply
    ? { src: h.REMOTE_POD, dst: h.POD_A, sport: 8080, dport: sport }
    : { src: h.POD_A, dst: h.VIP, sport, dport: 80 };
  const answer = isFirst ? TcpFlag.syn | TcpFlag.ack : TcpFlag.ack;
  const tcp = {
    ...ends,
    flags: isReply ? answer : flags[some(flags.length)],
    payload: new Uint8Array(some(9)),
  };
  const packet = isTcp ? h.tcp(tcp) : h.udp({ ...ends, payload: new Uint8Array(some(9)) });
  const whole = Uint8Array.from(isReply ? packet : [...link, ...packet]);
  const bytes = random() < 0.1 ? whole.slice(0, some(whole.length)) : whole;
  if (random() < 0.05 && bytes.length > 0) bytes[some(bytes.length)] ^= 1 << some(8);
  return { port: random() < 0.02 ? NOBODY : isReply ? h.Id.overlay : h.Id.podA, bytes };
}

describe("a batch", () => {
  it.each([1, 2, 3])("is handled as its frames are one by one, seed %i", (seed) => {
    const random = h.seededRandom(seed);
    const [atOnce, oneByOne] = [new Node(), new Node()];
    let settled = 0;
    for (let i = 0; i < BATCHES; i++) {
      const frames = Array.from({ length: Math.floor(random() * 3 * LOOK_AHEAD_FRAMES) }, () =>
        frame(random),
      );
      atOnce.take(frames, true);
      oneByOne.take(frames, false);
      const expected = oneByOne.state();
      expect(atOnce.state()).toEqual(expected);
      settled += expected.records.length;
      if (random() < 0.1)
        for (const { datapath } of [atOnce, oneByOne]) datapath.deleteConntrack({ protocol: TCP });
    }
    expect(settled).toBeGreaterThan(BATCHES);
    expect(atOnce.count("forward")).toBeGreaterThan(BATCHES);
  });

  it("is a table as the addon makes it", () => {
    const { port, offset, length, peerAddress } = Field;
    expect(FrameField).toEqual({ port, offset, length, peer: peerAddress });
  });
});

describe("looking ahead", () => {
  const open = (bytes: Uint8Array) => {
    const arena = new Uint8Array(256);
    arena.set(bytes, arena.length - bytes.length);
    const { look, hints } = new Conntrack(() => 0.5, { max: 100 }).lookAhead(arena);
    const count = LOOK_AHEAD_FRAMES;
    hints.fill(7);
    const entry = [h.Id.podA, arena.length - bytes.length, bytes.length, 0, 0];
    look(Int32Array.from(Array.from({ length: count }, () => entry).flat()), 0, STRIDE, count);
    return [...hints];
  };

  it.each([0, 0x45])("reads nothing beyond a short frame at the end of the arena, first byte %i", (first) => {
    for (let length = 0; length < 64; length++) {
      const bytes = new Uint8Array(length);
      bytes.fill(first, 0, 1);
      expect(open(bytes), `${length} bytes`).toEqual(new Array(LOOK_AHEAD_FRAMES).fill(0));
    }
  });
});
