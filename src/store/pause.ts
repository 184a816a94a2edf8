/** Waiting between tries. */

/** Resolves after the delay, or at once when the signal ends it. */
export function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, delayMs);
    signal.addEventListener("abort", end);
  });
}

/** Delays that double from the first to the last one. */
export class Backoff {
  #delayMs: number;

  constructor(
    private readonly firstMs: number,
    private readonly lastMs: number,
  ) {
    this.#delayMs = firstMs;
  }

  next(): number {
    const delayMs = this.#delayMs;
    this.#delayMs = Math.min(delayMs * 2, this.lastMs);
    return delayMs;
  }

  reset(): void {
    this.#delayMs = this.firstMs;
  }
}
