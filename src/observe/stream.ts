/** Lines at packet rate: collected and written in batches, bounded when the reader is slow. */
import type { Writable } from "node:stream";

export interface BatchedLineOptions {
  /** Characters kept while the reader does not keep up; lines beyond that are dropped and counted. */
  readonly limitChars?: number;
  /** The line that reports dropped lines. */
  readonly droppedLine?: (count: number) => string;
}

const BATCH_CHARS = 16 * 1024;
const DEFAULT_LIMIT_CHARS = 1024 * 1024;

/**
 * Writes lines to a stream once per turn of the event loop, or as soon as 16 KiB have come together. The stream stays
 * the caller's to close. When it fails or closes (as when the reader of a pipe has gone) further lines go nowhere.
 */
export class BatchedLineStream {
  readonly #target: Writable;
  readonly #limitChars: number;
  readonly #droppedLine: (count: number) => string;
  #batch = "";
  #dropped = 0;
  #scheduled = false;
  #blocked = false;
  #closed = false;

  constructor(target: Writable, options: BatchedLineOptions = {}) {
    this.#target = target;
    this.#limitChars = options.limitChars ?? DEFAULT_LIMIT_CHARS;
    this.#droppedLine =
      options.droppedLine ?? ((count) => `(${count} lines dropped: the reader is too slow)`);
    const close = () => {
      this.#closed = true;
      this.#batch = "";
    };
    target.on("error", close);
    target.on("close", close);
    target.on("drain", () => {
      this.#blocked = false;
      this.#flush();
    });
  }

  /** Adds one line, given without its newline. */
  line(text: string): void {
    if (this.#closed) return;
    // Once one line is dropped so are all until the next flush, where their number stands in their place.
    if (this.#dropped > 0 || (this.#blocked && this.#batch.length + text.length >= this.#limitChars)) {
      this.#dropped++;
      return;
    }
    this.#batch += `${text}\n`;
    if (this.#batch.length >= BATCH_CHARS) this.#flush();
    else this.#schedule();
  }

  /** Writes what is left, and resolves when the stream has taken all of it, or has failed. */
  async end(): Promise<void> {
    this.#blocked = false;
    this.#flush();
    if (this.#closed) return;
    this.#closed = true;
    await new Promise<void>((resolve) => {
      this.#target.once("close", resolve);
      this.#target.write("", () => {
        this.#target.off("close", resolve);
        resolve();
      });
    });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#blocked || this.#closed) return;
    if (this.#dropped > 0) this.#batch += `${this.#droppedLine(this.#dropped)}\n`;
    this.#dropped = 0;
    if (this.#batch === "") return;
    const batch = this.#batch;
    this.#batch = "";
    this.#blocked = !this.#target.write(batch);
  }
}
