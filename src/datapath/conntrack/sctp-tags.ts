/** Verification tags of SCTP connections (RFC 9260 §8.5), as nf_conntrack_proto_sctp keeps them. */
import { SCTP_FLAG_T, SctpChunk } from "../../wire/index.js";

/** Words of an SCTP connection's record: the tag that packets of each direction must carry, and flags. */
export const Tag = 0;
const Flags = 2;
/** Flags: an INIT was seen, 1 << direction; a HEARTBEAT came with another tag, and from which direction. */
const INIT_SEEN = 3;
const HEARTBEAT_FAILED = 4;
const FAILED_DIRECTION_SHIFT = 3;

/** What the verification tag says of a chunk. */
export const TagRule = { holds: 0, broken: 1, unsure: 2 } as const;
export type TagRule = (typeof TagRule)[keyof typeof TagRule];

/** Whether a chunk may come in a packet with this verification tag (RFC 9260 §8.5.1). */
export function judgeTag(
  records: Int32Array,
  at: number,
  direction: number,
  type: number,
  flags: number,
  tag: number,
  mayFail: boolean,
): TagRule {
  const own = records[at + Tag + direction];
  switch (type) {
    case SctpChunk.init:
      return tag === 0 ? TagRule.holds : TagRule.broken;
    case SctpChunk.abort:
    case SctpChunk.shutdownComplete: {
      const expected = (flags & SCTP_FLAG_T) === 0 ? own : records[at + Tag + 1 - direction];
      return tag === expected ? TagRule.holds : TagRule.broken;
    }
    case SctpChunk.cookieEcho:
      return tag === own ? TagRule.holds : TagRule.broken;
    case SctpChunk.cookieAck:
      // The attempts are over; another INIT begins a new one.
      records[at + Flags] &= ~INIT_SEEN;
      return TagRule.holds;
    case SctpChunk.heartbeat:
    case SctpChunk.heartbeatAck:
      return judgeHeartbeat(records, at, direction, type, tag, mayFail);
    default:
      return TagRule.holds;
  }
}

/**
 * A multi-homed peer's HEARTBEAT is the first that a path carries: its tag is taken on trust. One with another tag
 * passes but proves nothing, until the other side's HEARTBEAT ACK shows that the association was made anew.
 */
function judgeHeartbeat(
  records: Int32Array,
  at: number,
  direction: number,
  type: number,
  tag: number,
  mayFail: boolean,
): TagRule {
  const flags = records[at + Flags];
  const known = records[at + Tag + direction];
  if (known === 0) {
    records[at + Tag + direction] = tag;
    return TagRule.holds;
  }
  if (tag === known) {
    records[at + Flags] = flags & ~HEARTBEAT_FAILED;
    return TagRule.holds;
  }
  if (!mayFail) return TagRule.broken;
  if (type === SctpChunk.heartbeat) {
    records[at + Flags] =
      (flags & ~(1 << FAILED_DIRECTION_SHIFT)) | HEARTBEAT_FAILED | (direction << FAILED_DIRECTION_SHIFT);
    return TagRule.unsure;
  }
  const failedDirection = (flags >>> FAILED_DIRECTION_SHIFT) & 1;
  if ((flags & HEARTBEAT_FAILED) === 0 || failedDirection === direction) return TagRule.broken;
  records[at + Flags] = flags & ~HEARTBEAT_FAILED;
  records[at + Tag + direction] = tag;
  records[at + Tag + 1 - direction] = 0;
  return TagRule.holds;
}

/**
 * Notes the tag that the other side has to use from an INIT or INIT ACK on; false when it contradicts what is known.
 * `isFirst` is whether the connection begins with it.
 */
export function noteInitTag(
  records: Int32Array,
  at: number,
  direction: number,
  type: number,
  initTag: number,
  isFirst: boolean,
): boolean {
  const other = at + Tag + 1 - direction;
  const flags = records[at + Flags];
  if (type === SctpChunk.init) {
    // A repeated INIT, or one that was late, begins no new attempt. If both had sent one, this is a new attempt.
    if (isFirst || records[other] !== initTag) {
      const kept = (flags & INIT_SEEN) === INIT_SEEN ? flags & ~INIT_SEEN : flags;
      records[at + Flags] = kept | (1 << direction);
    }
  } else {
    const answersInit = (flags & (1 << (1 - direction))) !== 0;
    const collides = (flags & INIT_SEEN) === INIT_SEEN;
    if (collides && records[other] !== initTag) return false;
    if (!answersInit && records[other] !== 0 && records[other] !== initTag) return false;
  }
  records[other] = initTag;
  return true;
}
