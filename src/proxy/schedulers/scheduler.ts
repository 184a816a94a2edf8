import type { ServiceQuery } from "../../datapath/index.js";

/** An endpoint that connections may be sent to. The object stays the same while it is in its pool, and is not reused. */
export interface Backend {
  readonly ip: number;
  readonly port: number;
  target: string;
  /** Share of the connections under `wrr`; at least 1. */
  weight: number;
  /** False once the endpoint has left the pool: who holds on to the object must choose again. */
  live: boolean;
}

/** An order in which the backends of one pool are chosen. */
export interface Scheduler {
  /** From now on these are the backends, in order of node and address. Those that stay are the same objects as before. */
  update(backends: readonly Backend[]): void;
  /** The backend of a new connection; undefined when there is none. Allocates nothing. */
  pick(query: ServiceQuery): Backend | undefined;
}

/** What some schedulers need to know of the world. */
export interface SchedulerEnvironment {
  /** In [0, 1). */
  random(): number;
  readonly connections: ConnectionCounter;
  /** A number for an address that is the same on every node. */
  digest(address: number): number;
}

/** Asked by least-connection, once per backend and new connection: an answer should cost no more than one lookup. */
export interface ConnectionCounter {
  /** Connections through this node that were sent to the endpoint and are not over. */
  openConnections(protocol: number, ip: number, port: number): number;
}
