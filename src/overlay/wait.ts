/** Waiting under an injected clock: sleeps that stop ends, and calls that wait until the store is back. */
import { type Clock, StoreUnavailableError } from "../store/index.js";
import type { Log } from "./types.js";

const FIRST_RETRY_MS = 200;
const LAST_RETRY_MS = 5000;

/** The overlay was stopped while something waited. */
export class StoppedError extends Error {
  constructor() {
    super("the overlay was stopped");
    this.name = "StoppedError";
  }
}

/** Sleeps and retries; `stop` ends all of them with StoppedError. */
export class Waiter {
  readonly #waiting = new Set<(error: StoppedError) => void>();
  #stopped = false;

  constructor(
    readonly clock: Clock,
    private readonly log: Log,
  ) {}

  get stopped(): boolean {
    return this.#stopped;
  }

  /** @throws StoppedError when stopped before the delay is over. */
  async sleep(delayMs: number): Promise<void> {
    let cancel = () => {};
    const slept = new Promise<void>((resolve) => {
      cancel = this.clock.schedule(delayMs, resolve);
    });
    await this.#unlessStopped(slept).finally(() => cancel());
  }

  /**
   * Repeats the call while the store cannot be reached, with growing pauses; says so once and when it is back.
   * Other errors pass through. `what` completes "cannot …".
   * @throws StoppedError when stopped meanwhile, also while the call is still out
   */
  async untilAvailable<T>(what: string, call: () => Promise<T>): Promise<T> {
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(pauseMs * 2, LAST_RETRY_MS)) {
      try {
        const result = await this.#unlessStopped(call());
        if (pauseMs > FIRST_RETRY_MS) this.log("info", `the store is back (${what})`);
        return result;
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
        if (pauseMs === FIRST_RETRY_MS) this.log("warn", `cannot ${what}, trying again: ${error.message}`);
      }
      await this.sleep(pauseMs);
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const reject of this.#waiting) reject(new StoppedError());
    this.#waiting.clear();
  }

  #unlessStopped<T>(result: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) reject(new StoppedError());
      this.#waiting.add(reject);
      result.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    });
  }
}
