/**
 * TCP as a middlebox sees it: the transitions of nf_conntrack_tcp (Linux) with `tcp_be_liberal=1` and `tcp_loose=1`.
 * Sequence windows are not followed: a node that forwards super-packets and survives restarts has no use for a check that
 * end hosts make anyway. A segment that makes no sense in the state is invalid; one that may be a late duplicate is
 * passed and changes nothing.
 */
import { TcpFlag } from "../../wire/index.js";
import { State } from "./state.js";

/** Outcomes that are not a state. */
export const INVALID = 15;
export const UNCHANGED = 14;
/** A new connection with the tuple of one that has ended: forget the old one, start anew. */
export const REOPEN = 13;

type Step = Partial<Record<"syn" | "synAck" | "fin" | "ack" | "rst", number>>;

const { synSent, synRecv, established, finWait, closeWait, lastAck, timeWait, close, synSent2, pickedUp } =
  State;

/** From each state: what a segment of the original direction leads to. What is missing is invalid. */
const ORIGINAL: readonly [State, Step][] = [
  [State.none, { syn: synSent, ack: pickedUp }],
  [synSent, { syn: synSent, rst: close }],
  [synRecv, { syn: UNCHANGED, synAck: synRecv, fin: finWait, ack: established, rst: close }],
  [established, { syn: UNCHANGED, fin: finWait, ack: established, rst: close }],
  [pickedUp, { syn: UNCHANGED, fin: finWait, ack: established, rst: close }],
  [finWait, { syn: UNCHANGED, fin: lastAck, ack: closeWait, rst: close }],
  [closeWait, { syn: UNCHANGED, fin: lastAck, ack: closeWait, rst: close }],
  [lastAck, { syn: UNCHANGED, fin: lastAck, ack: timeWait, rst: close }],
  [timeWait, { syn: REOPEN, fin: timeWait, ack: timeWait, rst: close }],
  [close, { syn: REOPEN, fin: close, ack: close, rst: close }],
  [synSent2, { syn: synSent2, synAck: synRecv, rst: close }],
];

/** The same for the reply direction. */
const REPLY: readonly [State, Step][] = [
  [synSent, { syn: synSent2, synAck: synRecv, ack: UNCHANGED, rst: close }],
  [synRecv, { synAck: UNCHANGED, fin: finWait, ack: synRecv, rst: close }],
  [established, { synAck: UNCHANGED, fin: finWait, ack: established, rst: close }],
  [pickedUp, { synAck: UNCHANGED, fin: finWait, ack: established, rst: close }],
  [finWait, { synAck: UNCHANGED, fin: lastAck, ack: closeWait, rst: close }],
  [closeWait, { synAck: UNCHANGED, fin: lastAck, ack: closeWait, rst: close }],
  [lastAck, { synAck: UNCHANGED, fin: lastAck, ack: timeWait, rst: close }],
  [timeWait, { syn: REOPEN, synAck: UNCHANGED, fin: timeWait, ack: timeWait, rst: close }],
  [close, { synAck: UNCHANGED, fin: close, ack: close, rst: close }],
  [synSent2, { syn: synSent2, synAck: synRecv, ack: UNCHANGED, rst: close }],
];

const SEGMENTS = ["syn", "synAck", "fin", "ack", "rst"] as const;
/** Rows of 16 states, one per segment class and direction. */
const TRANSITIONS = new Uint8Array(2 * SEGMENTS.length * 16).fill(INVALID);
[ORIGINAL, REPLY].forEach((rows, direction) => {
  for (const [state, step] of rows) {
    for (const [name, next] of Object.entries(step)) {
      const segment = SEGMENTS.indexOf(name as (typeof SEGMENTS)[number]);
      TRANSITIONS[((direction * SEGMENTS.length + segment) << 4) | state] = next;
    }
  }
});

/** Segment class by the low five flag bits: an index into SEGMENTS, or 255 for a combination that no TCP sends. */
const SEGMENT_OF_FLAGS = new Uint8Array(64).fill(255);
const { syn, ack, fin, rst, urg } = TcpFlag;
for (const [flags, segment] of [
  [syn, 0],
  [syn | urg, 0],
  [syn | ack, 1],
  [fin | ack, 2],
  [fin | ack | urg, 2],
  [ack, 3],
  [ack | urg, 3],
  [rst, 4],
  [rst | ack, 4],
]) {
  SEGMENT_OF_FLAGS[flags] = segment;
}
/** PSH, ECE and CWR say nothing about the state. */
const STATE_FLAGS = syn | ack | fin | rst | urg;

/** The state after a segment, or {@link INVALID}, {@link UNCHANGED}, {@link REOPEN}. `direction` 1 is the reply's. */
export function nextTcpState(state: number, direction: number, flags: number): number {
  const segment = SEGMENT_OF_FLAGS[flags & STATE_FLAGS];
  if (segment === 255) return INVALID;
  return TRANSITIONS[((direction * SEGMENTS.length + segment) << 4) | state];
}
