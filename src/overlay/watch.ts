/**
 * Following the leases of the network: list, then watch from there; list again when the store compacted what was
 * missed or the watch broke. While the store is away nothing changes, so routes stay.
 */

import { CompactedError, type KeyValue, type Store } from "../store/index.js";
import type { LeaseTable } from "./lease-table.js";
import { parseLease, subnetKey, subnetsKey } from "./registry.js";
import type { LeaseEvent, Log, NodeSubnets, SubnetLease } from "./types.js";
import { StoppedError, type Waiter } from "./wait.js";

/** Pauses before listing again: longer each time that the watch does not last. */
const FIRST_PAUSE_MS = 200;
const LAST_PAUSE_MS = 5000;

export interface LeaseWatchOptions {
  readonly store: Store;
  readonly prefix: string;
  readonly own: NodeSubnets;
  readonly table: LeaseTable;
  readonly wait: Waiter;
  /** Ends the watch. */
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly onEvents: (events: readonly LeaseEvent[]) => void;
  /** All leases of a list have been told. */
  readonly onListed: () => void;
  /** Our own key as the store has it at that revision; undefined when it is not there. */
  readonly onOwn: (revision: number, content: SubnetLease | undefined) => void;
}

/**
 * Follows the leases until the signal. Like the store's `follow`, but under the overlay's clock.
 * @throws StoppedError when the waiter was stopped while this waited
 */
export async function watchLeases(options: LeaseWatchOptions): Promise<void> {
  const { store, prefix, wait, signal, log } = options;
  const key = subnetsKey(prefix);
  let pauseMs = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    const listedAtMs = wait.clock.now();
    try {
      const list = await wait.untilAvailable("list the leases", () => store.range(key, { prefix: true }));
      takeSnapshot(options, list.kvs, list.revision);
      await follow(options, list.revision + 1);
    } catch (error) {
      if (signal.aborted || error instanceof StoppedError) return;
      const reason = error instanceof Error ? error.message : String(error);
      const level = error instanceof CompactedError ? "info" : "warn";
      log(level, `the watch of the leases broke, listing them again: ${reason}`);
    }
    const lasted = wait.clock.now() - listedAtMs > LAST_PAUSE_MS;
    pauseMs = lasted ? FIRST_PAUSE_MS : Math.min(pauseMs * 2, LAST_PAUSE_MS);
    await wait.sleep(pauseMs);
  }
}

function takeSnapshot(options: LeaseWatchOptions, kvs: readonly KeyValue[], revision: number): void {
  const { table, prefix, onEvents, onListed, onOwn } = options;
  emit(table.reset(kvs), onEvents);
  onListed();
  const ownKey = subnetKey(prefix, options.own);
  const own = kvs.find((kv) => kv.key === ownKey);
  if (own === undefined) onOwn(revision, undefined);
  else reportOwn(options, own);
}

async function follow(options: LeaseWatchOptions, fromRevision: number): Promise<void> {
  const { store, prefix, table, signal, onEvents, onOwn } = options;
  const ownKey = subnetKey(prefix, options.own);
  for await (const { events } of store.watch(subnetsKey(prefix), { prefix: true, fromRevision, signal })) {
    emit(table.apply(events), onEvents);
    for (const { type, kv } of events) {
      if (kv.key !== ownKey) continue;
      if (type === "delete") onOwn(kv.modRevision, undefined);
      else reportOwn(options, kv);
    }
  }
}

/** A malformed value under our key was logged by the table; it says nothing about who holds the subnet. */
function reportOwn({ prefix, onOwn }: LeaseWatchOptions, kv: KeyValue): void {
  const lease = parseLease(prefix, kv);
  if (typeof lease !== "string") onOwn(kv.modRevision, lease);
}

function emit(events: readonly LeaseEvent[], onEvents: LeaseWatchOptions["onEvents"]): void {
  if (events.length > 0) onEvents(events);
}
