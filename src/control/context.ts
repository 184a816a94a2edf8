/** What every controller gets. */
import {
  type EndpointSlice,
  type Endpoints,
  type KubeClient,
  type KubeObject,
  type Node,
  type Pod,
  type ReplicaSet,
  type ReplicationController,
  recordEvent,
  type Service,
} from "../kube/index.js";
import type { Cache } from "./cache.js";
import { type Log, type Timers, WorkQueue } from "./queue.js";

export interface Caches {
  readonly nodes: Cache<Node>;
  readonly pods: Cache<Pod>;
  readonly services: Cache<Service>;
  readonly endpoints: Cache<Endpoints>;
  readonly endpointslices: Cache<EndpointSlice>;
  readonly replicationcontrollers: Cache<ReplicationController>;
  readonly replicasets: Cache<ReplicaSet>;
}

export interface Context {
  readonly client: KubeClient;
  readonly caches: Caches;
  /** Resolves when every cache has its first list. */
  readonly synced: Promise<void>;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly timers: Timers;
  /** How long a node may be silent before it counts as lost. */
  readonly nodeGraceMs: number;
}

/** A controller at work; its subscriptions end with the caches. */
export interface Controller {
  stop(): Promise<void>;
}

/** A queue that logs under the controller's name. */
export function newQueue(
  context: Context,
  name: string,
  reconcile: (key: string) => Promise<void>,
): WorkQueue {
  return new WorkQueue({ name, log: context.log, timers: context.timers, synced: context.synced }, reconcile);
}

/** Writes an Event about an object. What it says is not worth a failure of the work itself. */
export function tell(
  context: Context,
  component: string,
  involved: KubeObject,
  event: { readonly type: "Normal" | "Warning"; readonly reason: string; readonly message: string },
): void {
  recordEvent(context.client, { involved, component, ...event }).catch((error: Error) => {
    context.log("warn", `${component}: event ${event.reason} not written: ${error.message}`);
  });
}
