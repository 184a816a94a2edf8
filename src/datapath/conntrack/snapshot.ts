/** Connections outside the table: what a node process leaves to the one after it, so that open connections go on. */
import { IpProtocol } from "../../wire/index.js";
import { isIpv6Handle } from "../ipv6/address-book.js";
import { type FlowTable, Meta, REPLY_TUPLE, WORDS_PER_ENTRY, Word } from "./flow-table.js";
import { type Labels, NO_LABEL } from "./labels.js";
import { PROTO_WORDS } from "./proto-words.js";
import { SctpState } from "./sctp.js";
import { State } from "./state.js";
import { loseTrack } from "./tcp-record.js";

/** Words of a connection: the table's, with the ticks that were left and an index of a label, then TCP's or SCTP's own. */
export const SNAPSHOT_WORDS = WORDS_PER_ENTRY + PROTO_WORDS;

export interface ConntrackSnapshot {
  /** {@link SNAPSHOT_WORDS} for each connection. */
  readonly words: Int32Array;
  /** Service and endpoint; connections count them from 1. */
  readonly labels: readonly (readonly [string, string])[];
}

/** Flags that a connection keeps. */
const KEPT_FLAGS = Meta.seenReply | Meta.assured | Meta.srcNat | Meta.dstNat | Meta.lasting;

/** Copies the connections that have not expired. */
export function takeSnapshot(
  table: FlowTable,
  protoWords: Int32Array,
  labels: Labels,
  nowTicks: number,
): ConntrackSnapshot {
  const words = new Int32Array(table.count * SNAPSHOT_WORDS);
  const indices = new Map<number, number>([[NO_LABEL, 0]]);
  const names: [string, string][] = [];
  let to = 0;
  for (let entry = 1; entry < table.end; entry++) {
    const at = entry * WORDS_PER_ENTRY;
    const left = table.words[at + Word.deadline] - nowTicks;
    if (!table.isLive(entry) || left <= 0 || isIpv6(table.words, at)) continue;
    const meta = table.words[at + Word.meta];
    const label = meta >>> Meta.labelShift;
    if (!indices.has(label)) {
      names.push([labels.service(label) ?? "", labels.endpoint(label) ?? ""]);
      indices.set(label, names.length);
    }
    words.set(table.words.subarray(at, at + WORDS_PER_ENTRY), to);
    words[to + Word.meta] =
      (meta & ~(-1 << Meta.labelShift)) | ((indices.get(label) ?? 0) << Meta.labelShift);
    words[to + Word.deadline] = left;
    words.set(protoWords.subarray(entry * PROTO_WORDS, (entry + 1) * PROTO_WORDS), to + WORDS_PER_ENTRY);
    to += SNAPSHOT_WORDS;
  }
  return { words: words.subarray(0, to), labels: names };
}

/**
 * Enters the connections of a snapshot that would still live `elapsedTicks` later, as far as they make sense and there is
 * room. Returns how many.
 */
export function restoreSnapshot(
  { words, labels: names }: ConntrackSnapshot,
  table: FlowTable,
  protoWords: Int32Array,
  labels: Labels,
  nowTicks: number,
  elapsedTicks: number,
): number {
  let restored = 0;
  for (let from = 0; from + SNAPSHOT_WORDS <= words.length; from += SNAPSHOT_WORDS) {
    const meta = words[from + Word.meta];
    const left = words[from + Word.deadline] - elapsedTicks;
    if (left <= 0 || !isSound(meta) || isIpv6(words, from) || !isFree(table, words, from)) continue;
    const entry = table.allocate();
    if (entry === 0) break;
    const at = entry * WORDS_PER_ENTRY;
    const [service, endpoint] = names[(meta >>> Meta.labelShift) - 1] ?? ["", ""];
    table.words.set(words.subarray(from, from + WORDS_PER_ENTRY), at);
    table.words[at + Word.meta] =
      (meta & (Meta.protocolMask | Meta.stateMask | KEPT_FLAGS)) |
      (labels.take(service, endpoint) << Meta.labelShift);
    table.words[at + Word.deadline] = nowTicks + left;
    protoWords.set(words.subarray(from + WORDS_PER_ENTRY, from + SNAPSHOT_WORDS), entry * PROTO_WORDS);
    // Segments may have passed after the snapshot was taken.
    if ((meta & Meta.protocolMask) === IpProtocol.tcp) loseTrack(protoWords, entry * PROTO_WORDS);
    table.link(entry);
    restored++;
  }
  return restored;
}

/** Whether the state is one of the protocol's. */
function isSound(meta: number): boolean {
  const state = (meta & Meta.stateMask) >>> Meta.stateShift;
  switch (meta & Meta.protocolMask) {
    case IpProtocol.tcp:
      return state >= State.synSent && state <= State.synSent2;
    case IpProtocol.sctp:
      return state >= SctpState.closed && state <= SctpState.heartbeatSent;
    case IpProtocol.udp:
      return state === State.udp || state === State.udpStream;
    case IpProtocol.icmp:
      return state === State.icmp;
    default:
      return state === State.generic;
  }
}

/** Handles of IPv6 addresses mean nothing to another process. */
function isIpv6(words: Int32Array, at: number): boolean {
  for (const word of [Word.src, Word.dst, REPLY_TUPLE + Word.src, REPLY_TUPLE + Word.dst]) {
    if (isIpv6Handle(words[at + word] >>> 0)) return true;
  }
  return false;
}

/** Whether nobody has either tuple. */
function isFree(table: FlowTable, words: Int32Array, from: number): boolean {
  const protocol = words[from + Word.meta] & Meta.protocolMask;
  const isTaken = (at: number) =>
    table.find(protocol, words[at + Word.src], words[at + Word.dst], words[at + Word.ports]) !== 0;
  return !isTaken(from) && !isTaken(from + REPLY_TUPLE);
}
