import type { Backend, Scheduler } from "./scheduler.js";

/**
 * Each backend with the same probability (as kube-proxy's iptables and nftables modes choose).
 * The generator is xorshift32 (Marsaglia 2003), seeded once: whole numbers need no memory per pick.
 */
export class Random implements Scheduler {
  #backends: readonly Backend[] = [];
  /** Never 0. */
  #state: number;

  constructor(random: () => number) {
    this.#state = Math.floor(random() * 0x7fffffff) + 1;
  }

  update(backends: readonly Backend[]): void {
    this.#backends = backends;
  }

  pick(): Backend | undefined {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    const count = this.#backends.length;
    return count === 0 ? undefined : this.#backends[(state >>> 1) % count];
  }
}
