import type { ServiceQuery } from "../../datapath/index.js";
import { hash } from "../address-table.js";
import type { Backend, Scheduler } from "./scheduler.js";

/** Size of the lookup table: prime, and IPVS' default for `mh` (CONFIG_IP_VS_MH_TAB_INDEX 12). */
export const TABLE_SLOTS = 4093;
const OFFSET_SEED = 0x0ff5e7;
const SKIP_SEED = 0x5c1b;
const FREE = 0xffff;

/**
 * Maglev hashing by client address and port (Eisenbud et al., NSDI 2016, §3.4): connections spread almost evenly, one
 * lookup chooses, and all nodes choose alike, so that a connection may change nodes.
 *
 * The paper's table moves a few slots of other backends when one leaves. Here a backend that stays keeps its slots until
 * a newcomer makes the table be built from scratch; only the slots of those that left are taken from the new table.
 */
export class Maglev implements Scheduler {
  #backends: readonly Backend[] = [];
  /** Index of the backend by slot. */
  #table = new Uint16Array(0);

  constructor(private readonly digest: (address: number) => number) {}

  update(backends: readonly Backend[]): void {
    const before = this.#backends;
    const table = populate(backends.map(({ ip, port }) => hash(this.digest(ip), port)));
    const known = new Set(before);
    if (backends.length > 0 && backends.every((backend) => known.has(backend))) {
      const indexNow = new Map(backends.map((backend, index) => [backend, index]));
      const moved = before.map((backend) => indexNow.get(backend) ?? FREE);
      for (const [slot, was] of this.#table.entries()) if (moved[was] !== FREE) table[slot] = moved[was];
    }
    this.#backends = backends;
    this.#table = table;
  }

  pick(query: ServiceQuery): Backend | undefined {
    const key = hash(this.digest(query.src | 0) | 0, (query.protocol << 16) | query.sport);
    return this.#backends[this.#table[(key >>> 1) % TABLE_SLOTS]];
  }
}

/** The paper's table: in turn, each backend takes the next free slot of its own permutation of all slots. */
function populate(keys: readonly number[]): Uint16Array<ArrayBuffer> {
  const table = new Uint16Array(keys.length === 0 ? 0 : TABLE_SLOTS).fill(FREE);
  const next = keys.map((key) => (hash(key, OFFSET_SEED) >>> 0) % TABLE_SLOTS);
  const skip = keys.map((key) => ((hash(key, SKIP_SEED) >>> 0) % (TABLE_SLOTS - 1)) + 1);
  for (let turn = 0, filled = 0; filled < table.length; turn = (turn + 1) % keys.length, filled++) {
    while (table[next[turn]] !== FREE) next[turn] = (next[turn] + skip[turn]) % TABLE_SLOTS;
    table[next[turn]] = turn;
  }
  return table;
}
