/**
 * Whether a TCP segment lies in the windows that both ends have announced: nf_conntrack_tcp's form of "Real Stateful TCP
 * Packet Filtering in IP Filter" (Guido van Rooij, 2000). The middle sees what each end sent, not what it received, so
 * for each direction it keeps the highest sequence number sent, the highest that the other end allows, the largest window
 * announced and the highest acknowledgement. Plain functions over words: sequence numbers are 32-bit and wrap, so they
 * are compared by the sign of their difference.
 */
import { findTcpOption, getU32, TCP_HEADER_BYTES, TcpFlag, TcpOption } from "../../wire/index.js";
import {
  hasPeerFlag,
  LAST_DIRECTION,
  LAST_WINDOW_MASK,
  Peer,
  peerShift,
  REPEATS_MASK,
  REPEATS_SHIFT,
  readSynOptions,
  SCALE_BITS,
  SCALE_MASK,
  Segment,
  setPeer,
  settleScale,
  Tcp,
} from "./tcp-record.js";

/** What the check says. `ignored`: let through, but not believed. */
export const Window = { accept: 0, ignored: 1, invalid: 2 } as const;

/** How far an acknowledgement may lag behind, at least (Linux MAXACKWINCONST). */
export const MAX_ACK_LAG = 66_000;
/** The ten bytes of two padding options and a timestamp, with which no SACK can come. */
const TIMESTAMP_ONLY = 0x0101080a;
const TIMESTAMP_OPTIONS_BYTES = 12;
const SACK_BLOCK_BYTES = 8;

function before(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

function after(a: number, b: number): boolean {
  return ((b - a) | 0) < 0;
}

/** The sender's side from its SYN or SYN-ACK. */
function beginSender(
  records: Int32Array,
  at: number,
  direction: number,
  end: number,
  window: number,
  bytes: Uint8Array,
  header: number,
  headerLength: number,
): void {
  records[at + Tcp.end + direction] = end;
  records[at + Tcp.maxEnd + direction] = end;
  records[at + Tcp.maxWindow + direction] = window || 1;
  // As in Linux, a further SYN without any option leaves what the one before had announced.
  if (headerLength > TCP_HEADER_BYTES) {
    setPeer(records, at, direction, readSynOptions(bytes, header, headerLength));
  }
  if (direction === 1) settleScale(records, at);
}

/** The highest sequence number that a segment acknowledges, selectively (RFC 2018) or not. */
function highestSack(bytes: Uint8Array, header: number, headerLength: number, ack: number): number {
  const options = header + TCP_HEADER_BYTES;
  const isTimestampOnly =
    headerLength === TCP_HEADER_BYTES + TIMESTAMP_OPTIONS_BYTES && getU32(bytes, options) === TIMESTAMP_ONLY;
  if (isTimestampOnly) return ack;
  const sack = findTcpOption(bytes, header, headerLength, TcpOption.sack);
  if (sack < 0 || bytes[sack + 1] < 2 + SACK_BLOCK_BYTES) return ack;
  const end = sack + bytes[sack + 1];
  if ((end - sack - 2) % SACK_BLOCK_BYTES !== 0) return ack;
  let highest = ack;
  for (let block = sack + 2; block < end; block += SACK_BLOCK_BYTES) {
    const right = getU32(bytes, block + 4) | 0;
    if (after(right, highest)) highest = right;
  }
  return highest;
}

/**
 * Judges one segment and, if it lies in the window, notes what it says. Allocates nothing.
 *
 * @param records the words of all connections, this one's at `at`; `direction` 1 is the reply's
 * @param isOpening whether the connection is in SYN_SENT or SYN_RECV; `isSynSent`: in SYN_SENT
 * @param segment a {@link Segment}
 * @param payloadBytes of the whole segment, also when it is a super-packet
 * @param bytes where the TCP header of `headerLength` bytes is, at `header`
 * @param liberal net.netfilter.nf_conntrack_tcp_be_liberal
 * @returns a {@link Window}
 */
export function judgeWindow(
  records: Int32Array,
  at: number,
  direction: number,
  isOpening: boolean,
  isSynSent: boolean,
  segment: number,
  flags: number,
  seqNumber: number,
  ackNumber: number,
  rawWindow: number,
  payloadBytes: number,
  bytes: Uint8Array,
  header: number,
  headerLength: number,
  liberal: boolean,
): number {
  const other = 1 - direction;
  const isSyn = (flags & TcpFlag.syn) !== 0;
  const hasAck = (flags & TcpFlag.ack) !== 0;
  const length = payloadBytes + (isSyn ? 1 : 0) + (flags & TcpFlag.fin);
  let seq = seqNumber | 0;
  let end = (seq + length) | 0;
  let ack = ackNumber | 0;
  let sack = ack;
  let window = rawWindow;
  if (headerLength > TCP_HEADER_BYTES && hasPeerFlag(records, at, other, Peer.sackPermitted)) {
    sack = highestSack(bytes, header, headerLength, ack);
  }
  const scale = (records[at + Tcp.flags] >>> (direction * SCALE_BITS)) & SCALE_MASK;

  if (records[at + Tcp.maxWindow + direction] === 0) {
    if (isSyn) {
      beginSender(records, at, direction, end, window, bytes, header, headerLength);
      if (!hasAck) return Window.accept;
    } else {
      joinSender(records, at, direction, end, (window << scale) | 0, sack);
    }
  } else if (isSyn && isOpening && after(end, records[at + Tcp.end + direction])) {
    // A new attempt may differ in sequence number and options (RFC 9293 §3.4.2).
    beginSender(records, at, direction, end, window, bytes, header, headerLength);
    if (direction === 1 && !hasAck) return Window.accept;
  }
  const receiverEnd = records[at + Tcp.end + other];
  // Without ACK there is nothing to judge; some stacks reset with ACK set and 0 in it.
  if (!hasAck || ((flags & TcpFlag.rst) !== 0 && ack === 0)) {
    ack = receiverEnd;
    sack = receiverEnd;
  }
  // A reset in answer to a SYN knows no sequence number.
  if ((flags & TcpFlag.rst) !== 0 && seq === 0 && isSynSent) {
    seq = records[at + Tcp.end + direction];
    end = seq;
  }

  const judged = isInWindow(records, at, direction, seq, end, sack);
  if (judged !== Window.accept) {
    return liberal || hasPeerFlag(records, at, direction, Peer.liberal) ? Window.accept : judged;
  }
  if (!isSyn) window = (window << scale) | 0;
  noteSender(records, at, direction, end, ack, sack, window, hasAck);
  noteReceiver(records, at, direction, end, ack, sack, window);
  if (segment === Segment.ack) noteRepeats(records, at, direction, seq, ack, end, rawWindow);
  return Window.accept;
}

/** A direction whose beginning was not seen. */
function joinSender(
  records: Int32Array,
  at: number,
  direction: number,
  end: number,
  window: number,
  sack: number,
): void {
  const other = 1 - direction;
  records[at + Tcp.end + direction] = end;
  records[at + Tcp.maxWindow + direction] = window || 1;
  records[at + Tcp.maxEnd + direction] = end + (window || 1);
  if (records[at + Tcp.maxWindow + other] === 0) {
    records[at + Tcp.end + other] = sack;
    records[at + Tcp.maxEnd + other] = sack;
  } else if (sack === ((records[at + Tcp.end + other] + 1) | 0)) {
    // It answers a keep-alive.
    records[at + Tcp.end + other]++;
  }
}

/** The four bounds: sequence numbers and acknowledgements neither too high nor too low. */
function isInWindow(
  records: Int32Array,
  at: number,
  direction: number,
  seq: number,
  end: number,
  sack: number,
): number {
  const other = 1 - direction;
  const senderEnd = records[at + Tcp.end + direction];
  const maxEnd = records[at + Tcp.maxEnd + direction];
  const receiverEnd = records[at + Tcp.end + other];
  const receiverWindow = records[at + Tcp.maxWindow + other];
  const ackLag = Math.max(records[at + Tcp.maxWindow + direction] >>> 0, MAX_ACK_LAG);
  const reachesWindow = after(end, senderEnd - receiverWindow - 1);
  const ackIsRecent = after(sack, receiverEnd - ackLag - 1);
  const ackIsKnown = before(sack, receiverEnd + 1);
  if (!before(seq, maxEnd + 1)) {
    const overshoot = (end - maxEnd + 1) >>> 0;
    const slightly = receiverWindow !== 0 && reachesWindow && overshoot <= receiverWindow >>> 0;
    if (!slightly || !ackIsRecent || !ackIsKnown) return Window.invalid;
    // More than the receiver allows; should it take the bytes, their acknowledgement must not look wrong.
    records[at + Tcp.end + direction] = end;
    records[at + Tcp.flags] |= Peer.dataUnacknowledged << peerShift(direction);
    return Window.ignored;
  }
  if (!ackIsKnown) return Window.invalid;
  if (receiverWindow !== 0 && !reachesWindow) return Window.ignored;
  return ackIsRecent ? Window.accept : Window.ignored;
}

function noteSender(
  records: Int32Array,
  at: number,
  direction: number,
  end: number,
  ack: number,
  sack: number,
  window: number,
  hasAck: boolean,
): void {
  const shift = peerShift(direction);
  const selective = (window + (sack - ack)) | 0;
  if (records[at + Tcp.maxWindow + direction] >>> 0 < selective >>> 0) {
    records[at + Tcp.maxWindow + direction] = selective;
  }
  if (after(end, records[at + Tcp.end + direction])) {
    records[at + Tcp.end + direction] = end;
    records[at + Tcp.flags] |= Peer.dataUnacknowledged << shift;
  }
  if (!hasAck) return;
  const isSet = ((records[at + Tcp.flags] >>> shift) & Peer.maxAckSet) !== 0;
  if (isSet && !after(ack, records[at + Tcp.maxAck + direction])) return;
  records[at + Tcp.maxAck + direction] = ack;
  if (!isSet) records[at + Tcp.flags] |= Peer.maxAckSet << shift;
}

function noteReceiver(
  records: Int32Array,
  at: number,
  direction: number,
  end: number,
  ack: number,
  sack: number,
  window: number,
): void {
  const other = 1 - direction;
  const maxEnd = records[at + Tcp.maxEnd + direction];
  if (records[at + Tcp.maxWindow + other] !== 0 && after(end, maxEnd)) {
    records[at + Tcp.maxWindow + other] += (end - maxEnd) | 0;
  }
  if (after(sack + window, records[at + Tcp.maxEnd + other] - 1)) {
    records[at + Tcp.maxEnd + other] = sack + window + (window === 0 ? 1 : 0);
  }
  if (ack === records[at + Tcp.end + other]) {
    records[at + Tcp.flags] &= ~(Peer.dataUnacknowledged << peerShift(other));
  }
}

/** Counts repeats of one and the same segment: a sender that hears nothing. */
function noteRepeats(
  records: Int32Array,
  at: number,
  direction: number,
  seq: number,
  ack: number,
  end: number,
  rawWindow: number,
): void {
  const flags = records[at + Tcp.flags];
  const last = records[at + Tcp.last];
  const isSame =
    ((flags & LAST_DIRECTION) !== 0 ? 1 : 0) === direction &&
    records[at + Tcp.lastSeq] === seq &&
    records[at + Tcp.lastAck] === ack &&
    records[at + Tcp.lastEnd] === end &&
    (last & LAST_WINDOW_MASK) === rawWindow;
  if (isSame) {
    if ((last & REPEATS_MASK) !== REPEATS_MASK) records[at + Tcp.last] = last + (1 << REPEATS_SHIFT);
    return;
  }
  records[at + Tcp.flags] = (flags & ~LAST_DIRECTION) | (direction === 1 ? LAST_DIRECTION : 0);
  records[at + Tcp.lastSeq] = seq;
  records[at + Tcp.lastAck] = ack;
  records[at + Tcp.lastEnd] = end;
  records[at + Tcp.last] = (last & ~LAST_WINDOW_MASK & ~REPEATS_MASK) | rawWindow;
}
