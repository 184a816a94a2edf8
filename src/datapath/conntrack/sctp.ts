/**
 * SCTP as a middlebox sees it: the states, verification tags and transitions of nf_conntrack_proto_sctp (Linux). Only
 * control chunks move a connection on; DATA and SACK belong to one that is known. A packet with the wrong verification
 * tag (RFC 9260 §8.5) is invalid.
 */
import {
  nextSctpChunk,
  SCTP_CHUNK_HEADER_BYTES,
  SCTP_HEADER_BYTES,
  SctpChunk,
  sctpChunkFlags,
  sctpChunkLength,
  sctpChunkType,
  sctpInitTag,
  sctpTag,
} from "../../wire/index.js";
import { clearNewRecord, NEW_RECORD } from "./proto-words.js";
import { judgeTag, noteInitTag, Tag, TagRule } from "./sctp-tags.js";

/** States; CLOSED is also that of a connection whose INIT was just seen. */
export const SctpState = {
  none: 0,
  closed: 1,
  cookieWait: 2,
  cookieEchoed: 3,
  established: 4,
  shutdownSent: 5,
  shutdownRecd: 6,
  shutdownAckSent: 7,
  heartbeatSent: 8,
} as const;

/** Names as `conntrack -L` prints them. */
export const SCTP_STATE_NAMES: readonly string[] = [
  "NONE",
  "CLOSED",
  "COOKIE_WAIT",
  "COOKIE_ECHOED",
  "ESTABLISHED",
  "SHUTDOWN_SENT",
  "SHUTDOWN_RECD",
  "SHUTDOWN_ACK_SENT",
  "HEARTBEAT_SENT",
];

/** Added to a state that the packet may pass in but does not keep alive. */
export const SCTP_NO_REFRESH = 0x10;
/** Added to the state that was reached when a packet turns out not to belong to this connection, or to none. */
export const SCTP_INVALID = 0x20;
/** Added when the packet has established the association, whatever came behind in it. */
export const SCTP_ASSURED = 0x40;
export const SCTP_STATE_MASK = 0xf;

const CL = SctpState.closed;
const CW = SctpState.cookieWait;
const CE = SctpState.cookieEchoed;
const ES = SctpState.established;
const SS = SctpState.shutdownSent;
const SR = SctpState.shutdownRecd;
const SA = SctpState.shutdownAckSent;
const HS = SctpState.heartbeatSent;
const IV = 0xf;

/** From the states in the order of their numbers: what a chunk of the original direction leads to. */
const ORIGINAL: Readonly<Record<number, readonly number[]>> = {
  [SctpChunk.init]: [CL, CL, CW, CE, ES, CL, CL, SA, CW],
  [SctpChunk.initAck]: [CL, CL, CW, CE, ES, SS, SR, SA, CL],
  [SctpChunk.abort]: [CL, CL, CL, CL, CL, CL, CL, CL, CL],
  [SctpChunk.shutdown]: [CL, CL, CW, CE, SS, SS, SR, SA, CL],
  [SctpChunk.shutdownAck]: [SA, CL, CW, CE, ES, SA, SA, SA, SA],
  [SctpChunk.error]: [CL, CL, CW, CE, ES, SS, SR, SA, CL],
  [SctpChunk.cookieEcho]: [CL, CL, CE, CE, ES, SS, SR, SA, CL],
  [SctpChunk.cookieAck]: [CL, CL, CW, ES, ES, SS, SR, SA, CL],
  [SctpChunk.shutdownComplete]: [CL, CL, CW, CE, ES, SS, SR, CL, CL],
  [SctpChunk.heartbeat]: [HS, CL, CW, CE, ES, SS, SR, SA, HS],
  [SctpChunk.heartbeatAck]: [CL, CL, CW, CE, ES, SS, SR, SA, HS],
};

/** The same for the reply direction. */
const REPLY: Readonly<Record<number, readonly number[]>> = {
  [SctpChunk.init]: [IV, CL, CW, CE, ES, SS, SR, SA, IV],
  [SctpChunk.initAck]: [IV, CW, CW, CE, ES, SS, SR, SA, IV],
  [SctpChunk.abort]: [IV, CL, CL, CL, CL, CL, CL, CL, IV],
  [SctpChunk.shutdown]: [IV, CL, CW, CE, SR, SS, SR, SA, IV],
  [SctpChunk.shutdownAck]: [IV, CL, CW, CE, ES, SA, SA, SA, IV],
  [SctpChunk.error]: [IV, CL, CW, CL, ES, SS, SR, SA, IV],
  [SctpChunk.cookieEcho]: [IV, CL, CE, CE, ES, SS, SR, SA, IV],
  [SctpChunk.cookieAck]: [IV, CL, CW, ES, ES, SS, SR, SA, IV],
  [SctpChunk.shutdownComplete]: [IV, CL, CW, CE, ES, SS, SR, CL, IV],
  [SctpChunk.heartbeat]: [IV, CL, CW, CE, ES, SS, SR, SA, HS],
  [SctpChunk.heartbeatAck]: [IV, CL, CW, CE, ES, SS, SR, SA, ES],
};

/** Rows of 16 states by direction and chunk type; what is not in the tables changes nothing. */
const CHUNK_TYPES = 16;
const TRANSITIONS = Uint8Array.from({ length: 2 * CHUNK_TYPES * 16 }, (_, at) => {
  const rows = at >>> 8 === 0 ? ORIGINAL : REPLY;
  return rows[(at >>> 4) & 0xf]?.[at & 0xf] ?? at & 0xf;
});

const bit = (type: number): number => 1 << type;
/** Chunks that no connection begins with (RFC 9260 §8.4). */
const NEVER_FIRST = bit(SctpChunk.abort) | bit(SctpChunk.shutdownComplete) | bit(SctpChunk.cookieAck);
/** Chunks with rules of their own for the tag, or none. */
const OWN_TAG_RULE =
  bit(SctpChunk.init) |
  bit(SctpChunk.shutdownComplete) |
  bit(SctpChunk.cookieEcho) |
  bit(SctpChunk.abort) |
  bit(SctpChunk.shutdownAck) |
  bit(SctpChunk.heartbeat) |
  bit(SctpChunk.heartbeatAck);
/** Chunks that must be alone. */
const ALONE = bit(SctpChunk.init) | bit(SctpChunk.initAck) | bit(SctpChunk.shutdownComplete);
/** Chunks that must be the first. */
const FIRST = bit(SctpChunk.cookieAck) | bit(SctpChunk.cookieEcho);

/** The state that a first packet, `[offset, end)`, puts a connection in, or {@link SCTP_INVALID}; fills the new record. */
export function beginSctp(bytes: Uint8Array, offset: number, end: number, records: Int32Array): number {
  const seen = chunksOf(bytes, offset, end);
  if (seen === 0 || (seen & NEVER_FIRST) !== 0) return SCTP_INVALID;
  clearNewRecord(records);
  const tag = sctpTag(bytes, offset);
  for (let chunk = offset + SCTP_HEADER_BYTES; isThere(chunk, end); chunk = nextSctpChunk(bytes, chunk)) {
    const type = sctpChunkType(bytes, chunk);
    if (next(0, type, SctpState.none) === SctpState.none) return SCTP_INVALID;
    if (type === SctpChunk.init) {
      const initTag = sctpInitTag(bytes, chunk, end);
      if (tag !== 0 || initTag < 0) return SCTP_INVALID;
      records[NEW_RECORD + Tag + 1] = initTag;
    } else if (type === SctpChunk.heartbeat) {
      records[NEW_RECORD + Tag] = tag;
    } else if (type === SctpChunk.shutdownAck) {
      // A SHUTDOWN COMPLETE will answer it with the same tag (RFC 9260 §8.4).
      records[NEW_RECORD + Tag + 1] = tag;
    }
  }
  return walk(bytes, offset, end, records, NEW_RECORD, 0, SctpState.none, seen, false);
}

/**
 * The state after a further packet, `[offset, end)`, of the connection whose record is at `at`, with
 * {@link SCTP_NO_REFRESH} or {@link SCTP_INVALID}. `direction` 1 is the reply's.
 */
export function nextSctpState(
  bytes: Uint8Array,
  offset: number,
  end: number,
  records: Int32Array,
  at: number,
  direction: number,
  state: number,
): number {
  const seen = chunksOf(bytes, offset, end);
  if (seen === 0) return state | SCTP_INVALID;
  return walk(bytes, offset, end, records, at, direction, state, seen, true);
}

function isThere(chunk: number, end: number): boolean {
  return chunk + SCTP_CHUNK_HEADER_BYTES <= end;
}

function next(direction: number, type: number, state: number): number {
  return type < CHUNK_TYPES ? TRANSITIONS[(direction << 8) | (type << 4) | state] : state;
}

/** The chunk types of a packet as bits, bit 31 for all above 30; 0 when its chunks are not as RFC 9260 wants them. */
function chunksOf(bytes: Uint8Array, offset: number, end: number): number {
  let seen = 0;
  let isFirst = true;
  for (let chunk = offset + SCTP_HEADER_BYTES; isThere(chunk, end); chunk = nextSctpChunk(bytes, chunk)) {
    const type = bit(Math.min(sctpChunkType(bytes, chunk), 31));
    const mustBeFirst = (type & FIRST) !== 0 || ((seen | type) & ALONE) !== 0;
    if ((mustBeFirst && !isFirst) || sctpChunkLength(bytes, chunk) === 0) return 0;
    seen |= type;
    isFirst = false;
  }
  return seen;
}

/** Carries the record at `at` through the chunks of a packet; returns as {@link nextSctpState}. */
function walk(
  bytes: Uint8Array,
  offset: number,
  end: number,
  records: Int32Array,
  at: number,
  direction: number,
  before: number,
  seen: number,
  isKnown: boolean,
): number {
  const tag = sctpTag(bytes, offset) | 0;
  if ((seen & OWN_TAG_RULE) === 0 && tag !== records[at + Tag + direction]) return before | SCTP_INVALID;
  let state = before;
  let refresh = 0;
  let assured = 0;
  for (let chunk = offset + SCTP_HEADER_BYTES; isThere(chunk, end); chunk = nextSctpChunk(bytes, chunk)) {
    const type = sctpChunkType(bytes, chunk);
    const mayFail = refresh === 0 && (seen & bit(SctpChunk.data)) === 0;
    const judged = judgeTag(records, at, direction, type, sctpChunkFlags(bytes, chunk), tag, mayFail);
    if (judged === TagRule.broken) return state | assured | SCTP_INVALID;
    if (judged === TagRule.unsure) {
      refresh = SCTP_NO_REFRESH;
      continue;
    }
    const reached = next(direction, type, state);
    if (reached === IV) return state | assured | SCTP_INVALID;
    if (type === SctpChunk.init || type === SctpChunk.initAck) {
      const initTag = sctpInitTag(bytes, chunk, end);
      const isFirst = state === SctpState.none;
      if (initTag < 0 || !noteInitTag(records, at, direction, type, initTag | 0, isFirst))
        return state | SCTP_INVALID;
      // A repeated INIT must not keep the entry, and with it the translation, alive for ever.
      if (isKnown && type === SctpChunk.init && state === CL && reached === CL) refresh = SCTP_NO_REFRESH;
    }
    if (reached === ES && state !== ES) assured = SCTP_ASSURED;
    state = reached;
  }
  return state | refresh | assured;
}
