import type { Endpoint, Place } from "./types.js";

/** The endpoints that connections may go to, by the policy of the address that was asked for. */
export interface UsableEndpoints {
  /** For policy Cluster. */
  readonly cluster: readonly Endpoint[];
  /** For policy Local. */
  readonly local: readonly Endpoint[];
}

/**
 * Which endpoints of a service port are used (pkg/proxy/topology.go `CategorizeEndpoints`; KEP-1669): the ready
 * ones, and when there is none, those that are terminating but still serve. Each policy falls back on its own, and
 * topology hints count under policy Cluster and for ready endpoints only.
 */
export function categorizeEndpoints(endpoints: readonly Endpoint[], place: Place): UsableEndpoints {
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  return {
    cluster: ready.length > 0 ? nearest(ready, place) : leaving(endpoints),
    local: readyOrLeaving(endpoints.filter((endpoint) => endpoint.isLocal)),
  };
}

/**
 * Of ready endpoints those that are meant for this node, else those for its zone, else all (topology.go
 * `topologyModeFromHints`; KEP-3015, KEP-4444). One endpoint without a hint, or none for this place, voids the hints.
 * Traffic distribution reaches the proxy in this form: the endpoint slice controller writes it into the hints.
 */
function nearest(ready: readonly Endpoint[], { nodeName, zone }: Place): readonly Endpoint[] {
  const forNode = ready.filter((endpoint) => endpoint.nodeHints.includes(nodeName));
  if (forNode.length > 0 && ready.every((endpoint) => endpoint.nodeHints.length > 0)) return forNode;
  const forZone = ready.filter((endpoint) => endpoint.zoneHints.includes(zone));
  if (forZone.length > 0 && ready.every((endpoint) => endpoint.zoneHints.length > 0)) return forZone;
  return ready;
}

function readyOrLeaving(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  return ready.length > 0 ? ready : leaving(endpoints);
}

function leaving(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  return endpoints.filter((endpoint) => endpoint.serving && endpoint.terminating);
}
