import { hash } from "./address-table.js";
import type { RingEndpoint } from "./endpoint-ring.js";

const WAYS = 8;
const DEFAULT_SETS = 8192;

/** Who asks, and when. A `ServiceQuery` is one: it is passed whole because its numbers alone would be boxed. */
export interface Client {
  readonly src: number;
  readonly nowMs: number;
}

/**
 * Which endpoint a client was last sent to, per service port (`sessionAffinity: ClientIP`).
 *
 * A set-associative cache: a client has eight possible places, so the table never grows and a lookup looks at eight
 * slots at most. When all are taken, an endpoint that is gone makes room first, then the client that was quiet longest.
 */
export class AffinityTable {
  readonly #rules: Uint32Array;
  readonly #clients: Int32Array;
  readonly #lastMs: Float64Array;
  readonly #endpoints: (RingEndpoint | undefined)[];
  readonly #sets: number;

  /** `sets` is a power of two; the table holds eight times as many clients. */
  constructor(sets = DEFAULT_SETS) {
    this.#sets = sets;
    this.#rules = new Uint32Array(sets * WAYS);
    this.#clients = new Int32Array(sets * WAYS);
    this.#lastMs = new Float64Array(sets * WAYS);
    this.#endpoints = new Array<RingEndpoint | undefined>(sets * WAYS).fill(undefined);
  }

  /** The client's endpoint if it is still in its ring and the client was seen less than `timeoutMs` ago. */
  find(rule: number, client: Client, timeoutMs: number): RingEndpoint | undefined {
    const slot = this.#slot(rule, client.src | 0);
    const endpoint = slot < 0 ? undefined : this.#endpoints[slot];
    return endpoint?.live && client.nowMs - this.#lastMs[slot] < timeoutMs ? endpoint : undefined;
  }

  /** Binds the client to the endpoint, or renews the binding. */
  remember(rule: number, client: Client, endpoint: RingEndpoint): void {
    const known = this.#slot(rule, client.src | 0);
    const slot = known < 0 ? this.#victim(rule, client.src | 0) : known;
    this.#rules[slot] = rule;
    this.#clients[slot] = client.src;
    this.#lastMs[slot] = client.nowMs;
    this.#endpoints[slot] = endpoint;
  }

  #slot(rule: number, client: number): number {
    const first = this.#firstSlot(rule, client);
    for (let slot = first; slot < first + WAYS; slot++) {
      const same = this.#clients[slot] === client && this.#rules[slot] === rule;
      if (same && this.#endpoints[slot] !== undefined) return slot;
    }
    return -1;
  }

  #victim(rule: number, client: number): number {
    const first = this.#firstSlot(rule, client);
    let oldest = first;
    for (let slot = first; slot < first + WAYS; slot++) {
      if (this.#endpoints[slot]?.live !== true) return slot;
      if (this.#lastMs[slot] < this.#lastMs[oldest]) oldest = slot;
    }
    return oldest;
  }

  #firstSlot(rule: number, client: number): number {
    return (hash(client, rule) & (this.#sets - 1)) * WAYS;
  }
}
