/**
 * The short case of trackTcp: a plain acknowledgement, with or without data, on an established connection and inside the
 * windows of both ends. Most segments are that. What is not (a window nobody has announced yet, data beyond it, a number
 * that is too old) it leaves for trackTcp, untouched; the record of what it takes it leaves exactly as trackTcp would.
 */
import { WORDS_PER_ENTRY, Word } from "./flow-table.js";
import { PROTO_WORDS } from "./proto-words.js";
import { RETRANS_TIMEOUT, State, UNACKNOWLEDGED_TIMEOUT } from "./state.js";
import { MAX_RETRANS_SHIFT } from "./tcp.js";
import {
  LAST_DIRECTION,
  LAST_SEGMENT_MASK,
  LAST_SEGMENT_SHIFT,
  LAST_WINDOW_MASK,
  Peer,
  peerShift,
  REPEATS_MASK,
  REPEATS_SHIFT,
  SCALE_BITS,
  SCALE_MASK,
  Segment,
  Tcp,
} from "./tcp-record.js";
import { MAX_ACK_LAG } from "./tcp-window.js";

// V8 compiles a module's own constants into the code, but looks up imported ones each time.
const { end: END, maxEnd: MAX_END, maxWindow: MAX_WINDOW, maxAck: MAX_ACK, flags: FLAGS } = Tcp;
const { lastSeq: LAST_SEQ, lastAck: LAST_ACK, lastEnd: LAST_END, last: LAST } = Tcp;
const { deadline: DEADLINE, packets: PACKETS, bytes: BYTES, bytesHigh: BYTES_HIGH } = Word;
const ENTRY_WORDS = WORDS_PER_ENTRY;
const RECORD_WORDS = PROTO_WORDS;
const ESTABLISHED = State.established;
const RETRANS_TICKS = RETRANS_TIMEOUT;
const UNACKNOWLEDGED_TICKS = UNACKNOWLEDGED_TIMEOUT;
/** References of a flow table: see MAX_CAPACITY. */
const REFERENCE = 0x1ffffff;
const OWN_DIRECTION = LAST_DIRECTION;
const SCALE_STEP = SCALE_BITS;
const SCALE = SCALE_MASK;
const WINDOW = LAST_WINDOW_MASK;
const REPEATS = REPEATS_MASK;
const REPEAT = 1 << REPEATS_SHIFT;
const REPEATS_STEP = REPEATS_SHIFT;
const RETRANS_STEP = MAX_RETRANS_SHIFT;
const ACK_LAG = MAX_ACK_LAG;
const ACK_SET = Peer.maxAckSet << peerShift(0);
const DATA_SENT = Peer.dataUnacknowledged << peerShift(0);
const DATA_SENT_BY_ANY = DATA_SENT | (Peer.dataUnacknowledged << peerShift(1));
const PEER_STEP = peerShift(1) - peerShift(0);
const SEEN_MASK = ~((LAST_SEGMENT_MASK << LAST_SEGMENT_SHIFT) | LAST_DIRECTION);
const SEEN_ACK = Segment.ack << LAST_SEGMENT_SHIFT;

/** What is the same for all connections, and may change: the time in ticks, and TCP's settings as trackTcp wants them. */
export interface ConntrackClock {
  readonly now: number;
  readonly tcpSettings: number;
}

/**
 * Counts a segment with ACK and neither SYN, FIN nor RST, which holds no SACK, of an established TCP connection, notes
 * what it says and puts the connection's end off. Numbers are signed; allocates nothing.
 *
 * @param rawWindow as it stands in the header
 * @param lengthBytes of the whole IP packet; `payloadBytes` of the segment, also when it is a super-packet
 * @returns whether it did; if not, nothing has changed
 */
export type TouchAck = (
  reference: number,
  seq: number,
  ack: number,
  rawWindow: number,
  lengthBytes: number,
  payloadBytes: number,
) => boolean;

/** Made once for a table: V8 then compiles the addresses and lengths of its arrays into the code. */
export function makeTouchAck(
  clock: ConntrackClock,
  words: Int32Array,
  records: Int32Array,
  timeouts: Int32Array,
): TouchAck {
  return (reference, anySeq, anyAck, anyWindow, anyLength, anyPayload) => {
    const seq = anySeq | 0;
    const ack = anyAck | 0;
    const rawWindow = anyWindow & 0xffff;
    const payloadBytes = anyPayload & 0xffff;
    const direction = reference & 1;
    const entry = (reference & REFERENCE) >>> 1;
    const record = entry * RECORD_WORDS;
    const sender = record + direction;
    const receiver = record + 1 - direction;
    const senderWindow = records[sender + MAX_WINDOW];
    const receiverWindow = records[receiver + MAX_WINDOW];
    const senderEnd = records[sender + END];
    const lag = (records[receiver + END] - ack) | 0;
    const end = (seq + payloadBytes) | 0;
    // Windows of 2 GB and more would need unsigned comparisons.
    if (
      senderWindow <= 0 ||
      receiverWindow <= 0 ||
      ((records[sender + MAX_END] - seq) | 0) < payloadBytes ||
      ((senderEnd - end - receiverWindow - 1) | 0) >= 0 ||
      lag < 0 ||
      (lag > ACK_LAG && lag > senderWindow)
    )
      return false;

    const before = records[record + FLAGS];
    const shift = direction * PEER_STEP;
    const window = rawWindow << ((before >>> (direction * SCALE_STEP)) & SCALE);
    let flags = (before & SEEN_MASK) | SEEN_ACK | (direction * OWN_DIRECTION);
    if (window > senderWindow) records[sender + MAX_WINDOW] = window;
    if (((senderEnd - end) | 0) < 0) {
      records[sender + END] = end;
      flags |= DATA_SENT << shift;
    }
    if ((before & (ACK_SET << shift)) === 0 || ((records[sender + MAX_ACK] - ack) | 0) < 0) {
      records[sender + MAX_ACK] = ack;
      flags |= ACK_SET << shift;
    }
    const maxEnd = (ack + window) | 0;
    if (((records[receiver + MAX_END] - 1 - maxEnd) | 0) < 0)
      records[receiver + MAX_END] = window === 0 ? maxEnd + 1 : maxEnd;
    if (lag === 0) flags &= ~(DATA_SENT << (PEER_STEP - shift));
    records[record + FLAGS] = flags;

    let last = records[record + LAST];
    if (
      ((before ^ flags) & OWN_DIRECTION) !== 0 ||
      records[record + LAST_SEQ] !== seq ||
      records[record + LAST_ACK] !== ack ||
      records[record + LAST_END] !== end ||
      (last & WINDOW) !== rawWindow
    ) {
      records[record + LAST_SEQ] = seq;
      records[record + LAST_ACK] = ack;
      records[record + LAST_END] = end;
      last = (last & ~WINDOW & ~REPEATS) | rawWindow;
      records[record + LAST] = last;
    } else if ((last & REPEATS) !== REPEATS) {
      last = (last + REPEAT) | 0;
      records[record + LAST] = last;
    }

    let ticks = timeouts[ESTABLISHED];
    if ((last & REPEATS) >>> REPEATS_STEP >= clock.tcpSettings >>> RETRANS_STEP)
      ticks = Math.min(ticks, timeouts[RETRANS_TICKS]);
    else if ((flags & DATA_SENT_BY_ANY) !== 0) ticks = Math.min(ticks, timeouts[UNACKNOWLEDGED_TICKS]);
    else if (rawWindow === 0) ticks = Math.min(ticks, timeouts[RETRANS_TICKS]);
    const at = entry * ENTRY_WORDS;
    words[at + DEADLINE] = clock.now + ticks;
    words[at + PACKETS + direction]++;
    const bytes = words[at + BYTES + direction];
    const newBytes = (bytes + anyLength) | 0;
    words[at + BYTES + direction] = newBytes;
    // Unsigned, it became less.
    if ((bytes & ~newBytes) < 0) words[at + BYTES_HIGH] += direction === 0 ? 1 : 0x10000;
    return true;
  };
}
