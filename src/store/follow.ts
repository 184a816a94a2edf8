/** Keeping a copy of what is under a prefix: list, then watch from there; list again when the watch lost its place. */
import { Backoff, pause } from "./pause.js";
import {
  CompactedError,
  type KeyValue,
  type Store,
  type StoreEvent,
  StoreUnavailableError,
} from "./types.js";

export interface FollowHandlers {
  /** All that is there, at first and whenever events were missed: what is not in it is gone. */
  onSnapshot(kvs: readonly KeyValue[], revision: number): void | Promise<void>;
  /** Events after the last snapshot, in order; those of one revision come together. */
  onEvents(events: readonly StoreEvent[], revision: number): void | Promise<void>;
  /** The store is away, or its history was compacted; `follow` goes on. */
  onTrouble?(error: CompactedError | StoreUnavailableError): void;
}

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5000;

/** Follows the prefix until the signal, or until the store is closed. Other errors, the handlers' too, are thrown. */
export async function follow(
  store: Store,
  prefix: string,
  handlers: FollowHandlers,
  signal: AbortSignal,
): Promise<void> {
  const backoff = new Backoff(FIRST_RETRY_MS, LAST_RETRY_MS);
  while (!signal.aborted) {
    try {
      const { kvs, revision } = await store.range(prefix, { prefix: true });
      if (signal.aborted) return;
      await handlers.onSnapshot(kvs, revision);
      for await (const batch of store.watch(prefix, { prefix: true, fromRevision: revision + 1, signal })) {
        backoff.reset();
        if (batch.events.length > 0) await handlers.onEvents(batch.events, batch.revision);
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof CompactedError || error instanceof StoreUnavailableError)) throw error;
      handlers.onTrouble?.(error);
      await pause(backoff.next(), signal);
    }
  }
}
