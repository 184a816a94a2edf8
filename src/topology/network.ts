/** The networks of a lab: sizes, places and overlaps. */
import {
  contains,
  formatAddress,
  isHostAddress,
  type Network,
  overlaps,
  parseAddress,
  parseNetwork,
  SPECIAL,
  sizeOf,
} from "./address.js";
import type { Path, Problem } from "./errors.js";
import { type NetworkInput, portRangeOf } from "./schema.js";
import type { Source } from "./source.js";
import type { NetworkPlan, PodNetworkPlan } from "./types.js";

/** Where each network is in the file. */
export const NETWORK_PATHS = {
  nodes: ["network", "nodes"],
  pods: ["network", "pods", "network"],
  services: ["network", "services"],
} as const satisfies Record<string, Path>;

/** The checked networks as ranges. */
export interface Networks {
  readonly nodes: Network;
  readonly pods: Network;
  readonly services: Network;
}

/** Checks each network against the special ranges and the networks before it. */
export function checkNetworks(source: Source, input: NetworkInput, problems: Problem[]): Networks {
  const networks: Networks = {
    nodes: parseNetwork(input.nodes)!,
    pods: parseNetwork(input.pods.network)!,
    services: parseNetwork(input.services)!,
  };
  const taken: [string, Network][] = [...SPECIAL] as [string, Network][];
  for (const name of ["nodes", "pods", "services"] as const) {
    const network = networks[name];
    const other = taken.find(([, range]) => overlaps(range, network));
    if (other) {
      const text = `${network.cidr} overlaps ${other[0]} ${other[1].cidr}; choose another network`;
      problems.push(source.problem(NETWORK_PATHS[name], text));
    }
    taken.push([`the ${name.slice(0, -1)} network`, network]);
  }
  return networks;
}

/** Checks that the networks are large enough for this many nodes, and completes the plan. */
export function planNetwork(
  source: Source,
  input: NetworkInput,
  networks: Networks,
  host: string,
  nodeCount: number,
  problems: Problem[],
): Omit<NetworkPlan, "ipv6" | "loadBalancerPool"> {
  if (networks.services.length > 30) {
    const text = `${networks.services.cidr} is too small for Services; use a /30 or larger`;
    problems.push(source.problem(NETWORK_PATHS.services, text));
  }
  const [min, max] = portRangeOf(input.nodePorts);
  return {
    nodes: networks.nodes.cidr,
    host,
    pods: planPods(source, input.pods, networks.pods, nodeCount, problems),
    services: networks.services.cidr,
    nodePorts: { min: min!, max: max! },
    underlayMtuBytes: input.underlayMtu,
  };
}

function planPods(
  source: Source,
  input: NetworkInput["pods"],
  network: Network,
  nodeCount: number,
  problems: Problem[],
): PodNetworkPlan {
  // flannel's default: a /24 for each node, a quarter of the network where that does not fit.
  const subnetLen = input.subnetLen ?? (network.length <= 22 ? 24 : network.length + 2);
  const report = (path: Path, text: string) =>
    problems.push(source.problem(["network", "pods", ...path], text));
  if (subnetLen > 30) report(["network"], `${network.cidr} is too small for subnets; use a /28 or larger`);
  else if (subnetLen < network.length + 2) {
    const text = `${network.cidr} holds fewer than four /${subnetLen} subnets; use ${network.length + 2} or more`;
    report(["subnetLen"], text);
  } else checkSubnets(input, network, subnetLen, nodeCount, report);
  const { leaseTtlSeconds, leaseRenewMarginSeconds } = input;
  if (
    leaseRenewMarginSeconds !== undefined &&
    leaseRenewMarginSeconds >= (leaseTtlSeconds ?? DEFAULT_TTL_SECONDS)
  ) {
    report(
      ["leaseRenewMarginSeconds"],
      `${leaseRenewMarginSeconds} is not less than leaseTtlSeconds (${leaseTtlSeconds ?? DEFAULT_TTL_SECONDS}); make it smaller`,
    );
  }
  const { networkIPv6: _network, subnetLenIPv6: _length, ...plan } = input;
  return { ...plan, network: network.cidr, subnetLen };
}

/** flannel's lease time. */
const DEFAULT_TTL_SECONDS = 24 * 3600;

/** As flannel counts: the first subnet is not used, because its address would be the network's own. */
function checkSubnets(
  input: NetworkInput["pods"],
  network: Network,
  subnetLen: number,
  nodeCount: number,
  report: (path: Path, text: string) => void,
): void {
  const size = sizeOf(subnetLen);
  const bound = (name: "subnetMin" | "subnetMax", otherwise: number): number => {
    const text = input[name];
    if (text === undefined) return otherwise;
    const address = parseAddress(text)!;
    if (!contains(network, address))
      report([name], `${text} is outside the pod network ${network.cidr}; choose one inside`);
    else if (address % size !== 0) {
      const below = formatAddress(address - (address % size));
      report([name], `${text} is not on a /${subnetLen} boundary; the nearest below is ${below}`);
    }
    return address;
  };
  const min = bound("subnetMin", network.first + size);
  const max = bound("subnetMax", network.last + 1 - size);
  const count = (max - min) / size + 1;
  if (min > max)
    report(["subnetMin"], `${formatAddress(min)} is above subnetMax ${formatAddress(max)}; swap them`);
  else if (count < nodeCount) {
    const text = `${network.cidr} has ${Math.floor(count)} subnets of /${subnetLen} for ${nodeCount} nodes; use a larger network or a larger subnetLen`;
    report(["network"], text);
  }
}

/** Why an address cannot be a node's or the host's; undefined when it can. */
export function addressProblem(networks: Networks, ip: string): string | undefined {
  const { nodes } = networks;
  const address = parseAddress(ip)!;
  if (!contains(nodes, address)) return `${ip} is outside the node network ${nodes.cidr}; choose one inside`;
  if (isHostAddress(nodes, address)) return undefined;
  const role = address === nodes.first ? "network" : "broadcast";
  return `${ip} is the ${role} address of the node network ${nodes.cidr}; choose another`;
}
