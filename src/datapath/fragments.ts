/**
 * Fragments after the first carry no ports, so they follow what was decided for their first fragment. One that arrives
 * before it is dropped (`fragment-without-first`): senders emit fragments in order, links here keep the order, and
 * holding strangers' fragments back would be memory that anyone can fill.
 */
import { isFragment } from "../wire/index.js";
import type { CtState, Packet } from "./packet.js";

/** Words of a record. */
const Word = { src: 0, dst: 1, key: 2, newSrc: 3, newDst: 4, ports: 5, newPorts: 6, state: 7 } as const;
const WORDS = 8;
/** Records that one key may be in; the one that expires first makes room. */
const WAYS = 4;
const SETS = 256;
/** Linux' net.ipv4.ipfrag_time. */
const TIMEOUT_MS = 30_000;

/** Decisions by (source, destination, identification, protocol), in a set-associative cache of fixed size. */
export class FragmentCache {
  private readonly words = new Int32Array(SETS * WAYS * WORDS);
  private readonly deadlinesMs = new Float64Array(SETS * WAYS).fill(Number.NEGATIVE_INFINITY);

  /** Notes the decision for an accepted first fragment; anything else is not noted. */
  remember(packet: Packet): void {
    if (!isFragment(packet.view) || packet.isLaterFragment) return;
    const { words } = this;
    const first = setOf(packet);
    let record = first;
    for (let way = first; way < first + WAYS; way++) {
      if (this.matches(way, packet)) {
        record = way;
        break;
      }
      if (this.deadlinesMs[way] < this.deadlinesMs[record]) record = way;
    }
    const at = record * WORDS;
    this.deadlinesMs[record] = packet.nowMs + TIMEOUT_MS;
    words[at + Word.src] = packet.src;
    words[at + Word.dst] = packet.dst;
    words[at + Word.key] = keyOf(packet);
    words[at + Word.newSrc] = packet.newSrc;
    words[at + Word.newDst] = packet.newDst;
    words[at + Word.ports] = packet.ports;
    words[at + Word.newPorts] = packet.newPorts;
    words[at + Word.state] = packet.ctState;
  }

  /** Gives a later fragment the decision of its first one; false when that is not known. */
  follow(packet: Packet): boolean {
    const first = setOf(packet);
    for (let way = first; way < first + WAYS; way++) {
      if (!this.matches(way, packet) || this.deadlinesMs[way] <= packet.nowMs) continue;
      const at = way * WORDS;
      packet.newSrc = this.words[at + Word.newSrc] >>> 0;
      packet.newDst = this.words[at + Word.newDst] >>> 0;
      packet.ports = this.words[at + Word.ports];
      packet.newPorts = this.words[at + Word.newPorts];
      packet.ctState = this.words[at + Word.state] as CtState;
      return true;
    }
    return false;
  }

  /** Marks the addresses of all records in the address book. */
  markAddresses(mark: (address: number) => void): void {
    for (let at = 0; at < this.words.length; at += WORDS)
      for (const word of [Word.src, Word.dst, Word.newSrc, Word.newDst]) mark(this.words[at + word]);
  }

  private matches(record: number, packet: Packet): boolean {
    const at = record * WORDS;
    return (
      this.words[at + Word.src] === (packet.src | 0) &&
      this.words[at + Word.dst] === (packet.dst | 0) &&
      this.words[at + Word.key] === keyOf(packet)
    );
  }
}

/** IPv6 counts identifications by source and destination alone, in 32 bits (RFC 8200 §4.5). */
function keyOf({ view }: Packet): number {
  return view.version === 6 ? view.id | 0 : (view.id << 8) | view.protocol;
}

/** First record of the set that a packet's key falls into. */
function setOf(packet: Packet): number {
  const mixed = Math.imul(packet.src ^ Math.imul(packet.dst, 0x85ebca6b) ^ keyOf(packet), 0x9e3779b1);
  return (mixed >>> 24) * WAYS;
}
