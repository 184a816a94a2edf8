/** A plan against the routes that the host has already. */
import { type Network, overlaps, parseAddress, parseNetwork } from "./address.js";
import { type Problem, TopologyError } from "./errors.js";
import type { LabPlan, NetworkName } from "./types.js";

export interface HostRoute {
  /** As `ip route` prints it: CIDR, an address, or `default`. */
  readonly prefix: string;
  readonly dev: string;
}

/**
 * Refuses a plan whose networks overlap a route of the host; the lab would take that traffic or lose its own.
 * Routes of the lab itself are the caller's to leave out. Default routes do not count, and routes of another family neither.
 * @throws TopologyError that names the network and the route
 */
export function checkHostRoutes(plan: LabPlan, routes: readonly HostRoute[]): void {
  const networks: Record<NetworkName, string> = {
    nodes: plan.network.nodes,
    pods: plan.network.pods.network,
    services: plan.network.services,
  };
  const problems: Problem[] = [];
  for (const name of ["nodes", "pods", "services"] as const) {
    const route = routes.find(({ prefix }) => collides(parseNetwork(networks[name])!, prefix));
    if (!route) continue;
    const field = { nodes: "network.nodes", pods: "network.pods.network", services: "network.services" }[
      name
    ];
    const message = `${networks[name]} overlaps this host's route ${route.prefix} dev ${route.dev}; choose another network, or use --netns`;
    problems.push({ ...plan.positions[name], path: field, message });
  }
  if (problems.length > 0) throw new TopologyError(problems);
}

function collides(network: Network, prefix: string): boolean {
  const route = parseNetwork(parseAddress(prefix) === undefined ? prefix : `${prefix}/32`);
  // A VPN's pair of /1 routes is a default route in two halves.
  return route !== undefined && route.length > 1 && overlaps(network, route);
}
