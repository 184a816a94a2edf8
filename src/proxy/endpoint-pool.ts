import type { ServiceQuery } from "../datapath/index.js";
import {
  type Backend,
  makeScheduler,
  type Scheduler,
  type SchedulerEnvironment,
  type SchedulerName,
} from "./schedulers/index.js";
import type { Endpoint } from "./types.js";

/** The endpoints that connections under one policy may go to, and the order in which they are chosen. */
export class EndpointPool {
  #backends: readonly Backend[] = [];
  #schedulerName: SchedulerName;
  #scheduler: Scheduler;

  /** `id` is what session affinity is remembered under: unique among pools, never used twice. */
  constructor(
    readonly id: number,
    schedulerName: SchedulerName,
    private readonly environment: SchedulerEnvironment,
  ) {
    this.#schedulerName = schedulerName;
    this.#scheduler = makeScheduler(schedulerName, environment);
  }

  get size(): number {
    return this.#backends.length;
  }

  /** Chooses for a new connection; undefined when the pool is empty. */
  pick(query: ServiceQuery): Backend | undefined {
    return this.#scheduler.pick(query);
  }

  /** Changes how endpoints are chosen. A scheduler that stays goes on where it was. */
  schedule(name: SchedulerName): void {
    if (name === this.#schedulerName) return;
    this.#schedulerName = name;
    this.#scheduler = makeScheduler(name, this.environment);
    this.#scheduler.update(this.#backends);
  }

  /** Changes the set. An endpoint of weight 0 takes no new connections, whatever the scheduler (as under IPVS). */
  replace(endpoints: readonly Endpoint[], weightOf: (endpoint: Endpoint) => number): void {
    const known = new Map(this.#backends.map((backend) => [backendId(backend), backend]));
    for (const backend of this.#backends) backend.live = false;
    this.#backends = endpoints
      .map((endpoint) => {
        const { ip, port, target } = endpoint;
        const backend = known.get(backendId(endpoint)) ?? { ip, port, target, weight: 1, live: false };
        backend.target = target;
        backend.weight = weightOf(endpoint);
        backend.live = backend.weight > 0;
        return backend;
      })
      .filter((backend) => backend.live);
    this.#scheduler.update(this.#backends);
  }

  /** Whether an endpoint of this address and port is in the pool. */
  has(endpoint: Endpoint): boolean {
    return this.#backends.some(({ ip, port }) => ip === endpoint.ip && port === endpoint.port);
  }
}

function backendId({ ip, port }: { readonly ip: number; readonly port: number }): number {
  return ip * 65536 + port;
}
