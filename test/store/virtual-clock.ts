import type { Clock } from "../../src/store/index.js";

/** Time that passes when a test says so; timers fire in order, each at its time. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Map<() => void, number>();

  now(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, task: () => void): () => void {
    const timer = () => task();
    this.#timers.set(timer, this.#nowMs + delayMs);
    return () => this.#timers.delete(timer);
  }

  get pending(): number {
    return this.#timers.size;
  }

  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const [next] = [...this.#timers].sort(([, a], [, b]) => a - b);
      if (next === undefined || next[1] > endMs) break;
      this.#timers.delete(next[0]);
      this.#nowMs = next[1];
      next[0]();
    }
    this.#nowMs = endMs;
  }
}
