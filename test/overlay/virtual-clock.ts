import type { Clock } from "../../src/store/index.js";

/** Virtual time: nothing happens until a test advances it, and then in the order of the due times. */
export class VirtualClock implements Clock {
  #now = 1_700_000_000_000;
  #order = 0;
  readonly #tasks = new Set<{ dueMs: number; order: number; task: () => void }>();

  readonly now = (): number => this.#now;

  readonly schedule = (delayMs: number, task: () => void): (() => void) => {
    if (!Number.isFinite(delayMs)) throw new RangeError(`delay of ${delayMs} ms`);
    const entry = { dueMs: this.#now + Math.max(0, delayMs), order: this.#order++, task };
    this.#tasks.add(entry);
    return () => this.#tasks.delete(entry);
  };

  /** Number of tasks that wait; 0 after everything was stopped. */
  get waiting(): number {
    return this.#tasks.size;
  }

  /** Runs what falls due within this time, letting promises settle before and after each task. */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#now + byMs;
    await settle();
    for (;;) {
      const [next] = [...this.#tasks].sort((a, b) => a.dueMs - b.dueMs || a.order - b.order);
      if (next === undefined || next.dueMs > endMs) break;
      this.#tasks.delete(next);
      this.#now = next.dueMs;
      next.task();
      await settle();
    }
    this.#now = endMs;
  }
}

/** Lets all promises settle that need no timer. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}
