/**
 * Orders of choice among the usable endpoints of a service port: one class per scheduler behind {@link Scheduler}.
 * A pool keeps the backends and tells its scheduler when the set has changed; the scheduler says whose turn it is.
 */
import { LeastConnection } from "./least-connection.js";
import { Maglev } from "./maglev.js";
import { Random } from "./random.js";
import { RoundRobin } from "./round-robin.js";
import type { Scheduler, SchedulerEnvironment } from "./scheduler.js";
import { SourceHash } from "./source-hash.js";
import { WeightedRoundRobin } from "./weighted-round-robin.js";

export type { Backend, ConnectionCounter, Scheduler, SchedulerEnvironment } from "./scheduler.js";

/** As the annotation `podwire.dev/scheduler` has them; IPVS' names where it has the scheduler. */
export const SCHEDULER_NAMES = ["rr", "wrr", "random", "lc", "sh", "maglev"] as const;
export type SchedulerName = (typeof SCHEDULER_NAMES)[number];

const MAKERS: Readonly<Record<SchedulerName, (environment: SchedulerEnvironment) => Scheduler>> = {
  rr: () => new RoundRobin(),
  wrr: () => new WeightedRoundRobin(),
  random: ({ random }) => new Random(random),
  lc: ({ connections }) => new LeastConnection(connections),
  sh: ({ digest }) => new SourceHash(digest),
  maglev: ({ digest }) => new Maglev(digest),
};

/** Whether a text names a scheduler. */
export function isSchedulerName(value: unknown): value is SchedulerName {
  return SCHEDULER_NAMES.some((name) => name === value);
}

/** A scheduler without backends. */
export function makeScheduler(name: SchedulerName, environment: SchedulerEnvironment): Scheduler {
  return MAKERS[name](environment);
}
