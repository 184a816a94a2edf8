/** Conntrack entries as people and the proxy see them. */
import { type IpAddress, IpProtocol } from "../../wire/index.js";
import type { AddressBook } from "../ipv6/address-book.js";
import type { Tuple } from "../types.js";
import { Meta, REPLY_TUPLE, Word } from "./flow-table.js";
import type { Labels } from "./labels.js";
import { SCTP_STATE_NAMES } from "./sctp.js";
import { TCP_STATE_NAMES, TICK_MS } from "./state.js";

/** One connection; the fields of a `conntrack -L` line. */
export interface ConntrackRecord {
  readonly protocol: number;
  /** Seconds until it expires without further traffic. */
  readonly timeoutSeconds: number;
  /** TCP and SCTP only: `ESTABLISHED` … */
  readonly state?: string;
  readonly original: Tuple;
  readonly reply: Tuple;
  readonly originalPackets: number;
  readonly originalBytes: number;
  readonly replyPackets: number;
  readonly replyBytes: number;
  /** No packet of the reply direction was seen yet. */
  readonly unreplied: boolean;
  readonly assured: boolean;
  /** Service and endpoint that the proxy chose. */
  readonly service?: string;
  readonly endpoint?: string;
}

/** Matches entries whose original direction has all the given values, and whose state is the given one. */
export interface ConntrackFilter {
  readonly protocol?: number;
  readonly src?: IpAddress;
  readonly dst?: IpAddress;
  readonly sport?: number;
  readonly dport?: number;
  /** `ESTABLISHED` … */
  readonly state?: string;
}

export function matchesFilter({ original, state }: ConntrackRecord, filter: ConntrackFilter): boolean {
  return (
    (filter.protocol ?? original.protocol) === original.protocol &&
    (filter.src ?? original.src) === original.src &&
    (filter.dst ?? original.dst) === original.dst &&
    (filter.sport ?? original.sport) === original.sport &&
    (filter.dport ?? original.dport) === original.dport &&
    (filter.state ?? state) === state
  );
}

/** The entry whose words begin at `at`. */
export function readRecord(
  words: Int32Array,
  at: number,
  nowTicks: number,
  labels: Labels,
  book: AddressBook | undefined,
): ConntrackRecord {
  const meta = words[at + Word.meta];
  const protocol = meta & Meta.protocolMask;
  const high = words[at + Word.bytesHigh];
  const label = meta >>> Meta.labelShift;
  return {
    protocol,
    timeoutSeconds: Math.max(0, Math.ceil(((words[at + Word.deadline] - nowTicks) * TICK_MS) / 1000)),
    state: stateName(protocol, (meta & Meta.stateMask) >>> Meta.stateShift),
    original: readTuple(words, at, protocol, book),
    reply: readTuple(words, at + REPLY_TUPLE, protocol, book),
    originalPackets: words[at + Word.packets] >>> 0,
    originalBytes: (high & 0xffff) * 2 ** 32 + (words[at + Word.bytes] >>> 0),
    replyPackets: words[at + Word.packets + 1] >>> 0,
    replyBytes: (high >>> 16) * 2 ** 32 + (words[at + Word.bytes + 1] >>> 0),
    unreplied: (meta & Meta.seenReply) === 0,
    assured: (meta & Meta.assured) !== 0,
    service: labels.service(label),
    endpoint: labels.endpoint(label),
  };
}

function stateName(protocol: number, state: number): string | undefined {
  if (protocol === IpProtocol.tcp) return TCP_STATE_NAMES[state];
  return protocol === IpProtocol.sctp ? SCTP_STATE_NAMES[state] : undefined;
}

function readTuple(words: Int32Array, at: number, protocol: number, book: AddressBook | undefined): Tuple {
  const ports = words[at + Word.ports];
  const [src, dst] = [words[at + Word.src] >>> 0, words[at + Word.dst] >>> 0];
  return {
    protocol,
    src: book?.name(src) ?? src,
    dst: book?.name(dst) ?? dst,
    sport: ports >>> 16,
    dport: ports & 0xffff,
  };
}
