/**
 * SCTP for stations, as much as a question and its answer need: the four-way handshake, DATA and SACK, shutdown. Encodes
 * and checks by itself (RFC 9260), with a checksum computed bit by bit.
 */
import { slowCrc32c } from "../datapath/slow-packet.js";
import { asText, type Packet, text } from "./packet.js";
import type { Station } from "./station.js";

export const SCTP = 132;

const Type = {
  data: 0,
  init: 1,
  initAck: 2,
  sack: 3,
  abort: 6,
  shutdown: 7,
  shutdownAck: 8,
  cookieEcho: 10,
  cookieAck: 11,
  shutdownComplete: 14,
} as const;

interface Message {
  readonly sport: number;
  readonly dport: number;
  readonly tag: number;
  readonly type: number;
  readonly value: Uint8Array;
}

const u16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value)];
const read32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;

function encode({ sport, dport, tag, type, value }: Message): Uint8Array {
  const padding = (4 - (value.length % 4)) % 4;
  const chunk = [
    type,
    type === Type.data ? 3 : 0,
    ...u16(4 + value.length),
    ...value,
    ...Array(padding).fill(0),
  ];
  const head = [...u16(sport), ...u16(dport), ...u32(tag)];
  return Uint8Array.from([...head, ...slowCrc32c([...head, 0, 0, 0, 0, ...chunk]), ...chunk]);
}

/** @throws Error when the checksum is wrong */
function decode(body: Uint8Array): Message {
  const zeroed = body.map((byte, at) => (at >= 8 && at < 12 ? 0 : byte));
  if (slowCrc32c(zeroed).some((byte, at) => byte !== body[8 + at])) throw new Error("wrong SCTP checksum");
  const length = body[14] * 256 + body[15];
  return {
    sport: body[0] * 256 + body[1],
    dport: body[2] * 256 + body[3],
    tag: read32(body, 4),
    type: body[12],
    value: body.slice(16, 12 + length),
  };
}

/** One end of an association. */
export class SctpEnd {
  state: "closed" | "connecting" | "established" | "aborted" | "refused" = "closed";
  /** What the other end said. */
  input = "";
  /** Where the other end's packets came from. */
  heardFrom = "";
  onData: (data: string) => void = () => undefined;
  #ownTag: number;
  #peerTag = 0;
  #tsn = 1;
  #toSay: string | undefined;

  constructor(
    readonly station: Station,
    readonly port: number,
    readonly peer: string,
    readonly peerPort: number,
  ) {
    this.#ownTag = (port * 65_537 + peerPort * 31 + 1) >>> 0;
  }

  /** Opens the association; once it is there, says one thing. */
  ask(message: string): void {
    this.state = "connecting";
    this.#toSay = message;
    this.#send(Type.init, this.#hello(), 0);
  }

  say(message: string): void {
    const value = [...u32(this.#tsn++), 0, 0, 0, 0, 0, 0, 0, 0, ...text(message)];
    this.#send(Type.data, Uint8Array.from(value));
  }

  close(): void {
    this.#send(Type.shutdown, new Uint8Array(4));
  }

  receive(from: string, { tag, type, value }: Message): void {
    if (type !== Type.init && tag !== this.#ownTag) throw new Error("wrong SCTP verification tag");
    this.heardFrom = from;
    if (type === Type.init || type === Type.initAck) this.#peerTag = read32(value, 0);
    if (type === Type.init) this.#send(Type.initAck, this.#hello());
    if (type === Type.initAck) this.#send(Type.cookieEcho, Uint8Array.from([1, 2, 3, 4]));
    if (type === Type.cookieEcho) this.#send(Type.cookieAck, new Uint8Array(0));
    if (type === Type.cookieEcho || type === Type.cookieAck) this.state = "established";
    if (type === Type.cookieAck && this.#toSay !== undefined) this.say(this.#toSay);
    if (type === Type.data) this.#onData(value);
    if (type === Type.abort) this.state = "aborted";
    if (type === Type.shutdown) this.#send(Type.shutdownAck, new Uint8Array(0));
    if (type === Type.shutdownAck) this.#send(Type.shutdownComplete, new Uint8Array(0));
    if (type === Type.shutdownAck || type === Type.shutdownComplete) this.state = "closed";
  }

  #onData(value: Uint8Array): void {
    this.#send(Type.sack, Uint8Array.from([...u32(read32(value, 0)), ...u32(65_536), 0, 0, 0, 0]));
    const data = asText(value.slice(12));
    this.input += data;
    this.onData(data);
  }

  /** Fixed part of INIT and INIT ACK; the cookie of the latter is of no interest here. */
  #hello(): Uint8Array {
    return Uint8Array.from([...u32(this.#ownTag), ...u32(65_536), 0, 1, 0, 1, ...u32(this.#tsn)]);
  }

  #send(type: number, value: Uint8Array, tag = this.#peerTag): void {
    const { station, port, peer, peerPort } = this;
    station.send(peer, SCTP, encode({ sport: port, dport: peerPort, tag, type, value }));
  }
}

/** The SCTP of a station: its associations by ports and peer. */
class SctpStack {
  readonly servers = new Map<number, (end: SctpEnd) => void>();
  readonly #ends = new Map<string, SctpEnd>();

  constructor(readonly station: Station) {
    station.protocols.set(SCTP, (packet) => this.#receive(packet));
  }

  end(port: number, peer: string, peerPort: number): SctpEnd {
    const key = `${port} ${peer} ${peerPort}`;
    const end = this.#ends.get(key) ?? new SctpEnd(this.station, port, peer, peerPort);
    this.#ends.set(key, end);
    return end;
  }

  #receive(packet: Packet): void {
    const message = decode(packet.body);
    const key = `${message.dport} ${packet.src} ${message.sport}`;
    const server = this.servers.get(message.dport);
    if (!this.#ends.has(key) && (server === undefined || message.type !== Type.init)) return;
    const isNew = !this.#ends.has(key);
    const end = this.end(message.dport, packet.src, message.sport);
    if (isNew) server?.(end);
    end.receive(packet.src, message);
  }
}

const stacks = new WeakMap<Station, SctpStack>();

function stackOf(station: Station): SctpStack {
  const stack = stacks.get(station) ?? new SctpStack(station);
  stacks.set(station, stack);
  return stack;
}

/** Accepts associations. */
export function serveSctp(station: Station, port: number, onAssociation: (end: SctpEnd) => void): void {
  stackOf(station).servers.set(port, onAssociation);
}

/** Asks an echo server; what came of it is in the end that is returned. */
export function askSctp(station: Station, dst: string, port: number, sport = 50_000): SctpEnd {
  const end = stackOf(station).end(sport, dst, port);
  end.ask("hello");
  return end;
}
