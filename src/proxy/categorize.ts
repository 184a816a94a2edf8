import type { Endpoint } from "./types.js";

/** The endpoints that connections may go to, by the policy of the address that was asked for. */
export interface UsableEndpoints {
  /** For policy Cluster. */
  readonly cluster: readonly Endpoint[];
  /** For policy Local. */
  readonly local: readonly Endpoint[];
}

/**
 * Which endpoints of a service port are used (pkg/proxy/topology.go `CategorizeEndpoints`; KEP-1669): the ready
 * ones, and when there is none, those that are terminating but still serve. Each policy falls back on its own.
 */
export function categorizeEndpoints(endpoints: readonly Endpoint[]): UsableEndpoints {
  return {
    cluster: readyOrServing(endpoints),
    local: readyOrServing(endpoints.filter((endpoint) => endpoint.isLocal)),
  };
}

function readyOrServing(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  return ready.length > 0 ? ready : endpoints.filter((endpoint) => endpoint.serving && endpoint.terminating);
}
