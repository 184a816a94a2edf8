/** One end of a TCP connection: stop-and-wait with retransmission, good for connect, request, reply, FIN and RST. */
import type { VirtualClock } from "./clock.js";
import { asText, Flag, type TcpSegment, text } from "./packet.js";

const RETRANSMIT_MS = 200;
const MAX_TRIES = 8;

export type TcpState =
  | "closed"
  | "syn-sent"
  | "syn-received"
  | "established"
  | "reset"
  | "refused"
  | "timed-out";

export interface TcpOptions {
  readonly ip: string;
  readonly port: number;
  readonly peer: string;
  readonly peerPort: number;
  readonly clock: VirtualClock;
  /** Answers everything with a reset. */
  readonly refuses: boolean;
  send(segment: TcpSegment): void;
}

/** A segment that takes up sequence numbers and waits for its acknowledgement. */
interface Outgoing {
  readonly flags: number;
  readonly payload: Uint8Array;
}

export class TcpEnd {
  state: TcpState = "closed";
  /** All that came in, as text. */
  input = "";
  /** Why the connection was refused. */
  reason = "";
  peerClosed = false;
  maxSegmentBytes = 1400;
  onData: (data: string) => void = () => undefined;
  onPeerClosed: () => void = () => undefined;
  /** Sequence number of the first byte that is not acknowledged, and of the next expected one. */
  #unacked: number;
  #expected = 0;
  readonly #queue: Outgoing[] = [];
  #inFlight: Outgoing | undefined;
  #tries = 0;

  constructor(readonly options: TcpOptions) {
    // By a clock of 4 µs (RFC 9293 §3.4.1), so that a later connection of the same ports is another one.
    this.#unacked = (options.port * 65_537 + options.peerPort * 31 + options.clock.nowMs * 250) >>> 0;
  }

  get ended(): boolean {
    return this.state === "reset" || this.state === "refused" || this.state === "timed-out";
  }

  /** Whether everything that was sent has been acknowledged. */
  get idle(): boolean {
    return this.#inFlight === undefined && this.#queue.length === 0;
  }

  open(): void {
    this.state = "syn-sent";
    this.#enqueue(Flag.syn, text(""));
  }

  write(data: string): void {
    const bytes = text(data);
    for (let at = 0; at < bytes.length; at += this.maxSegmentBytes) {
      this.#enqueue(Flag.psh | Flag.ack, bytes.slice(at, at + this.maxSegmentBytes));
    }
  }

  /** Sends FIN after all data. */
  close(): void {
    this.#enqueue(Flag.fin | Flag.ack, text(""));
  }

  /** Sends RST. */
  abort(): void {
    this.#emit(Flag.rst | Flag.ack, text(""));
    this.#end("reset");
  }

  /** An ICMP error came. One about an open connection is no reason to give up (RFC 1122 §4.2.3.9). */
  onRefused(reason: string): void {
    if (this.state !== "syn-sent") return;
    this.reason = reason;
    this.#end("refused");
  }

  receive(segment: TcpSegment): void {
    if (this.ended) return;
    if (segment.flags & Flag.rst) {
      if (!this.options.refuses) this.#end(this.state === "syn-sent" ? "refused" : "reset");
      return;
    }
    if (this.options.refuses || (this.state === "closed" && !(segment.flags & Flag.syn))) {
      this.#answerWithReset(segment);
      return;
    }
    if (segment.flags & Flag.syn) this.#onSyn(segment);
    if (segment.flags & Flag.ack) this.#onAck(segment.ack);
    this.#onPayload(segment);
  }

  #onSyn(segment: TcpSegment): void {
    this.#expected = (segment.seq + 1) >>> 0;
    if (this.state === "closed") {
      this.state = "syn-received";
      this.#enqueue(Flag.syn | Flag.ack, text(""));
    } else if (this.state === "syn-sent") {
      this.state = "established";
    } else {
      this.#emit(Flag.ack, text(""));
    }
  }

  #onAck(ack: number): void {
    const sent = this.#inFlight;
    if (sent === undefined || ack !== (this.#unacked + lengthOf(sent)) >>> 0) return;
    if (this.state === "syn-received") this.state = "established";
    this.#unacked = ack;
    this.#inFlight = undefined;
    if (sent.flags & Flag.syn && !(sent.flags & Flag.ack)) this.#emit(Flag.ack, text(""));
    this.#pump();
  }

  #onPayload(segment: TcpSegment): void {
    const length = segment.payload.length + (segment.flags & Flag.fin ? 1 : 0);
    if (length === 0) return;
    const isNew = segment.seq === this.#expected;
    if (isNew) this.#expected = (this.#expected + length) >>> 0;
    this.#emit(Flag.ack, text(""));
    if (!isNew) return;
    if (segment.payload.length > 0) {
      const data = asText(segment.payload);
      this.input += data;
      this.onData(data);
    }
    if (segment.flags & Flag.fin) {
      this.peerClosed = true;
      this.onPeerClosed();
    }
  }

  #answerWithReset(segment: TcpSegment): void {
    const seq = segment.flags & Flag.ack ? segment.ack : 0;
    const ack = (segment.seq + segment.payload.length + (segment.flags & Flag.syn ? 1 : 0)) >>> 0;
    this.options.send({ ...this.#ports(), seq, ack, flags: Flag.rst | Flag.ack, payload: text("") });
  }

  #enqueue(flags: number, payload: Uint8Array): void {
    if (this.ended) return;
    this.#queue.push({ flags, payload });
    this.#pump();
  }

  #pump(): void {
    const connecting = this.state === "syn-sent" || this.state === "syn-received";
    if (this.#inFlight !== undefined || this.#queue.length === 0) return;
    if (connecting && !(this.#queue[0].flags & Flag.syn)) return;
    this.#inFlight = this.#queue.shift();
    this.#tries = 0;
    this.#transmit(this.#inFlight!);
  }

  #transmit(outgoing: Outgoing): void {
    if (this.#inFlight !== outgoing) return;
    if (this.#tries++ === MAX_TRIES) {
      this.#end("timed-out");
      return;
    }
    this.#emit(outgoing.flags, outgoing.payload, this.#unacked);
    this.options.clock.after(RETRANSMIT_MS * this.#tries, () => this.#transmit(outgoing));
  }

  #emit(flags: number, payload: Uint8Array, seq = this.#next()): void {
    this.options.send({ ...this.#ports(), seq, ack: flags & Flag.ack ? this.#expected : 0, flags, payload });
  }

  /** The first number that nothing was sent with. */
  #next(): number {
    return (this.#unacked + (this.#inFlight === undefined ? 0 : lengthOf(this.#inFlight))) >>> 0;
  }

  #ports(): { sport: number; dport: number } {
    return { sport: this.options.port, dport: this.options.peerPort };
  }

  #end(state: TcpState): void {
    this.state = state;
    this.#inFlight = undefined;
    this.#queue.length = 0;
  }
}

function lengthOf(outgoing: Outgoing): number {
  return outgoing.payload.length + (outgoing.flags & (Flag.syn | Flag.fin) ? 1 : 0);
}
