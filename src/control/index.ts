/**
 * Controllers: small loops that bring the objects of the API to what other objects ask for.
 *
 * Each watches caches that informers fill, puts the keys of what a change may concern into its queue, and looks at one key
 * at a time: what should be, what is, and the writes that lead from one to the other. Nothing is kept in memory that could
 * not be found again, so a controller may stop and start at any moment; a write that fails or conflicts is tried again
 * with growing pauses. Caches lag behind the controller's own writes, which matters where things are counted: replication
 * waits until it has seen the pods that it made (expectations.ts), the scheduler remembers its bindings, and slices are
 * read from the API itself.
 */
import type { KubeClient, KubeObject } from "../kube/index.js";
import { type ApiPlace, startApiService } from "./apiService.js";
import { Cache } from "./cache.js";
import type { Caches, Context, Controller } from "./context.js";
import { startEndpoints } from "./endpoints.js";
import { startGarbageCollector, startPodGarbageCollector } from "./garbage.js";
import { startLoadBalancers } from "./loadBalancer.js";
import { startMirroring } from "./mirroring.js";
import { startNodeLifecycle } from "./nodeLifecycle.js";
import { REPLICA_SET, REPLICATION_CONTROLLER } from "./owners.js";
import type { Log, Timers } from "./queue.js";
import { Replication } from "./replication.js";
import { startScheduler } from "./scheduler.js";
import { startSlices } from "./slices.js";

export type { ApiPlace } from "./apiService.js";
export type { Log, LogLevel, Timers } from "./queue.js";

/** Kubernetes' default of --node-monitor-grace-period. */
const DEFAULT_NODE_GRACE_MS = 40_000;

export interface ControllerOptions {
  readonly client: KubeClient;
  readonly log: Log;
  /** Milliseconds since the epoch; the system clock when missing. */
  readonly now?: () => number;
  readonly timers?: Timers;
  /** How long a node may be silent before its pods count as not ready. */
  readonly nodeGraceMs?: number;
  /** What the Service `default/kubernetes` leads to; without it there is no such Service. */
  readonly apiServer?: ApiPlace;
  /** CIDRs of the addresses for Services of type LoadBalancer; without any, those wait for ever. */
  readonly loadBalancerPool?: readonly string[];
}

export interface Controllers {
  /** Resolves when the controllers know the whole state and have begun to act. */
  readonly synced: Promise<void>;
  /** Ends all watches; resolves when nothing is being written any more. */
  stop(): Promise<void>;
}

/** Starts every controller over one set of caches. @throws Error for a bad load balancer pool */
export function startControllers(options: ControllerOptions): Controllers {
  const caches = newCaches(options.client);
  const all = Object.values(caches) as Cache<KubeObject>[];
  const synced = Promise.all(all.map((cache) => cache.synced)).then(() => undefined);
  const context: Context = {
    client: options.client,
    caches,
    synced,
    log: options.log,
    now: options.now ?? Date.now,
    timers: options.timers ?? globalThis,
    nodeGraceMs: options.nodeGraceMs ?? DEFAULT_NODE_GRACE_MS,
  };
  const controllers: Controller[] = [
    startScheduler(context),
    new Replication(context, REPLICATION_CONTROLLER),
    new Replication(context, REPLICA_SET),
    startEndpoints(context),
    startSlices(context),
    startMirroring(context),
    startGarbageCollector(context),
    startPodGarbageCollector(context),
    startNodeLifecycle(context),
    ...(options.loadBalancerPool?.length ? [startLoadBalancers(context, options.loadBalancerPool)] : []),
    ...(options.apiServer ? [startApiService(context, options.apiServer)] : []),
  ];
  for (const cache of all) cache.start();
  const stop = async () => {
    for (const cache of all) cache.stop();
    await Promise.all(controllers.map((controller) => controller.stop()));
  };
  return { synced, stop };
}

function newCaches(client: KubeClient): Caches {
  return {
    nodes: new Cache(client, "nodes"),
    pods: new Cache(client, "pods"),
    services: new Cache(client, "services"),
    endpoints: new Cache(client, "endpoints"),
    endpointslices: new Cache(client, "endpointslices"),
    replicationcontrollers: new Cache(client, "replicationcontrollers"),
    replicasets: new Cache(client, "replicasets"),
  };
}
