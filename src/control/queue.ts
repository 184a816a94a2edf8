/** A work queue of keys: each at most once in it, one at a time in work, failures retried with growing pauses. */
import { StatusError } from "../kube/index.js";

export type LogLevel = "info" | "warn" | "error";
export type Log = (level: LogLevel, message: string) => void;

/** Where delays come from; `globalThis` in production, virtual time in tests. */
export interface Timers {
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(handle: never): void;
}

const FIRST_RETRY_MS = 5;
const LAST_RETRY_MS = 3_000;
/** After a conflict: the newer object is on its way. */
const LAST_CONFLICT_RETRY_MS = 100;

export interface QueueOptions {
  /** For the log: which controller this is. */
  readonly name: string;
  readonly log: Log;
  readonly timers: Timers;
  /** Nothing is worked on before this resolves: on half-filled caches, decisions would be wrong. */
  readonly synced: Promise<void>;
}

export class WorkQueue {
  readonly #options: QueueOptions;
  readonly #reconcile: (key: string) => Promise<void>;
  readonly #waiting = new Set<string>();
  readonly #delayed = new Map<string, unknown>();
  readonly #failures = new Map<string, number>();
  #isRunning = false;
  /** The key in work. */
  #work: Promise<void> | undefined;
  #stopped = false;

  /** `reconcile` brings the object of one key to what it should be; it is never run twice at once. */
  constructor(options: QueueOptions, reconcile: (key: string) => Promise<void>) {
    this.#options = options;
    this.#reconcile = reconcile;
  }

  /** Works on the key soon; once more after the present run when it is in work. */
  add(key: string): void {
    if (this.#stopped) return;
    this.#waiting.add(key);
    if (!this.#isRunning) void this.#run();
  }

  /** Adds the key after a while. A later call for the same key replaces an earlier one. */
  addAfter(key: string, delayMs: number): void {
    if (this.#stopped) return;
    this.#cancel(key);
    const due = () => {
      this.#delayed.delete(key);
      this.add(key);
    };
    this.#delayed.set(key, this.#options.timers.setTimeout(due, delayMs));
  }

  /** Drops what waits; resolves when nothing is in work any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#waiting.clear();
    for (const key of [...this.#delayed.keys()]) this.#cancel(key);
    await this.#work;
  }

  #cancel(key: string): void {
    if (this.#delayed.has(key)) this.#options.timers.clearTimeout(this.#delayed.get(key) as never);
    this.#delayed.delete(key);
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    await this.#options.synced;
    for (const key of this.#waiting) {
      this.#waiting.delete(key);
      this.#work = this.#attempt(key);
      await this.#work;
    }
    this.#isRunning = false;
  }

  async #attempt(key: string): Promise<void> {
    try {
      await this.#reconcile(key);
      this.#failures.delete(key);
    } catch (error) {
      const isConflict = isStatus(error, "Conflict");
      const failures = this.#failures.get(key) ?? 0;
      this.#failures.set(key, failures + 1);
      const longestMs = isConflict ? LAST_CONFLICT_RETRY_MS : LAST_RETRY_MS;
      this.addAfter(key, Math.min(FIRST_RETRY_MS * 2 ** failures, longestMs));
      if (isConflict || this.#stopped) return;
      const text = error instanceof Error ? error.message : String(error);
      this.#options.log("warn", `${this.#options.name}: ${key}: ${text}; trying again`);
    }
  }
}

/** Whether the API answered with this reason, such as NotFound or Conflict. */
export function isStatus(error: unknown, reason: string): boolean {
  return error instanceof StatusError && error.status.reason === reason;
}

/** Ignores the answer that the object is gone already. */
export async function unlessGone(call: Promise<unknown>): Promise<void> {
  await found(call);
}

/** The object, or undefined when there is none. */
export async function found<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isStatus(error, "NotFound")) return undefined;
    throw error;
  }
}
