/** Time as an argument: real in the server, virtual in tests. */
export interface Clock {
  /** Milliseconds; only differences matter. */
  now(): number;
  /** Runs the task once after the delay; the returned function cancels it. */
  schedule(delayMs: number, task: () => void): () => void;
}

/** Longest delay of Node's timers; a longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** Monotonic time, so that setting the machine's clock expires no lease. Its timers keep no process alive. */
export const systemClock: Clock = {
  now: () => performance.now(),
  schedule: (delayMs, task) => {
    const timer = setTimeout(task, Math.min(delayMs, MAX_DELAY_MS)).unref();
    return () => clearTimeout(timer);
  },
};
