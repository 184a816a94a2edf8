/**
 * One end of a TCP connection that moves bulk data the slow and obvious way: numbers that never wrap inside, out-of-order
 * segments kept in a map, selective acknowledgements, a receive buffer of random room whose right edge never moves back.
 */

export interface TalkSegment {
  readonly flags: number;
  /** As on the wire: 32 bits. */
  readonly seq: number;
  readonly ack: number;
  readonly window: number;
  readonly options: Uint8Array;
  readonly payloadBytes: number;
}

const [FIN, SYN, ACK] = [1, 2, 16];
const WORD = 2 ** 32;
const BUFFER_BYTES = 1 << 20;

export class TalkEnd {
  state: "closed" | "opening" | "open" = "closed";
  /** Everything that the other end sent has come in, up to here. */
  received = 0;
  finished = false;
  readonly #random: () => number;
  readonly #start: number;
  readonly #scale: number;
  readonly #toSend: number;
  /** Relative to the initial number, which the SYN has. */
  #next = 0;
  #acked = 0;
  #limit = 1;
  #peerStart = -1;
  #peerScale = 0;
  #rightEdge = 0;
  #finSeen = false;
  /** Beginnings and ends of what came out of order. */
  readonly #holes = new Map<number, number>();

  constructor(random: () => number, toSend: number, scale: number, start: number) {
    this.#random = random;
    this.#toSend = toSend;
    this.#scale = scale;
    this.#start = start;
  }

  /** Whether the other end has acknowledged all, the FIN included. */
  get done(): boolean {
    return this.#acked === this.#toSend + 2;
  }

  open(): TalkSegment {
    this.state = "opening";
    this.#next = 1;
    return this.#syn(false);
  }

  /** What it sends next of its own: new data, or after a silence the oldest again. */
  send(again: boolean): TalkSegment | undefined {
    if (this.state === "opening") return again ? this.#syn(this.#peerStart >= 0) : undefined;
    if (this.state !== "open") return undefined;
    const from = again ? this.#acked : this.#next;
    if (again && this.#acked === this.#next) return undefined;
    if (from > this.#toSend) {
      if (from > this.#toSend + 1) return undefined;
      this.#next = Math.max(this.#next, this.#toSend + 2);
      return this.#segment(FIN | ACK, from, 0);
    }
    const most = [1460, 1460, 1460, 14_600, 60_000][Math.floor(this.#random() * 5)];
    const bytes = Math.min(this.#toSend + 1 - from, this.#limit - from, most);
    if (bytes <= 0) return undefined;
    this.#next = Math.max(this.#next, from + bytes);
    return this.#segment(ACK, from, bytes);
  }

  /** Takes a segment in; what it answers at once. */
  receive({ flags, seq, ack, window, options, payloadBytes }: TalkSegment): TalkSegment | undefined {
    if ((flags & SYN) !== 0) return this.#onSyn(flags, seq, window, options);
    if (this.#peerStart < 0) return undefined;
    const acked = this.#acked + signed(ack - (this.#start + this.#acked));
    if (acked > this.#acked) this.#acked = acked;
    if (this.state === "opening" && this.#acked > 0) this.state = "open";
    this.#limit = Math.max(this.#limit, acked + window * 2 ** this.#peerScale);
    const begin = this.received + signed(seq - (this.#peerStart + this.received));
    const end = begin + payloadBytes + (flags & FIN);
    if ((flags & FIN) !== 0) this.#finSeen = true;
    if (end === begin) return undefined;
    this.#holes.set(begin, Math.max(end, this.#holes.get(begin) ?? 0));
    for (const [from, to] of [...this.#holes].sort(([a], [b]) => a - b)) {
      if (from > this.received) break;
      this.received = Math.max(this.received, to);
      this.#holes.delete(from);
    }
    this.finished = this.#finSeen && this.#holes.size === 0;
    return this.#segment(ACK, this.#next, 0);
  }

  #onSyn(flags: number, seq: number, window: number, options: Uint8Array): TalkSegment | undefined {
    if (this.state === "open") return this.#segment(ACK, this.#next, 0);
    this.#peerStart = seq;
    this.#peerScale = options.length === 0 || this.#scale < 0 ? 0 : options[3];
    this.received = 1;
    this.#limit = 1 + window;
    if ((flags & ACK) === 0) {
      this.state = "opening";
      this.#next = 1;
      return this.#syn(true);
    }
    this.#acked = 1;
    this.state = "open";
    return this.#segment(ACK, this.#next, 0);
  }

  #syn(answers: boolean): TalkSegment {
    const ack = answers ? (this.#peerStart + 1) % WORD : 0;
    const options = this.#scale < 0 ? [] : [1, 3, 3, this.#scale, 1, 1, 4, 2];
    return {
      flags: answers ? SYN | ACK : SYN,
      seq: this.#start,
      ack,
      window: 29_200,
      options: Uint8Array.from(options),
      payloadBytes: 0,
    };
  }

  #segment(flags: number, from: number, payloadBytes: number): TalkSegment {
    const room = Math.floor(this.#random() * BUFFER_BYTES);
    this.#rightEdge = Math.max(this.#rightEdge, this.received + room);
    // Without scaling on both sides the window is the header's sixteen bits.
    const shift = this.#scale < 0 || this.#peerScale === 0 ? 0 : this.#scale;
    const window = Math.min(0xffff, Math.ceil((this.#rightEdge - this.received) / 2 ** shift));
    return {
      flags,
      seq: (this.#start + from) % WORD,
      ack: (this.#peerStart + this.received) % WORD,
      window,
      options: this.#sack(),
      payloadBytes,
    };
  }

  #sack(): Uint8Array {
    const blocks = [...this.#holes].slice(0, 3);
    if (blocks.length === 0 || this.#scale < 0) return new Uint8Array(0);
    const words = blocks.flat().map((at) => (this.#peerStart + at) % WORD);
    const bytes = words.flatMap((word) => [24, 16, 8, 0].map((bits) => (word >>> bits) & 255));
    return Uint8Array.from([1, 1, 5, 2 + bytes.length, ...bytes]);
  }
}

/** The signed distance of two 32-bit numbers. */
function signed(distance: number): number {
  return distance | 0;
}
