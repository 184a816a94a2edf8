/** How many connections to each destination are open: what least-connection balancing asks. Kept only once somebody asks. */
import { IpProtocol } from "../../wire/index.js";
import { Meta, REPLY_TUPLE, Word } from "./flow-table.js";
import { State } from "./state.js";

export class OpenConnections {
  /** By protocol, then by address and port. */
  readonly #counts = new Map<number, Map<number, number>>();

  count(protocol: number, ip: number, port: number): number {
    return this.#counts.get(protocol)?.get(keyOf(ip, port)) ?? 0;
  }

  /** Counts the entry whose words begin at `at`, if its state is one of an open connection. */
  add(words: Int32Array, at: number): void {
    if (isOpen(words[at + Word.meta])) this.#shift(words, at, 1);
  }

  /** The entry goes, or is about to change its state. */
  remove(words: Int32Array, at: number): void {
    if (isOpen(words[at + Word.meta])) this.#shift(words, at, -1);
  }

  #shift(words: Int32Array, at: number, change: 1 | -1): void {
    const reply = at + REPLY_TUPLE;
    const protocol = words[at + Word.meta] & Meta.protocolMask;
    const key = keyOf(words[reply + Word.src] >>> 0, words[reply + Word.ports] >>> 16);
    let counts = this.#counts.get(protocol);
    if (counts === undefined) {
      counts = new Map();
      this.#counts.set(protocol, counts);
    }
    const now = (counts.get(key) ?? 0) + change;
    if (now > 0) counts.set(key, now);
    else counts.delete(key);
  }
}

function keyOf(ip: number, port: number): number {
  return (ip >>> 0) * 65536 + port;
}

/** TCP connections that either side has begun to close are not counted (IPVS: inactive connections). */
function isOpen(meta: number): boolean {
  if ((meta & Meta.protocolMask) !== IpProtocol.tcp) return true;
  const state = (meta & Meta.stateMask) >>> Meta.stateShift;
  return state < State.finWait || state > State.close;
}
