/**
 * Valid TCP is not refused: two ends that keep to the rules, with loss, reordering and repeats on both sides of the
 * node, all window scales, and sequence numbers that wrap. Seeded; TCP_CONNECTIONS=400 makes it long, TCP_SEED chooses
 * others. One thing is refused, as by the kernel (test/interop/conntrack.test.ts holds both against each other): when a
 * SYN is repeated behind data and answered again, conntrack forgets the data, and refuses acknowledgements of it until
 * more comes. It must do no harm: the connection has to come to its end.
 */
import { describe, expect, it } from "vitest";
import { Conntrack } from "../../src/datapath/conntrack/conntrack.js";
import { Packet } from "../../src/datapath/packet.js";
import { CONTINUE, VERDICTS } from "../../src/datapath/verdicts.js";
import { buildTcp } from "../../src/wire/index.js";
import { ip, seededRandom } from "./harness.js";
import { TalkEnd, type TalkSegment } from "./tcp-talk.js";

const FRAME = 64;
const A = { src: ip("10.0.0.1"), dst: ip("10.0.0.2"), sport: 4000, dport: 80 };
const B = { src: A.dst, dst: A.src, sport: A.dport, dport: A.sport };
const MAX_STEPS = 100_000;
const ACK = 16;

/** The node in the middle. */
class Middle {
  readonly #bytes = new Uint8Array(FRAME + 70_000);
  readonly #packet = new Packet(this.#bytes);
  readonly conntrack = new Conntrack(seededRandom(1));
  #nowMs = 0;

  get state(): string | undefined {
    const [record] = this.conntrack.records();
    return record?.state;
  }

  /** What it says of a segment; empty when it lets it pass. */
  judge(segment: TalkSegment, fromB: boolean): string {
    const { payloadBytes, ...fields } = segment;
    const payload = this.#bytes.subarray(0, payloadBytes).slice().fill(0);
    const length = buildTcp(this.#bytes, FRAME, { ...(fromB ? B : A), ...fields, payload });
    this.#bytes.fill(0, 0, FRAME);
    this.#packet.begin(undefined, FRAME, 0, this.#nowMs++);
    this.conntrack.setTime(this.#nowMs);
    if (!this.#packet.parse(FRAME, length)) return "malformed";
    const verdict = this.conntrack.track(this.#packet);
    const confirmed = verdict === CONTINUE ? this.conntrack.confirm(this.#packet) : verdict;
    return confirmed === CONTINUE ? "" : VERDICTS[confirmed].reason;
  }
}

/** Connections that were set back. */
let setBack = 0;

/** Carries a whole connection; returns the bytes that A sent. */
function carry(seed: number): number {
  const random = seededRandom(seed);
  const scale = () => Math.floor(random() * 16) - 1;
  const start = () => 2 ** 32 - 1 - Math.floor(random() * 3_000_000);
  const [bytesA, bytesB] = [Math.floor(random() * 6_000_000), Math.floor(random() * 300_000)];
  const [loss, disorder] = [random() * 0.15, random() * 0.5];
  const ends = [
    new TalkEnd(random, bytesA, Math.min(scale(), 14), start()),
    new TalkEnd(random, bytesB, Math.min(scale(), 14), start()),
  ];
  const middle = new Middle();
  let isSetBack = false;
  /** How far A's data has come. */
  let furthest: number | undefined;
  /** To the middle, and from it, by sender. */
  const queues: TalkSegment[][] = [[], [], [], []];
  const enqueue = (queue: number, segment: TalkSegment | undefined) => {
    if (segment !== undefined && random() >= loss) queues[queue].push(segment);
  };
  const dequeue = (queue: TalkSegment[]) =>
    queue.splice(random() < disorder ? Math.floor(random() * Math.min(queue.length, 20)) : 0, 1)[0];

  enqueue(0, ends[0].open());
  for (let step = 0; step < MAX_STEPS; step++) {
    const full = queues.findIndex((queue) => queue.length > 50);
    const at = full >= 0 ? full : Math.floor(random() * 4);
    const sender = at & 1;
    if (random() < 0.3 && full < 0) enqueue(sender, ends[sender].send(random() < 0.2));
    else if (queues[at].length > 0) {
      const segment = dequeue(queues[at]);
      if (at >= 2) enqueue(1 - sender, ends[1 - sender].receive(segment));
      else {
        const before = middle.state;
        const refused = middle.judge(segment, sender === 1);
        // A connection was open, and a SYN-ACK made it begin anew: what A had sent is forgotten until it comes again.
        if (before === "ESTABLISHED" && middle.state === "SYN_RECV") {
          isSetBack = true;
          setBack++;
        }
        if (sender === 0 && refused === "") {
          const end = segment.seq + segment.payloadBytes;
          if (furthest === undefined || ((end - furthest) | 0) >= 0) {
            furthest = end;
            isSetBack = false;
          }
        }
        const { flags, seq, ack, window, payloadBytes } = segment;
        if (refused !== "" && isSetBack && segment.flags === ACK && sender === 1) continue;
        if (refused !== "") {
          throw new Error(
            `seed ${seed}: ${refused} in ${middle.state}: ${JSON.stringify({ sender, flags, seq, ack, window, payloadBytes })}`,
          );
        }
        enqueue(2 + sender, segment);
      }
    }
    if (ends[0].done && ends[1].done) return bytesA;
  }
  throw new Error(`seed ${seed}: the connection did not come to its end`);
}

describe("valid TCP", () => {
  it.each([1, 2, 3, 4])("passes, whatever happens to it on the way (%i)", (part) => {
    let bytes = 0;
    const first = Number(process.env.TCP_SEED ?? 0) + part;
    const [count, base] = [Number(process.env.TCP_CONNECTIONS ?? 40), first * 1_000_000];
    for (let i = 0; i < count; i++) bytes += carry(base + i);
    expect(bytes).toBeGreaterThan(count * 1_000_000);
  });

  it("passes again after a SYN repeated behind data set the connection back", () => {
    const before = setBack;
    expect(carry(1_000_295)).toBeGreaterThan(0);
    expect(setBack).toBeGreaterThan(before);
  });
});
