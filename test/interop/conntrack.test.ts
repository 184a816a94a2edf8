/**
 * Conntrack against the kernel's: random segments through both, and after each the same verdict, state, time-out and
 * flags. Whatever one calls invalid the other must.
 */
import { describe, expect, it } from "vitest";
import { Conntrack } from "../../src/datapath/conntrack/conntrack.js";
import type { ConntrackOptions } from "../../src/datapath/index.js";
import { Packet } from "../../src/datapath/packet.js";
import { CONTINUE } from "../../src/datapath/verdicts.js";
import { buildSctp, buildTcp, SctpChunk, type SctpChunkFields, TcpFlag } from "../../src/wire/index.js";
import { seededRandom } from "../datapath/harness.js";
import { CLIENT, KernelConntrack, type KernelEntry, SERVER, whyNoKernel } from "./kernel-conntrack.js";

const reason = whyNoKernel();
if (reason !== undefined) console.log(`skipped: the kernel's conntrack as an oracle ${reason}`);
const FRAME = 64;
const TCP_CONNECTIONS = 150;
const SCTP_CONNECTIONS = 100;
const STEPS = 30;
const FIRST_PORT = 10_000;

/** Podwire's conntrack alone, one packet after another. */
class Ours {
  readonly #bytes = new Uint8Array(FRAME + 4096);
  readonly #packet = new Packet(this.#bytes);
  readonly #conntrack: Conntrack;

  constructor(options: ConntrackOptions = {}) {
    this.#conntrack = new Conntrack(seededRandom(1), options);
  }

  passes(packet: Uint8Array): boolean {
    this.#bytes.fill(0);
    this.#bytes.set(packet, FRAME);
    const now = performance.now();
    this.#conntrack.setTime(now);
    this.#packet.begin(undefined, FRAME, 0, now);
    if (!this.#packet.parse(FRAME, packet.length)) throw new Error("not a packet");
    const verdict = this.#conntrack.track(this.#packet);
    return verdict === CONTINUE && this.#conntrack.confirm(this.#packet) === CONTINUE;
  }

  entry(sport: number): KernelEntry | undefined {
    const record = [...this.#conntrack.records()].find(
      ({ original }) => original.sport === sport || original.dport === sport,
    );
    if (record === undefined) return undefined;
    const { timeoutSeconds, assured, unreplied } = record;
    const protocol = record.protocol === 6 ? "tcp" : "sctp";
    return { protocol, timeoutSeconds, state: record.state ?? "", ports: [sport], assured, unreplied };
  }
}

interface Step {
  readonly packet: Uint8Array;
  readonly fromServer: boolean;
  readonly what: string;
}

type Random = () => number;
const pick = <T>(random: Random, values: readonly T[]): T => values[Math.floor(random() * values.length)];

const SEGMENTS = ["syn", "synAck", "ack", "ack", "ack", "ack", "fin", "rst"] as const;
type SegmentName = (typeof SEGMENTS)[number];

/** Two ends that mostly behave; what they send is sometimes lost on its way, late, or nonsense. */
class TcpTalk {
  readonly #next: number[];
  #step = 0;

  constructor(
    readonly random: Random,
    readonly sport: number,
  ) {
    // Close to the point where sequence numbers wrap.
    this.#next = [0, 1].map(() => (2 ** 32 - Math.floor(random() * 3000)) % 2 ** 32);
  }

  next(): Step {
    const { random } = this;
    const opening = [
      { direction: 0, name: "syn" },
      { direction: 1, name: "synAck" },
      { direction: 0, name: "ack" },
    ] as const;
    const planned = random() < 0.85 ? opening[this.#step] : undefined;
    this.#step++;
    const direction = planned?.direction ?? (random() < 0.5 ? 0 : 1);
    const name = planned?.name ?? pick(random, SEGMENTS);
    return this.#segment(direction, name);
  }

  #segment(direction: number, name: SegmentName): Step {
    const { random } = this;
    const { syn, ack, fin, rst, psh } = TcpFlag;
    const bits = { syn, synAck: syn | ack, ack: ack | (random() < 0.3 ? psh : 0), fin: fin | ack, rst };
    const flags = name === "rst" && random() < 0.5 ? rst | ack : bits[name];
    const payload = name === "ack" && random() < 0.6 ? Math.floor(random() * 1400) : 0;
    const seq = this.#about(this.#next[direction]);
    const acked = this.#about(this.#next[1 - direction]);
    const ackField = (flags & ack) !== 0 || random() < 0.5 ? acked : 0;
    const window = pick(random, [0, 1, 500, 1460, 8192, 64240, 65535]);
    const options = this.#options(flags, acked);
    const ends = direction === 0 ? { src: CLIENT, dst: SERVER } : { src: SERVER, dst: CLIENT };
    const ports = direction === 0 ? [this.sport, 80] : [80, this.sport];
    const bytes = new Uint8Array(4096);
    const length = buildTcp(bytes, 0, {
      ...ends,
      sport: ports[0],
      dport: ports[1],
      flags,
      seq,
      ack: ackField,
      window,
      options,
      payload: new Uint8Array(payload),
    });
    const end = (seq + payload + ((flags & syn) >> 1) + (flags & fin)) % 2 ** 32;
    if (seq === this.#next[direction]) this.#next[direction] = end;
    const what = `${direction === 0 ? ">" : "<"} ${name}${(flags & ack) !== 0 ? "." : ""} seq=${seq} ack=${ackField} win=${window} len=${payload} opt=${[...options]}`;
    return { packet: bytes.slice(0, length), fromServer: direction === 1, what };
  }

  /** Mostly right; else a little or far beside it. */
  #about(sequence: number): number {
    const { random } = this;
    const chance = random();
    if (chance < 0.7) return sequence;
    if (chance < 0.72) return 0;
    const reach = pick(random, [1, 2, 100, 1460, 66_000, 70_000, 10_000_000, 2 ** 31]);
    return (sequence + Math.round((random() * 2 - 1) * reach) + 2 ** 32) % 2 ** 32;
  }

  #options(flags: number, acked: number): Uint8Array {
    const { random } = this;
    const { syn } = TcpFlag;
    if ((flags & syn) !== 0) {
      const scale = Math.floor(random() * 16);
      return Uint8Array.from(
        pick(random, [
          [],
          [3, 3, scale, 1],
          [4, 2, 1, 1],
          [1, 3, 3, scale, 4, 2, 1, 0],
          [2, 4, 5, 180, 4, 2, 3, 3, scale, 1, 1, 1],
        ]),
      );
    }
    if (random() < 0.7) return new Uint8Array(0);
    const word = (value: number) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
    const left = (acked + Math.floor(random() * 1000)) % 2 ** 32;
    const right = (left + Math.floor(random() * 1000)) % 2 ** 32;
    const sack = [1, 1, 5, 10, ...word(left), ...word(right)];
    return Uint8Array.from(pick(random, [[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], sack]));
  }
}

/** The same for SCTP: chunks mostly in order, tags mostly right. */
class SctpTalk {
  readonly #tags: number[];
  readonly #order = [1, 2, 10, 11, 0, 3, 4, 5, 7, 8, 14];
  #step = 0;

  constructor(
    readonly random: Random,
    readonly sport: number,
  ) {
    this.#tags = [0, 1].map(() => 1 + Math.floor(random() * 2 ** 32 - 2));
  }

  next(): Step {
    const { random } = this;
    const isPlanned = random() < 0.75;
    const type = isPlanned ? this.#order[this.#step++ % this.#order.length] : Math.floor(random() * 17);
    const answers: number[] = [
      SctpChunk.initAck,
      SctpChunk.cookieAck,
      SctpChunk.sack,
      SctpChunk.heartbeatAck,
    ];
    const expected = answers.includes(type) || type === SctpChunk.shutdownAck ? 1 : 0;
    const direction = isPlanned ? expected : random() < 0.5 ? 0 : 1;
    const chunks: SctpChunkFields[] = [this.#chunk(type, direction)];
    if (random() < 0.15) chunks.push(this.#chunk(Math.floor(random() * 16), direction));
    const right = type === SctpChunk.init ? 0 : this.#tags[1 - direction];
    const tag = random() < 0.9 ? right : pick(random, [0, 1, this.#tags[direction]]);
    const ends = direction === 0 ? { src: CLIENT, dst: SERVER } : { src: SERVER, dst: CLIENT };
    const [sport, dport] = direction === 0 ? [this.sport, 80] : [80, this.sport];
    const bytes = new Uint8Array(512);
    const length = buildSctp(bytes, 0, { ...ends, sport, dport, tag, chunks });
    const what = `${direction === 0 ? ">" : "<"} tag=${tag} ${chunks.map(({ type, flags, value }) => `${type}/${flags}/${value?.slice(0, 4)}`)}`;
    return { packet: bytes.slice(0, length), fromServer: direction === 1, what };
  }

  #chunk(type: number, direction: number): SctpChunkFields {
    const { random } = this;
    const flags = random() < 0.2 ? 1 : 0;
    const value = new Uint8Array(type === SctpChunk.init || type === SctpChunk.initAck ? 16 : 4);
    const tag = this.#tags[direction];
    value.set([tag >>> 24, (tag >>> 16) & 255, (tag >>> 8) & 255, tag & 255]);
    return { type, flags, value };
  }
}

/**
 * A SYN repeated behind data, with a SYN-ACK behind it: conntrack takes that for a new beginning and sets the client's
 * side back, so that the acknowledgement of the data is out of window; until the client sends the data again, which sets
 * all right. What the middle refuses here is no more than a lost packet to the ends.
 */
class RepeatedSyn {
  readonly #segments: readonly (readonly [
    direction: 0 | 1,
    flags: number,
    seq: number,
    ack: number,
    bytes: number,
  ])[];
  #step = 0;

  constructor(readonly sport: number) {
    const { syn, ack } = TcpFlag;
    const opening = [0, syn, 100, 0, 0] as const;
    const answer = [1, syn | ack, 900, 101, 0] as const;
    const data = [0, ack, 101, 901, 1400] as const;
    const some = [0, ack, 101, 901, 100] as const;
    const acknowledged = [1, ack, 901, 1501, 0] as const;
    const setBack = [opening, answer, opening, data, answer, opening, answer];
    this.#segments = [...setBack, acknowledged, some, acknowledged, data, acknowledged];
  }

  get steps(): number {
    return this.#segments.length;
  }

  next(): Step {
    const [direction, flags, seq, ack, bytes] = this.#segments[this.#step++];
    const packet = new Uint8Array(2000);
    const length = buildTcp(packet, 0, {
      ...(direction === 0 ? { src: CLIENT, dst: SERVER } : { src: SERVER, dst: CLIENT }),
      ...(direction === 0 ? { sport: this.sport, dport: 80 } : { sport: 80, dport: this.sport }),
      ...{ flags, seq, ack, window: 29_200, payload: new Uint8Array(bytes) },
      options: Uint8Array.from((flags & TcpFlag.syn) !== 0 ? [1, 3, 3, 3, 1, 1, 4, 2] : []),
    });
    const what = `${direction === 0 ? ">" : "<"} flags=${flags} seq=${seq} ack=${ack} len=${bytes}`;
    return { packet: packet.slice(0, length), fromServer: direction === 1, what };
  }
}

type Talk = TcpTalk | SctpTalk | RepeatedSyn;

/** Sends everything through both; throws with the story of the connection at the first difference. */
async function compare(kernel: KernelConntrack, ours: Ours, protocol: string, talk: Talk): Promise<number> {
  const steps = "steps" in talk ? talk.steps : STEPS;
  const story: string[] = [];
  let invalid = 0;
  for (let i = 0; i < steps; i++) {
    const { packet, fromServer, what } = talk.next();
    const startMs = performance.now();
    const passesKernel = await kernel.passes(packet, fromServer);
    const passesOurs = ours.passes(packet);
    const theirs = (await kernel.entries(protocol)).find(({ ports }) => ports.includes(talk.sport));
    const mine = ours.entry(talk.sport);
    if (!passesKernel) invalid++;
    const show = (entry: KernelEntry | undefined) =>
      entry === undefined
        ? "no entry"
        : `${entry.state} ${entry.assured ? "assured " : ""}${entry.unreplied ? "unreplied" : ""}`;
    story.push(`${what} -> ${passesKernel ? "pass" : "INVALID"} ${show(theirs)} ${theirs?.timeoutSeconds}`);
    const differs = passesKernel !== passesOurs || show(theirs) !== show(mine);
    const seconds = Math.abs((theirs?.timeoutSeconds ?? 0) - (mine?.timeoutSeconds ?? 0));
    // Ours expires by the moment of its packet, the kernel's by that of the look; a busy machine makes that long.
    const slackSeconds = 2 + (performance.now() - startMs) / 1000;
    if (differs || seconds > slackSeconds) {
      throw new Error(
        `${story.join("\n")}\nours: ${passesOurs ? "pass" : "INVALID"} ${show(mine)} ${mine?.timeoutSeconds}`,
      );
    }
  }
  return invalid;
}

/** Talks through both, one connection after another; how many packets the kernel called invalid. */
async function compareAll(
  options: ConntrackOptions,
  sysctls: Readonly<Record<string, number>>,
  protocol: string,
  talks: readonly Talk[],
): Promise<number> {
  const kernel = new KernelConntrack(`podwire-ct-${process.pid}`, sysctls);
  try {
    const ours = new Ours(options);
    let invalid = 0;
    for (const talk of talks) invalid += await compare(kernel, ours, protocol, talk);
    return invalid;
  } finally {
    await kernel.close();
  }
}

const seed = (otherwise: number) => Number(process.env.SEED ?? otherwise);
const several = <T>(count: number, make: (sport: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(FIRST_PORT + i));

describe.skipIf(reason !== undefined)("the kernel's conntrack and ours agree", () => {
  it("on TCP", async () => {
    const random = seededRandom(seed(4));
    const talks = several(TCP_CONNECTIONS, (sport) => new TcpTalk(random, sport));
    const invalid = await compareAll({}, {}, "tcp", talks);
    expect(invalid).toBeGreaterThan(TCP_CONNECTIONS);
    expect(invalid).toBeLessThan((TCP_CONNECTIONS * STEPS) / 2);
  });

  it("on TCP, liberal and not loose", async () => {
    const random = seededRandom(seed(5));
    const sysctls = {
      "net.netfilter.nf_conntrack_tcp_be_liberal": 1,
      "net.netfilter.nf_conntrack_tcp_loose": 0,
    };
    const talks = several(TCP_CONNECTIONS, (sport) => new TcpTalk(random, sport));
    expect(await compareAll({ tcpBeLiberal: true, tcpLoose: false }, sysctls, "tcp", talks)).toBeGreaterThan(
      0,
    );
  });

  it("on a SYN repeated behind data: valid acknowledgements are refused by both until all data came again", async () => {
    expect(await compareAll({}, {}, "tcp", [new RepeatedSyn(FIRST_PORT)])).toBe(2);
  });

  it("on SCTP", async () => {
    const random = seededRandom(seed(6));
    const talks = several(SCTP_CONNECTIONS, (sport) => new SctpTalk(random, sport));
    expect(await compareAll({}, {}, "sctp", talks)).toBeGreaterThan(SCTP_CONNECTIONS);
  });
});
