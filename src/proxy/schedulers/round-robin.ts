import type { Backend, Scheduler } from "./scheduler.js";

/**
 * Strict round-robin (as kube-proxy's userspace mode and IPVS' `rr` choose).
 *
 * The backends are a queue whose front goes to the back when it is picked. When the set changes, those that stay keep
 * their turn and newcomers queue up behind them. So n picks between two changes visit all n backends, and one that stays
 * is never overtaken by one that came later, however often the set changes.
 */
export class RoundRobin implements Scheduler {
  #queue: readonly Backend[] = [];
  #next = 0;

  update(backends: readonly Backend[]): void {
    const inTurn = [...this.#queue.slice(this.#next), ...this.#queue.slice(0, this.#next)];
    const staying = inTurn.filter((backend) => backend.live);
    const known = new Set(staying);
    this.#queue = [...staying, ...backends.filter((backend) => !known.has(backend))];
    this.#next = 0;
  }

  pick(): Backend | undefined {
    const picked = this.#queue[this.#next];
    this.#next = this.#next + 1 < this.#queue.length ? this.#next + 1 : 0;
    return picked;
  }
}
