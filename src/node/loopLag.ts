import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";

/** A timer of this period is watched: often enough to meet a busy loop, seldom enough to cost nothing. */
const PERIOD_MS = 20;
const WINDOW_MS = 60_000;
const NS_PER_MS = 1e6;

/** Lateness of the event loop in milliseconds. */
export interface LoopLagReport {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Measures how late the event loop is, over at most the last minute. Keeps no process alive. */
export class LoopLag {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: PERIOD_MS });
  readonly #window: NodeJS.Timeout;

  constructor() {
    this.#histogram.enable();
    this.#window = setInterval(() => this.#histogram.reset(), WINDOW_MS).unref();
  }

  report(): LoopLagReport {
    const histogram = this.#histogram;
    if (histogram.count === 0) return { p50Ms: 0, p99Ms: 0, maxMs: 0 };
    return {
      p50Ms: late(histogram.percentile(50)),
      p99Ms: late(histogram.percentile(99)),
      maxMs: late(histogram.max),
    };
  }

  close(): void {
    clearInterval(this.#window);
    this.#histogram.disable();
  }
}

/** The histogram holds whole periods in nanoseconds; what is above the asked one is lateness. */
function late(periodNs: number): number {
  return Math.max(0, Math.round((periodNs / NS_PER_MS - PERIOD_MS) * 1000) / 1000);
}
