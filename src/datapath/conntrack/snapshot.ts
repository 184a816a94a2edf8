/**
 * Connections outside the table: what a node process leaves to the one after it, so that open connections go on. A full
 * table takes tens of milliseconds to copy, so it is copied in slices, between which packets pass: each slice stands
 * for itself, with its own names and addresses.
 */
import { IPV6_ADDRESS_BYTES, IpProtocol } from "../../wire/index.js";
import { type AddressBook, isIpv6Handle, NO_HANDLE } from "../ipv6/address-book.js";
import { type FlowTable, Meta, REPLY_TUPLE, WORDS_PER_ENTRY, Word } from "./flow-table.js";
import { type Labels, NO_LABEL } from "./labels.js";
import { PROTO_WORDS } from "./proto-words.js";
import { SctpState } from "./sctp.js";
import { State } from "./state.js";
import { loseTrack } from "./tcp-record.js";

/** Words of a connection: the table's, with the ticks that were left and an index of a label, then TCP's or SCTP's own. */
export const SNAPSHOT_WORDS = WORDS_PER_ENTRY + PROTO_WORDS;
/** Words of an entry that hold an address, and the bytes of as many IPv6 addresses. */
const ADDRESS_WORDS = [Word.src, Word.dst, REPLY_TUPLE + Word.src, REPLY_TUPLE + Word.dst] as const;
export const SNAPSHOT_ADDRESS_BYTES = ADDRESS_WORDS.length * IPV6_ADDRESS_BYTES;
/** Entries looked at for one slice: a quarter of a millisecond. */
const SLICE_ENTRIES = 1024;

/** Some connections. */
export interface ConntrackSnapshot {
  /** {@link SNAPSHOT_WORDS} for each connection; those over IPv6 stand at the end. */
  readonly words: Int32Array;
  /** {@link SNAPSHOT_ADDRESS_BYTES} for each connection over IPv6: source and destination, both again of the reply. */
  readonly addresses: Uint8Array;
  /** Service and endpoint; connections count them from 1. */
  readonly labels: readonly (readonly [string, string])[];
}

/** Where connections are copied from or to. */
export interface SnapshotTables {
  readonly table: FlowTable;
  readonly protoWords: Int32Array;
  readonly labels: Labels;
  /** Missing on a node without IPv6. */
  readonly book: AddressBook | undefined;
  /** The time now, in ticks. */
  readonly now: number;
}

/** Flags that a connection keeps. */
const KEPT_FLAGS = Meta.seenReply | Meta.assured | Meta.srcNat | Meta.dstNat | Meta.lasting;

/**
 * Copies the connections that have not expired, a slice for each step. What begins, ends or changes between two steps
 * may be in the next or not.
 */
export function* takeSnapshot(tables: SnapshotTables): Generator<ConntrackSnapshot, void> {
  for (let entry = 1; entry < tables.table.end; entry += SLICE_ENTRIES) {
    const slice = takeSlice(tables, entry, Math.min(entry + SLICE_ENTRIES, tables.table.end));
    if (slice.words.length > 0) yield slice;
  }
}

function takeSlice(tables: SnapshotTables, from: number, end: number): ConntrackSnapshot {
  const { table, protoWords, labels, book, now } = tables;
  const words = new Int32Array((end - from) * SNAPSHOT_WORDS);
  const indices = new Map<number, number>([[NO_LABEL, 0]]);
  const names: [string, string][] = [];
  const late: number[] = [];
  let to = 0;
  const copy = (entry: number) => {
    const at = entry * WORDS_PER_ENTRY;
    const meta = table.words[at + Word.meta];
    const label = meta >>> Meta.labelShift;
    if (!indices.has(label)) {
      names.push([labels.service(label) ?? "", labels.endpoint(label) ?? ""]);
      indices.set(label, names.length);
    }
    words.set(table.words.subarray(at, at + WORDS_PER_ENTRY), to);
    words[to + Word.meta] =
      (meta & ~(-1 << Meta.labelShift)) | ((indices.get(label) ?? 0) << Meta.labelShift);
    words[to + Word.deadline] -= now;
    words.set(protoWords.subarray(entry * PROTO_WORDS, (entry + 1) * PROTO_WORDS), to + WORDS_PER_ENTRY);
    to += SNAPSHOT_WORDS;
  };
  for (let entry = from; entry < end; entry++) {
    const at = entry * WORDS_PER_ENTRY;
    if (!table.isLive(entry) || table.words[at + Word.deadline] <= now) continue;
    if (isIpv6(table.words, at)) late.push(entry);
    else copy(entry);
  }
  if (book === undefined)
    return { words: words.subarray(0, to), addresses: new Uint8Array(0), labels: names };
  const addresses = new Uint8Array(late.length * SNAPSHOT_ADDRESS_BYTES);
  late.forEach((entry, index) => {
    copy(entry);
    ADDRESS_WORDS.forEach((word, i) => {
      const handle = table.words[entry * WORDS_PER_ENTRY + word] >>> 0;
      book.write(handle, addresses, index * SNAPSHOT_ADDRESS_BYTES + i * IPV6_ADDRESS_BYTES);
    });
  });
  return { words: words.subarray(0, to), addresses, labels: names };
}

/**
 * Enters the connections of a slice that would still live `elapsedTicks` later, as far as they make sense and there is
 * room. Returns how many.
 */
export function restoreSnapshot(
  { words: saved, addresses, labels: names }: ConntrackSnapshot,
  { table, protoWords, labels, book, now }: SnapshotTables,
  elapsedTicks: number,
): number {
  const words = saved.slice();
  const firstIpv6 = words.length / SNAPSHOT_WORDS - Math.floor(addresses.length / SNAPSHOT_ADDRESS_BYTES);
  let restored = 0;
  for (let index = 0; (index + 1) * SNAPSHOT_WORDS <= words.length; index++) {
    const from = index * SNAPSHOT_WORDS;
    const meta = words[from + Word.meta];
    const left = words[from + Word.deadline] - elapsedTicks;
    if (left <= 0 || !isSound(meta)) continue;
    const addressesAt = (index - firstIpv6) * SNAPSHOT_ADDRESS_BYTES;
    // Handles of IPv6 addresses mean nothing to another process.
    if (isIpv6(words, from) ? !takeAddresses(words, from, addresses, addressesAt, book) : index >= firstIpv6)
      continue;
    if (!isFree(table, words, from)) continue;
    const entry = table.allocate();
    if (entry === 0) break;
    const at = entry * WORDS_PER_ENTRY;
    const [service, endpoint] = names[(meta >>> Meta.labelShift) - 1] ?? ["", ""];
    table.words.set(words.subarray(from, from + WORDS_PER_ENTRY), at);
    table.words[at + Word.meta] =
      (meta & (Meta.protocolMask | Meta.stateMask | KEPT_FLAGS)) |
      (labels.take(service, endpoint) << Meta.labelShift);
    table.words[at + Word.deadline] = now + left;
    protoWords.set(words.subarray(from + WORDS_PER_ENTRY, from + SNAPSHOT_WORDS), entry * PROTO_WORDS);
    // Segments may have passed after the snapshot was taken.
    if ((meta & Meta.protocolMask) === IpProtocol.tcp) loseTrack(protoWords, entry * PROTO_WORDS);
    table.link(entry);
    restored++;
  }
  return restored;
}

/** Puts this process' handles in place of the saved ones; false when there is no room for them, or nothing was saved. */
function takeAddresses(
  words: Int32Array,
  at: number,
  addresses: Uint8Array,
  addressesAt: number,
  book: AddressBook | undefined,
): boolean {
  if (book === undefined || addressesAt < 0) return false;
  const offset = (i: number) => addressesAt + i * IPV6_ADDRESS_BYTES;
  const isKnown = (word: number, i: number) =>
    words[at + word] !== NO_HANDLE && book.find(addresses, offset(i)) === words[at + word] >>> 0;
  // A full book frees what no table holds yet, such as the first of these; then there is room for all.
  for (let attempt = 0; attempt < 2; attempt++) {
    ADDRESS_WORDS.forEach((word, i) => {
      words[at + word] = book.intern(addresses, offset(i));
    });
    if (ADDRESS_WORDS.every(isKnown)) return true;
  }
  return false;
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
    case IpProtocol.icmpv6:
      return state === State.icmpv6;
    default:
      return state === State.generic;
  }
}

function isIpv6(words: Int32Array, at: number): boolean {
  return ADDRESS_WORDS.some((word) => isIpv6Handle(words[at + word] >>> 0));
}

/** Whether nobody has either tuple. */
function isFree(table: FlowTable, words: Int32Array, from: number): boolean {
  const protocol = words[from + Word.meta] & Meta.protocolMask;
  const isTaken = (at: number) =>
    table.find(protocol, words[at + Word.src], words[at + Word.dst], words[at + Word.ports]) !== 0;
  return !isTaken(from) && !isTaken(from + REPLY_TUPLE);
}
