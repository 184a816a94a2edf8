import type { Endpoint } from "./types.js";

/** An endpoint in a ring. The object stays the same as long as the endpoint is in the ring, and is not reused. */
export interface RingEndpoint {
  readonly ip: number;
  readonly port: number;
  target: string;
  /** False once the endpoint has left the ring: who holds on to the object must choose again. */
  live: boolean;
}

/**
 * Strict round-robin over the usable endpoints of a service port (as kube-proxy's userspace mode chose).
 *
 * The ring is a queue whose front goes to the back when it is picked. When the set changes, those that stay keep
 * their turn and newcomers queue up behind them. So n picks between two changes visit all n endpoints, and an
 * endpoint that stays is never overtaken by one that came later, however often the set changes.
 */
export class EndpointRing {
  #endpoints: RingEndpoint[] = [];
  #next = 0;

  get size(): number {
    return this.#endpoints.length;
  }

  /** The endpoint whose turn it is; undefined when the ring is empty. */
  pick(): RingEndpoint | undefined {
    const picked = this.#endpoints[this.#next];
    this.#next = this.#next + 1 < this.#endpoints.length ? this.#next + 1 : 0;
    return picked;
  }

  /** Changes the set. Newcomers join in the given order. */
  replace(endpoints: readonly Endpoint[]): void {
    const wanted = new Map(endpoints.map((endpoint) => [endpointId(endpoint), endpoint]));
    const queue = [...this.#endpoints.slice(this.#next), ...this.#endpoints.slice(0, this.#next)];
    const staying = queue.filter((endpoint) => {
      const same = wanted.get(endpointId(endpoint));
      wanted.delete(endpointId(endpoint));
      endpoint.live = same !== undefined;
      endpoint.target = same?.target ?? endpoint.target;
      return endpoint.live;
    });
    const newcomers = [...wanted.values()].map(({ ip, port, target }) => ({ ip, port, target, live: true }));
    this.#endpoints = [...staying, ...newcomers];
    this.#next = 0;
  }

  /** Whether an endpoint of this address and port is in the ring. */
  has(endpoint: Endpoint): boolean {
    return this.#endpoints.some(({ ip, port }) => ip === endpoint.ip && port === endpoint.port);
  }
}

function endpointId({ ip, port }: { readonly ip: number; readonly port: number }): number {
  return ip * 65536 + port;
}
