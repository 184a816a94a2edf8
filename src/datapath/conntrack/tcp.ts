/**
 * TCP as a middlebox sees it: nf_conntrack_tcp (Linux 6.x). A segment is judged by the state it comes in, then by the
 * windows (tcp-window.ts); what fails is invalid, and kube-proxy's rules drop that. Segments that may be right although
 * the middle does not know why (a SYN in the middle of a connection, a late duplicate) pass and change nothing; the
 * answer to them tells what was true.
 */
import { TcpFlag } from "../../wire/index.js";
import { Meta } from "./flow-table.js";
import { clearNewRecord, NEW_RECORD } from "./proto-words.js";
import { State } from "./state.js";
import {
  CHALLENGE_EXPECTED,
  hasPeerFlag,
  LAST_WINDOW_MASK,
  lastDirection,
  lastSegment,
  Peer,
  peerShift,
  REPEATS_MASK,
  REPEATS_SHIFT,
  readSynOptions,
  Segment,
  SIMULTANEOUS_OPEN,
  SYN_OPTIONS_SHIFT,
  SYN_SCALE_SHIFT,
  setLastSegment,
  setPeer,
  Tcp,
} from "./tcp-record.js";
import { STEP_IGNORED, STEP_INVALID, segmentOf, stepTcp } from "./tcp-states.js";
import { judgeWindow, Window } from "./tcp-window.js";

/** Outcomes of {@link trackTcp} that are not a state. */
export const TCP_INVALID = -1;
/** Passes; neither state nor deadline change. */
export const TCP_IGNORED = -2;
/** The old connection with this tuple has ended: forget it, start anew. */
export const TCP_REOPEN = -3;
/** Invalid, and both ends seem to be closing: the entry should not live long. */
export const TCP_INVALID_CLOSING = -4;

/** Above the state: which time-out applies. `retrans` and `unacknowledged` only when shorter than the state's own. */
export const TCP_STATE_MASK = 0xf;
export const TcpTimeout = { ofState: 0x00, retrans: 0x10, unacknowledged: 0x20, close: 0x30 } as const;
export const TCP_TIMEOUT_MASK = 0x30;

/** Switches, as bits: net.netfilter.nf_conntrack_tcp_be_liberal, _tcp_loose, _tcp_ignore_invalid_rst. */
export const TcpSetting = { liberal: 1, loose: 2, ignoreInvalidReset: 4 } as const;
/** net.netfilter.nf_conntrack_tcp_max_retrans is kept above the switches. */
export const MAX_RETRANS_SHIFT = 8;

/** What {@link judgeReset} says beside a window check. */
const Reset = { check: 0, believe: 1, keepState: 2, invalid: 3 } as const;

function before(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

function sequenceEnd(flags: number, seq: number, payloadBytes: number): number {
  return (seq + payloadBytes + ((flags & TcpFlag.syn) >>> 1) + (flags & TcpFlag.fin)) | 0;
}

/** Begins the new record with a connection's first segment; see {@link trackTcp}. */
export function beginTcp(
  records: Int32Array,
  settings: number,
  flags: number,
  seq: number,
  ack: number,
  window: number,
  payloadBytes: number,
  bytes: Uint8Array,
  header: number,
  headerLength: number,
): number {
  const next = stepTcp(State.none, 0, segmentOf(flags));
  const isSyn = next === State.synSent;
  if (next === STEP_INVALID || (!isSyn && (settings & TcpSetting.loose) === 0)) return TCP_INVALID;
  clearNewRecord(records);
  const end = sequenceEnd(flags, seq, payloadBytes);
  records[NEW_RECORD + Tcp.end] = end;
  records[NEW_RECORD + Tcp.maxWindow] = window || 1;
  records[NEW_RECORD + Tcp.maxEnd] = isSyn ? end : end + (window || 1);
  if (isSyn) {
    setPeer(records, NEW_RECORD, 0, readSynOptions(bytes, header, headerLength));
  } else {
    // Scale and SACK were agreed on before: assume the most.
    const unknown = Peer.sackPermitted | Peer.liberal;
    records[NEW_RECORD + Tcp.flags] = (unknown << peerShift(0)) | (unknown << peerShift(1));
  }
  setLastSegment(records, NEW_RECORD, 0, Segment.none);
  return trackTcp(
    records,
    NEW_RECORD,
    0,
    State.none,
    0,
    settings,
    flags,
    seq,
    ack,
    window,
    payloadBytes,
    bytes,
    header,
    headerLength,
  );
}

/**
 * Carries the connection whose record is at `at` through one segment. Allocates nothing.
 *
 * @param direction 1 is the reply's
 * @param state the state it is in
 * @param meta the entry's meta word: whether it has seen a reply and is assured
 * @param settings {@link TcpSetting} bits and, above, the number of repeats to take for a dead peer
 * @param window as it stands in the header
 * @param payloadBytes of the whole segment, also when it is a super-packet
 * @param bytes where the TCP header of `headerLength` bytes is, at `header`
 * @returns the new state with a {@link TcpTimeout}, or one of the negative outcomes
 */
export function trackTcp(
  records: Int32Array,
  at: number,
  direction: number,
  state: number,
  meta: number,
  settings: number,
  flags: number,
  seq: number,
  ack: number,
  window: number,
  payloadBytes: number,
  bytes: Uint8Array,
  header: number,
  headerLength: number,
): number {
  const segment = segmentOf(flags);
  let next = stepTcp(state, direction, segment);
  if (next === STEP_INVALID) return TCP_INVALID;
  let from = state;
  let isBelieved = false;
  if (next === STEP_IGNORED || (next === State.synSent && state >= State.timeWait)) {
    if (next === State.synSent && mayReopen(records, at, direction)) return TCP_REOPEN;
    if (!answersIgnoredSyn(records, at, direction, segment, ack)) {
      const end = sequenceEnd(flags, seq, payloadBytes);
      ignore(records, at, direction, state, segment, seq, ack, end, window, bytes, header, headerLength);
      return TCP_IGNORED;
    }
    getInSync(records, at, direction);
    from = State.synSent;
    next = State.synRecv;
  } else if (next === State.timeWait) {
    if (isChallengeAck(records, at, direction, state, segment)) return TCP_IGNORED;
  } else if (next === State.synSent2) {
    records[at + Tcp.last] |= SIMULTANEOUS_OPEN;
  } else if (next === State.synRecv) {
    const isSimultaneous = (records[at + Tcp.last] & SIMULTANEOUS_OPEN) !== 0;
    if (direction === 1 && segment === Segment.ack && isSimultaneous) next = State.established;
  } else if (next === State.close && segment === Segment.rst) {
    const judged = judgeReset(records, at, direction, state, meta, settings, seq | 0, ack | 0);
    if (judged === Reset.invalid) return TCP_INVALID;
    if ((judged & Reset.keepState) !== 0) next = state;
    isBelieved = (judged & Reset.believe) !== 0;
  }
  if (!isBelieved) {
    const isOpening = state === State.synSent || state === State.synRecv;
    const judged = judgeWindow(
      records,
      at,
      direction,
      isOpening,
      state === State.synSent,
      segment,
      flags,
      seq,
      ack,
      window,
      payloadBytes,
      bytes,
      header,
      headerLength,
      (settings & TcpSetting.liberal) !== 0,
    );
    if (judged === Window.ignored) return TCP_IGNORED;
    if (judged === Window.invalid) return noteInvalid(records, at, direction, segment, meta);
  }
  setLastSegment(records, at, direction, segment);
  if (from !== next && next === State.finWait)
    records[at + Tcp.flags] |= Peer.closeInit << peerShift(direction);
  return next | timeoutOf(records, at, segment, settings);
}

function timeoutOf(records: Int32Array, at: number, segment: number, settings: number): number {
  const last = records[at + Tcp.last];
  if ((last & REPEATS_MASK) >>> REPEATS_SHIFT >= settings >>> MAX_RETRANS_SHIFT) return TcpTimeout.retrans;
  if (segment === Segment.rst) return TcpTimeout.close;
  const unacknowledged =
    (Peer.dataUnacknowledged << peerShift(0)) | (Peer.dataUnacknowledged << peerShift(1));
  if ((records[at + Tcp.flags] & unacknowledged) !== 0) return TcpTimeout.unacknowledged;
  return (last & LAST_WINDOW_MASK) === 0 ? TcpTimeout.retrans : TcpTimeout.ofState;
}

/** Whether a SYN on an ended connection begins a new one: it was closed in good order, or by the one who asks again. */
function mayReopen(records: Int32Array, at: number, direction: number): boolean {
  return (
    hasPeerFlag(records, at, 0, Peer.closeInit) ||
    hasPeerFlag(records, at, 1, Peer.closeInit) ||
    (lastDirection(records, at) === direction && lastSegment(records, at) === Segment.rst)
  );
}

/** Whether a SYN-ACK shows that a SYN which was let through, though it made no sense here, was right. */
function answersIgnoredSyn(
  records: Int32Array,
  at: number,
  direction: number,
  segment: number,
  ack: number,
): boolean {
  return (
    segment === Segment.synAck &&
    lastSegment(records, at) === Segment.syn &&
    lastDirection(records, at) !== direction &&
    records[at + Tcp.lastEnd] === (ack | 0)
  );
}

/** Takes over what the SYN had announced. */
function getInSync(records: Int32Array, at: number, direction: number): void {
  const client = lastDirection(records, at);
  const last = records[at + Tcp.last];
  const window = last & LAST_WINDOW_MASK;
  records[at + Tcp.end + client] = records[at + Tcp.lastEnd];
  records[at + Tcp.maxEnd + client] = records[at + Tcp.lastEnd];
  records[at + Tcp.maxWindow + client] = window || 1;
  records[at + Tcp.flags] &= ~(Peer.liberal << peerShift(client));
  setPeer(
    records,
    at,
    client,
    ((last >>> SYN_OPTIONS_SHIFT) & 3) | (((last >>> SYN_SCALE_SHIFT) & 0xf) << 6),
  );
  records[at + Tcp.last] = last & ~CHALLENGE_EXPECTED;
  for (const word of [Tcp.end, Tcp.maxEnd, Tcp.maxWindow, Tcp.maxAck]) records[at + word + direction] = 0;
  setPeer(records, at, direction, 0);
}

/** Notes a segment that passes without being believed. */
function ignore(
  records: Int32Array,
  at: number,
  direction: number,
  state: number,
  segment: number,
  seq: number,
  ack: number,
  end: number,
  window: number,
  bytes: Uint8Array,
  header: number,
  headerLength: number,
): void {
  setLastSegment(records, at, direction, segment);
  records[at + Tcp.lastSeq] = seq;
  records[at + Tcp.lastEnd] = end;
  let last = (records[at + Tcp.last] & ~LAST_WINDOW_MASK) | window;
  if (segment === Segment.syn && direction === 0) {
    const options = readSynOptions(bytes, header, headerLength);
    last &= LAST_WINDOW_MASK | REPEATS_MASK;
    last |= ((options >>> 6) << SYN_SCALE_SHIFT) | ((options & 3) << SYN_OPTIONS_SHIFT);
    if (state === State.lastAck) last |= CHALLENGE_EXPECTED;
  }
  records[at + Tcp.last] = last;
  if (state === State.synSent && segment === Segment.ack && direction === 1) records[at + Tcp.lastAck] = ack;
}

/** A challenge ACK (RFC 5961 §4) in answer to a SYN must not pass for the acknowledgement of the last FIN. */
function isChallengeAck(
  records: Int32Array,
  at: number,
  direction: number,
  state: number,
  segment: number,
): boolean {
  const isOne =
    state === State.lastAck &&
    segment === Segment.ack &&
    lastDirection(records, at) !== direction &&
    lastSegment(records, at) === Segment.syn &&
    (records[at + Tcp.last] & CHALLENGE_EXPECTED) !== 0;
  if (isOne) records[at + Tcp.last] &= ~CHALLENGE_EXPECTED;
  return isOne;
}

/** Whether a reset ends the connection: only one with the expected sequence number surely does (RFC 5961 §3.2). */
function judgeReset(
  records: Int32Array,
  at: number,
  direction: number,
  state: number,
  meta: number,
  settings: number,
  seq: number,
  ack: number,
): number {
  // The tuple of a closing connection may be in use again already.
  if (state >= State.finWait && state <= State.close) return Reset.believe;
  const last = lastSegment(records, at);
  const isAssured = (meta & Meta.assured) !== 0;
  const isEstablished = state === State.established && isAssured;
  let judged: number = Reset.check;
  if (hasPeerFlag(records, at, 1 - direction, Peer.maxAckSet) && last !== Segment.syn) {
    const expected = records[at + Tcp.maxAck + 1 - direction];
    if (seq === 0 && !isEstablished) return Reset.check;
    if (before(seq, expected) && (settings & TcpSetting.ignoreInvalidReset) === 0) return Reset.invalid;
    if (!isEstablished || seq === expected) return Reset.check;
    // The reset behind a train of data.
    if (last === Segment.ack && lastDirection(records, at) === direction && seq === records[at + Tcp.lastEnd])
      return Reset.check;
    judged = Reset.keepState;
  }
  const hasReplied = (meta & Meta.seenReply) !== 0;
  const answersSyn = hasReplied && last === Segment.syn && lastDirection(records, at) !== direction;
  const answersAck = !isAssured && last === Segment.ack;
  if ((answersSyn || answersAck) && ack === records[at + Tcp.lastEnd]) return judged | Reset.believe;
  const answersChallenge =
    state === State.synSent && last === Segment.ack && lastDirection(records, at) === 1;
  if (answersChallenge && seq === records[at + Tcp.lastAck]) return judged | Reset.believe;
  return judged;
}

/** A FIN or reset out of window from both ends in turn: the connection lives no longer, whatever is known here. */
function noteInvalid(
  records: Int32Array,
  at: number,
  direction: number,
  segment: number,
  meta: number,
): number {
  if ((meta & Meta.assured) === 0 || (segment !== Segment.rst && segment !== Segment.fin)) return TCP_INVALID;
  const last = lastSegment(records, at);
  if (lastDirection(records, at) !== direction && (last === Segment.fin || last === Segment.rst)) {
    return TCP_INVALID_CLOSING;
  }
  setLastSegment(records, at, direction, segment);
  return TCP_INVALID;
}
