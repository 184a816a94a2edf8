/** What is kept of a TCP connection beside its state: the words that tcp.ts and tcp-window.ts share. */
import { findTcpOption, TCP_HEADER_BYTES, TcpOption } from "../../wire/index.js";

/** Words of a TCP connection's record. Where there are two, the second is the reply direction's. */
export const Tcp = {
  /** One beyond the last byte sent. */
  end: 0,
  /** One beyond the last byte that the other end lets be sent. */
  maxEnd: 2,
  /** Largest window announced; 0 before the direction's first segment. */
  maxWindow: 4,
  /** Highest acknowledgement sent. */
  maxAck: 6,
  /** Window scales (4 bits each), {@link Peer} bits of both directions, segment class and direction seen last. */
  flags: 8,
  lastSeq: 9,
  lastAck: 10,
  lastEnd: 11,
  /** Window of the segment seen last, how often it was repeated, and what a SYN that was let through announced. */
  last: 12,
} as const;

/** Bits of one direction in the flags word; shift by {@link peerShift}. */
export const Peer = {
  windowScale: 1,
  sackPermitted: 2,
  /** Closes first. */
  closeInit: 4,
  /** Its beginning was not seen, so its window scale is not known: nothing is out of window. */
  liberal: 8,
  maxAckSet: 16,
  dataUnacknowledged: 32,
} as const;
const PEER_BITS = 6;
const PEER_MASK = 0x3f;
export const SCALE_BITS = 4;
export const SCALE_MASK = 0xf;
const FIRST_PEER_BIT = 8;
/** Segment class (3 bits) and direction that were seen last, in the flags word. */
export const LAST_SEGMENT_SHIFT = 20;
export const LAST_SEGMENT_MASK = 7;
export const LAST_DIRECTION = 1 << 23;

/** The word {@link Tcp.last}: window 0–15, repeats 16–23, and for a SYN let through: scale 24–27 and two bits. */
export const LAST_WINDOW_MASK = 0xffff;
export const REPEATS_SHIFT = 16;
export const REPEATS_MASK = 0xff0000;
export const SYN_SCALE_SHIFT = 24;
export const SYN_OPTIONS_SHIFT = 28;
/** A challenge ACK (RFC 5961) may come in answer to a SYN let through; both ends opened at once. */
export const CHALLENGE_EXPECTED = 1 << 30;
export const SIMULTANEOUS_OPEN = 1 << 31;

/** Segment classes, in the order of the transition table's rows. */
export const Segment = { syn: 0, synAck: 1, fin: 2, ack: 3, rst: 4, none: 5 } as const;

/** RFC 7323 §2.3. */
const MAX_SCALE = 14;
const SCALE_OPTION_BYTES = 3;

export function peerShift(direction: number): number {
  return FIRST_PEER_BIT + direction * PEER_BITS;
}

/** What a SYN's options announce: {@link Peer} bits, and the scale above them. */
export function readSynOptions(bytes: Uint8Array, header: number, headerLength: number): number {
  if (headerLength === TCP_HEADER_BYTES) return 0;
  let options = 0;
  const scale = findTcpOption(bytes, header, headerLength, TcpOption.windowScale);
  if (scale >= 0 && bytes[scale + 1] === SCALE_OPTION_BYTES) {
    options = Peer.windowScale | (Math.min(bytes[scale + 2], MAX_SCALE) << PEER_BITS);
  }
  const sack = findTcpOption(bytes, header, headerLength, TcpOption.sackPermitted);
  return sack >= 0 && bytes[sack + 1] === 2 ? options | Peer.sackPermitted : options;
}

/** Sets a direction's options and scale; whether it is liberal stays. */
export function setPeer(records: Int32Array, at: number, direction: number, options: number): void {
  const shift = peerShift(direction);
  const scaleShift = direction * SCALE_BITS;
  const flags = records[at + Tcp.flags];
  const kept = flags & ~((PEER_MASK & ~Peer.liberal) << shift) & ~(SCALE_MASK << scaleShift);
  records[at + Tcp.flags] = kept | ((options & PEER_MASK) << shift) | ((options >>> PEER_BITS) << scaleShift);
}

export function hasPeerFlag(records: Int32Array, at: number, direction: number, flag: number): boolean {
  return ((records[at + Tcp.flags] >>> peerShift(direction)) & flag) !== 0;
}

/** Forgets the windows, whose last movements were not seen: nothing is out of window any more, as after a pick-up. */
export function loseTrack(records: Int32Array, at: number): void {
  const unknown = (Peer.sackPermitted | Peer.liberal) * (1 << FIRST_PEER_BIT);
  const known = (Peer.maxAckSet | Peer.dataUnacknowledged) * (1 << FIRST_PEER_BIT);
  records[at + Tcp.maxWindow] = 0;
  records[at + Tcp.maxWindow + 1] = 0;
  records[at + Tcp.flags] |= unknown | (unknown << PEER_BITS);
  records[at + Tcp.flags] &= ~(known | (known << PEER_BITS));
  setLastSegment(records, at, 0, Segment.none);
}

/** Window scaling holds only when both SYNs offer it (RFC 7323 §2.2). */
export function settleScale(records: Int32Array, at: number): void {
  const both = hasPeerFlag(records, at, 0, Peer.windowScale) && hasPeerFlag(records, at, 1, Peer.windowScale);
  if (!both) records[at + Tcp.flags] &= ~0xff;
}

/** The {@link Segment} that was seen last. */
export function lastSegment(records: Int32Array, at: number): number {
  return (records[at + Tcp.flags] >>> LAST_SEGMENT_SHIFT) & LAST_SEGMENT_MASK;
}

/** The direction that the last segment came from. */
export function lastDirection(records: Int32Array, at: number): number {
  return (records[at + Tcp.flags] & LAST_DIRECTION) === 0 ? 0 : 1;
}

export function setLastSegment(records: Int32Array, at: number, direction: number, segment: number): void {
  const kept = records[at + Tcp.flags] & ~((LAST_SEGMENT_MASK << LAST_SEGMENT_SHIFT) | LAST_DIRECTION);
  records[at + Tcp.flags] = kept | (segment << LAST_SEGMENT_SHIFT) | (direction === 0 ? 0 : LAST_DIRECTION);
}
