/** The states that TCP segments lead to, as nf_conntrack_tcp (Linux) has them. */
import { TcpFlag } from "../../wire/index.js";
import { State } from "./state.js";
import { Segment } from "./tcp-record.js";

/** Instead of a state: no TCP sends this; it may be anything, so it passes and changes nothing. */
export const STEP_INVALID = 15;
export const STEP_IGNORED = 14;

type Step = Partial<Record<"syn" | "synAck" | "fin" | "ack" | "rst", number>>;

const { synSent, synRecv, established, finWait, closeWait, lastAck, timeWait, close, synSent2 } = State;
const ignored = STEP_IGNORED;

/** From each state: what a segment of the original direction leads to. What is missing is invalid. */
const ORIGINAL: readonly [State, Step][] = [
  [State.none, { syn: synSent, ack: established }],
  [synSent, { syn: synSent, rst: close }],
  [synRecv, { syn: ignored, synAck: synRecv, fin: finWait, ack: established, rst: close }],
  [established, { syn: ignored, fin: finWait, ack: established, rst: close }],
  [finWait, { syn: ignored, fin: lastAck, ack: closeWait, rst: close }],
  [closeWait, { syn: ignored, fin: lastAck, ack: closeWait, rst: close }],
  [lastAck, { syn: ignored, fin: lastAck, ack: timeWait, rst: close }],
  [timeWait, { syn: synSent, fin: timeWait, ack: timeWait, rst: close }],
  [close, { syn: synSent, fin: close, ack: close, rst: close }],
  [synSent2, { syn: synSent2, synAck: synRecv, rst: close }],
];

/** The same for the reply direction. */
const REPLY: readonly [State, Step][] = [
  [synSent, { syn: synSent2, synAck: synRecv, ack: ignored, rst: close }],
  [synRecv, { synAck: ignored, fin: finWait, ack: synRecv, rst: close }],
  [established, { synAck: ignored, fin: finWait, ack: established, rst: close }],
  [finWait, { synAck: ignored, fin: lastAck, ack: closeWait, rst: close }],
  [closeWait, { synAck: ignored, fin: lastAck, ack: closeWait, rst: close }],
  [lastAck, { synAck: ignored, fin: lastAck, ack: timeWait, rst: close }],
  [timeWait, { syn: synSent, synAck: ignored, fin: timeWait, ack: timeWait, rst: close }],
  [close, { synAck: ignored, fin: close, ack: close, rst: close }],
  [synSent2, { syn: synSent2, synAck: synRecv, ack: ignored, rst: close }],
];

/** Rows of 16 states by direction and segment class. */
const ROWS_PER_DIRECTION = 8;
const TRANSITIONS = new Uint8Array(2 * ROWS_PER_DIRECTION * 16).fill(STEP_INVALID);
[ORIGINAL, REPLY].forEach((rows, direction) => {
  for (const [state, step] of rows) {
    for (const [name, next] of Object.entries(step)) {
      const segment = Segment[name as keyof typeof Segment];
      TRANSITIONS[((direction * ROWS_PER_DIRECTION + segment) << 4) | state] = next;
    }
  }
});

const { syn, ack, fin, rst, urg } = TcpFlag;
/** PSH, ECE and CWR say nothing about the state. */
const STATE_FLAGS = syn | ack | fin | rst | urg;
/** Segment class by flags; `none` for a combination that no TCP sends. */
const SEGMENT_OF_FLAGS = new Uint8Array(STATE_FLAGS + 1).fill(Segment.none);
for (const [flags, segment] of [
  [syn, Segment.syn],
  [syn | urg, Segment.syn],
  [syn | ack, Segment.synAck],
  [fin | ack, Segment.fin],
  [fin | ack | urg, Segment.fin],
  [ack, Segment.ack],
  [ack | urg, Segment.ack],
  [rst, Segment.rst],
  [rst | ack, Segment.rst],
]) {
  SEGMENT_OF_FLAGS[flags] = segment;
}

/** The {@link Segment} that flags make. */
export function segmentOf(flags: number): number {
  return SEGMENT_OF_FLAGS[flags & STATE_FLAGS];
}

/** The state after a segment, or {@link STEP_INVALID} or {@link STEP_IGNORED}. `direction` 1 is the reply's. */
export function stepTcp(state: number, direction: number, segment: number): number {
  return TRANSITIONS[((direction * ROWS_PER_DIRECTION + segment) << 4) | state];
}
