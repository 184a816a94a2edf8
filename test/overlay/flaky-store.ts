import {
  type Store,
  StoreUnavailableError,
  type WatchBatch,
  type WatchOptions,
} from "../../src/store/index.js";

/** A store that can be away: calls fail while it is down, and its watches can be broken with any error. */
export class FlakyStore implements Store {
  #down = false;
  readonly #breakers = new Set<(error: Error) => void>();
  #held: Promise<void> = Promise.resolve();

  constructor(private readonly inner: Store) {}

  set down(down: boolean) {
    this.#down = down;
    if (down) this.breakWatches(unavailable());
  }

  /** Ends every running watch with this error. */
  breakWatches(error: Error): void {
    for (const fail of this.#breakers) fail(error);
    this.#breakers.clear();
  }

  /** Lets watches deliver nothing more until the returned function is called. */
  holdWatches(): () => void {
    let release = () => {};
    this.#held = new Promise((resolve) => {
      release = resolve;
    });
    return release;
  }

  readonly leases: Store["leases"] = {
    grant: async (...args) => (await this.#check()).leases.grant(...args),
    keepAlive: async (...args) => (await this.#check()).leases.keepAlive(...args),
    revoke: async (...args) => (await this.#check()).leases.revoke(...args),
    timeToLive: async (...args) => (await this.#check()).leases.timeToLive(...args),
  };

  range: Store["range"] = async (...args) => (await this.#check()).range(...args);
  txn: Store["txn"] = async (...args) => (await this.#check()).txn(...args);
  compact: Store["compact"] = async (...args) => (await this.#check()).compact(...args);
  close: Store["close"] = () => this.inner.close();

  async *watch(key: string, options: WatchOptions = {}): AsyncGenerator<WatchBatch> {
    const inner = await this.#check();
    const abort = new AbortController();
    options.signal?.addEventListener("abort", () => abort.abort());
    const broken = new Promise<never>((_resolve, reject) => this.#breakers.add(reject));
    const batches = inner.watch(key, { ...options, signal: abort.signal })[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await Promise.race([batches.next(), broken]);
        if (next.done) return;
        await this.#held;
        yield next.value;
      }
    } finally {
      abort.abort();
    }
  }

  async #check(): Promise<Store> {
    if (this.#down) throw unavailable();
    return this.inner;
  }
}

function unavailable(): StoreUnavailableError {
  return new StoreUnavailableError("127.0.0.1:2379", "connection refused");
}
