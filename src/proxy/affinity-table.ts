import { hash } from "./address-table.js";
import type { Backend } from "./schedulers/index.js";

const WAYS = 8;
const DEFAULT_SETS = 8192;

/** Who asks, and when. A `ServiceQuery` is one: it is passed whole because its numbers alone would be boxed. */
export interface Client {
  readonly src: number;
  readonly nowMs: number;
}

/**
 * Which endpoint a client was last sent to, per pool (`sessionAffinity: ClientIP`).
 *
 * A set-associative cache: a client has eight possible places, so the table never grows and a lookup looks at eight
 * slots at most. When all are taken, an endpoint that is gone makes room first, then the client that was quiet longest.
 */
export class AffinityTable {
  readonly #pools: Uint32Array;
  readonly #clients: Int32Array;
  readonly #lastMs: Float64Array;
  readonly #endpoints: (Backend | undefined)[];
  readonly #sets: number;

  /** `sets` is a power of two; the table holds eight times as many clients. */
  constructor(sets = DEFAULT_SETS) {
    this.#sets = sets;
    this.#pools = new Uint32Array(sets * WAYS);
    this.#clients = new Int32Array(sets * WAYS);
    this.#lastMs = new Float64Array(sets * WAYS);
    this.#endpoints = new Array<Backend | undefined>(sets * WAYS).fill(undefined);
  }

  /** The client's endpoint if it is still in its pool and the client was seen less than `timeoutMs` ago. */
  find(pool: number, client: Client, timeoutMs: number): Backend | undefined {
    const slot = this.#slot(pool, client.src | 0);
    const endpoint = slot < 0 ? undefined : this.#endpoints[slot];
    return endpoint?.live && client.nowMs - this.#lastMs[slot] < timeoutMs ? endpoint : undefined;
  }

  /** Binds the client to the endpoint, or renews the binding. */
  remember(pool: number, client: Client, endpoint: Backend): void {
    const known = this.#slot(pool, client.src | 0);
    const slot = known < 0 ? this.#victim(pool, client.src | 0) : known;
    this.#pools[slot] = pool;
    this.#clients[slot] = client.src;
    this.#lastMs[slot] = client.nowMs;
    this.#endpoints[slot] = endpoint;
  }

  /** Calls `mark` with every client that is remembered. */
  markClients(mark: (client: number) => void): void {
    for (const [slot, endpoint] of this.#endpoints.entries())
      if (endpoint !== undefined) mark(this.#clients[slot] >>> 0);
  }

  #slot(pool: number, client: number): number {
    const first = this.#firstSlot(pool, client);
    for (let slot = first; slot < first + WAYS; slot++) {
      const same = this.#clients[slot] === client && this.#pools[slot] === pool;
      if (same && this.#endpoints[slot] !== undefined) return slot;
    }
    return -1;
  }

  #victim(pool: number, client: number): number {
    const first = this.#firstSlot(pool, client);
    let oldest = first;
    for (let slot = first; slot < first + WAYS; slot++) {
      if (this.#endpoints[slot]?.live !== true) return slot;
      if (this.#lastMs[slot] < this.#lastMs[oldest]) oldest = slot;
    }
    return oldest;
  }

  #firstSlot(pool: number, client: number): number {
    return (hash(client, pool) & (this.#sets - 1)) * WAYS;
  }
}
