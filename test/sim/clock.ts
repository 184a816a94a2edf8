/** Virtual time: tasks in order of their time, and of their arrival when that is the same. */
export class VirtualClock {
  nowMs = 0;
  #tasks: { readonly atMs: number; readonly order: number; readonly task: () => void }[] = [];
  #order = 0;

  /** Runs the task after the delay. */
  after(delayMs: number, task: () => void): void {
    const entry = { atMs: this.nowMs + delayMs, order: this.#order++, task };
    let at = this.#tasks.length;
    while (at > 0 && this.#tasks[at - 1].atMs > entry.atMs) at--;
    this.#tasks.splice(at, 0, entry);
  }

  /** Lets time pass. Everything due happens; time stands at the end of the interval afterwards. */
  run(durationMs: number): void {
    const endMs = this.nowMs + durationMs;
    for (let next = this.#tasks[0]; next !== undefined && next.atMs <= endMs; next = this.#tasks[0]) {
      this.#tasks.shift();
      this.nowMs = next.atMs;
      next.task();
    }
    this.nowMs = endMs;
  }
}

/** Seeded random numbers in [0, 1): mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
