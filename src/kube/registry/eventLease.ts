/** Events are kept for an hour: store leases that many of them share, as Kubernetes' lease manager does. */
import type { Store } from "../../store/index.js";

const TTL_SECONDS = 3600;
const SHARED_FOR_MS = 5 * 60_000;

export class EventLease {
  readonly #store: Store;
  #id: Promise<string> | undefined;
  #grantedAtMs = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  /** The lease for an Event that is written now. */
  current(): Promise<string> {
    const nowMs = performance.now();
    if (this.#id === undefined || nowMs - this.#grantedAtMs > SHARED_FOR_MS) {
      this.#grantedAtMs = nowMs;
      this.#id = this.#store.leases.grant(TTL_SECONDS + SHARED_FOR_MS / 1000).then(({ id }) => id);
      // A grant that failed is tried again with the next Event.
      this.#id.catch(() => this.forget());
    }
    return this.#id;
  }

  /** The store does not know the lease any more. */
  forget(): void {
    this.#id = undefined;
  }
}
