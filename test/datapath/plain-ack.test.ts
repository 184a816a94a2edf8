/** The short case of TCP tracking against the whole: the same segments through both, and the same words after each. */
import { describe, expect, it } from "vitest";
import { Conntrack } from "../../src/datapath/conntrack/conntrack.js";
import { PROTO_WORDS } from "../../src/datapath/conntrack/proto-words.js";
import { Tcp } from "../../src/datapath/conntrack/tcp-record.js";
import type { ConntrackOptions } from "../../src/datapath/index.js";
import { Packet } from "../../src/datapath/packet.js";
import { buildTcp, TcpFlag } from "../../src/wire/index.js";
import { ip, seededRandom } from "./harness.js";

const FRAME = 64;
const HEADER = FRAME + 20;
const [CLIENT, SERVER] = [ip("10.1.0.1"), ip("10.1.0.2")];
const PORTS = (40_000 << 16) | 80;
const STEPS = 20_000;
const { syn, ack, psh } = TcpFlag;

type Random = () => number;
const pick = <T>(random: Random, values: readonly T[]): T => values[Math.floor(random() * values.length)];

/** A connection table with one connection, whose words can be seen. */
class Side {
  readonly bytes = new Uint8Array(FRAME + 128);
  readonly conntrack: Conntrack;
  readonly #packet = new Packet(this.bytes);

  constructor(options: ConntrackOptions) {
    this.conntrack = new Conntrack(seededRandom(1), { max: 4, ...options });
    this.conntrack.setTime(0);
  }

  get records(): Int32Array {
    return (this.conntrack as unknown as { protoWords: Int32Array }).protoWords;
  }

  /** Puts a handshake through, with window scales. */
  open(start: number, scales: readonly number[]): void {
    const [from, to] = [start, start + 1000];
    this.#put(0, syn, from, 0, scales[0]);
    this.#put(1, syn | ack, to, from + 1, scales[1]);
    this.#put(0, ack, from + 1, to + 1);
    this.#put(0, ack | psh, from + 1, to + 1);
  }

  reference(direction: number): number {
    const turned = (PORTS << 16) | (PORTS >>> 16);
    const { settled } = this.conntrack;
    return direction === 0
      ? settled.find(6, CLIENT | 0, SERVER | 0, PORTS | 0)
      : settled.find(6, SERVER | 0, CLIENT | 0, turned);
  }

  words(): number[] {
    return [...this.conntrack.words, ...this.records];
  }

  #put(direction: number, flags: number, seq: number, ackNumber: number, scale?: number): void {
    const [src, dst] = direction === 0 ? [CLIENT, SERVER] : [SERVER, CLIENT];
    const [sport, dport] = direction === 0 ? [PORTS >>> 16, 80] : [80, PORTS >>> 16];
    const options = scale === undefined ? undefined : Uint8Array.of(3, 3, scale, 4, 2, 0, 0, 0);
    const fields = { src, dst, sport, dport, flags, seq: seq >>> 0, ack: ackNumber >>> 0, options };
    const length = buildTcp(this.bytes, FRAME, { ...fields, window: 5000 });
    this.#packet.begin(undefined, FRAME, 0, 0);
    if (!this.#packet.parse(FRAME, length)) throw new Error("not a packet");
    expect(this.conntrack.track(this.#packet)).toBe(this.conntrack.confirm(this.#packet));
  }
}

interface Segment {
  readonly direction: number;
  readonly seq: number;
  readonly ack: number;
  readonly window: number;
  readonly payload: number;
}

/** Near what the record says is the edge of something, mostly; a repeat now and then. */
function segment(random: Random, records: Int32Array, at: number, last: Segment | undefined): Segment {
  if (last !== undefined && random() < 0.2) return last;
  const direction = random() < 0.5 ? 0 : 1;
  const near = (word: number) =>
    (records[at + word] + pick(random, [0, 0, 0, 0, 1, -1, 7, -1448, 70_000, -70_000, 1 << 31])) | 0;
  const payload = pick(random, [0, 0, 1, 1448, 65_000]);
  const seq =
    random() < 0.8
      ? near(Tcp.end + direction)
      : (near(pick(random, [Tcp.maxEnd + direction, Tcp.end + direction])) - payload) | 0;
  const window = pick(random, [0, 1, 500, 500, 501, 65_535]);
  return { direction, seq, ack: near(Tcp.end + 1 - direction), window, payload };
}

/** Something that hardly any traffic brings about. */
function poke(random: Random, sides: readonly Side[]): void {
  const word = Math.floor(random() * PROTO_WORDS);
  const bit = 1 << Math.floor(random() * 32);
  const window = word === Tcp.maxWindow || word === Tcp.maxWindow + 1;
  const value = window ? pick(random, [0, 1, 5000, 1 << 30, 1 << 31, -1]) : undefined;
  for (const { records } of sides) records[PROTO_WORDS + word] = value ?? records[PROTO_WORDS + word] ^ bit;
}

describe("a plain acknowledgement on the short way", () => {
  it.each([
    { seed: 1, options: {} },
    { seed: 2, options: { tcpMaxRetrans: 0 } },
    { seed: 3, options: { tcpBeLiberal: true, tcpMaxRetrans: 255 } },
    { seed: 4, options: { timeouts: { tcpEstablished: 100 } } },
  ])("leaves what the whole way leaves, seed $seed", ({ seed, options }) => {
    const random = seededRandom(seed);
    let taken = 0;
    let refused = 0;
    let pair: readonly Side[] = [];
    let last: Segment | undefined;
    for (let step = 0; step < STEPS; step++) {
      if (step % 200 === 0) {
        pair = [new Side(options), new Side(options)];
        const start = pick(random, [1, 2 ** 31 - 500, 2 ** 32 - 500]);
        const scales = [Math.floor(random() * 15), Math.floor(random() * 15)];
        for (const side of pair) side.open(start, scales);
      }
      if (random() < 0.02) poke(random, pair);
      const [short, whole] = pair;
      const next = segment(random, whole.records, PROTO_WORDS, last);
      last = next;
      const now = random() * 1000;
      for (const { conntrack } of pair) conntrack.setTime(now);
      const reference = whole.reference(next.direction);
      expect(reference).not.toBe(0);
      const length = 40 + next.payload;
      const before = short.words();
      const took = short.conntrack.settled.touchAck(
        short.reference(next.direction),
        next.seq,
        next.ack,
        next.window,
        length,
        next.payload,
      );
      if (!took) expect(short.words()).toEqual(before);
      const touch = ({ conntrack, bytes }: Side) =>
        conntrack.touchTcp(
          reference,
          ack | psh,
          next.seq,
          next.ack,
          next.window,
          bytes,
          HEADER,
          20,
          length,
          next.payload,
        );
      const passes = touch(whole);
      if (took) {
        taken++;
        expect(passes).toBe(true);
      } else {
        refused++;
        expect(touch(short)).toBe(passes);
      }
      expect(short.words()).toEqual(whole.words());
    }
    expect(taken).toBeGreaterThan(STEPS / 4);
    expect(refused).toBeGreaterThan(STEPS / 20);
  });
});
