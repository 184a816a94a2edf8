/** A plan against the routes that the host has already. */
import { overlaps, parseAddress, parseNetwork } from "./address.js";
import { overlaps6, parseAddress6, parseNetwork6 } from "./address6.js";
import { NETWORK_PATHS6 } from "./dual-stack.js";
import { type Path, type Problem, TopologyError } from "./errors.js";
import { NETWORK_PATHS } from "./network.js";
import type { LabPlan, Position } from "./types.js";

export interface HostRoute {
  /** As `ip route` prints it: CIDR, an address, or `default`. */
  readonly prefix: string;
  readonly dev: string;
}

/**
 * Refuses a plan whose networks overlap a route of the host; the lab would take that traffic or lose its own.
 * Routes of the lab itself are the caller's to leave out. Default routes do not count.
 * @throws TopologyError that names the network and the route
 */
export function checkHostRoutes(plan: LabPlan, routes: readonly HostRoute[]): void {
  const problems: Problem[] = [];
  for (const { path, cidr, position } of networksOf(plan)) {
    const route = routes.find(({ prefix }) => collides(cidr, prefix));
    if (!route) continue;
    const message = `${cidr} overlaps this host's route ${route.prefix} dev ${route.dev}; choose another network, or use --netns`;
    problems.push({ ...position, path, message });
  }
  if (problems.length > 0) throw new TopologyError(problems);
}

interface PlacedNetwork {
  /** Of the field in the file. */
  readonly path: string;
  readonly cidr: string;
  readonly position: Position;
}

function networksOf({ network, positions, positions6 }: LabPlan): PlacedNetwork[] {
  const { ipv6 } = network;
  const placed = (path: Path, cidr: string, position: Position) => ({ path: path.join("."), cidr, position });
  return [
    placed(NETWORK_PATHS.nodes, network.nodes, positions.nodes),
    placed(NETWORK_PATHS.pods, network.pods.network, positions.pods),
    placed(NETWORK_PATHS.services, network.services, positions.services),
    ...(ipv6 && positions6
      ? [
          placed(NETWORK_PATHS6.nodes, ipv6.nodes, positions6.nodes),
          placed(NETWORK_PATHS6.pods, ipv6.pods.network, positions6.pods),
          placed(NETWORK_PATHS6.services, ipv6.services, positions6.services),
        ]
      : []),
  ];
}

/** Whether a network and a route of the same family have an address in common. A VPN's pair of /1 routes is a default route in two halves. */
function collides(cidr: string, prefix: string): boolean {
  if (!cidr.includes(":")) {
    const route = parseNetwork(parseAddress(prefix) === undefined ? prefix : `${prefix}/32`);
    return route !== undefined && route.length > 1 && overlaps(parseNetwork(cidr)!, route);
  }
  const route = parseNetwork6(parseAddress6(prefix) === undefined ? prefix : `${prefix}/128`);
  return route !== undefined && route.length > 1 && overlaps6(parseNetwork6(cidr)!, route);
}
