/** The second family of a dual-stack lab: networks, and the nodes' and the host's addresses in them. */
import {
  contains6,
  formatAddress6,
  type Network6,
  overlaps6,
  parseAddress6,
  parseNetwork6,
  SPECIAL6,
} from "./address6.js";
import type { Path, Problem } from "./errors.js";
import type { NetworkInput, TopologyInput } from "./schema.js";
import type { Source } from "./source.js";
import type { DualStackPlan } from "./types.js";

/** Where each network is in the file. */
export const NETWORK_PATHS6 = {
  nodes: ["network", "nodesIPv6"],
  pods: ["network", "pods", "networkIPv6"],
  services: ["network", "servicesIPv6"],
} as const satisfies Record<string, Path>;

/** Shortest service network that kube-apiserver takes (cmd/kube-apiserver/app/options/validation.go: 20 bits of hosts). */
const MIN_SERVICES_LENGTH = 108;

type Report = (path: Path, text: string) => void;

/** What the topology says of IPv6; undefined for a lab with IPv4 only. Problems are added to the list. */
export function planDualStack(
  source: Source,
  input: TopologyInput,
  problems: Problem[],
): DualStackPlan | undefined {
  const report: Report = (path, text) => problems.push(source.problem(path, text));
  const networks = readNetworks(input.network, report);
  if (networks === undefined) {
    refuseLoneAddresses(input, report);
    return undefined;
  }
  checkNetworks(networks, report);
  const { host, nodes } = planAddresses(input, networks.nodes, report);
  return {
    nodes: networks.nodes.cidr,
    host,
    nodeIps: nodes,
    pods: { network: networks.pods.cidr, subnetLen: planSubnetLen(input.network, networks.pods, report) },
    services: networks.services.cidr,
  };
}

type Networks6 = Readonly<Record<keyof typeof NETWORK_PATHS6, Network6>>;

/** All three networks or none. */
function readNetworks(input: NetworkInput, report: Report): Networks6 | undefined {
  const texts = { nodes: input.nodesIPv6, pods: input.pods.networkIPv6, services: input.servicesIPv6 };
  const names = ["nodes", "pods", "services"] as const;
  const given = names.filter((name) => texts[name] !== undefined);
  if (given.length === 0) {
    if (input.pods.subnetLenIPv6 !== undefined)
      report(
        ["network", "pods", "subnetLenIPv6"],
        "is of no use without networkIPv6; add that or remove this",
      );
    return undefined;
  }
  for (const name of names) {
    if (texts[name] === undefined)
      report(
        NETWORK_PATHS6[name],
        "missing; a dual-stack lab has nodesIPv6, pods.networkIPv6 and servicesIPv6",
      );
  }
  if (given.length < names.length) return undefined;
  const network = (name: keyof typeof NETWORK_PATHS6) => parseNetwork6(texts[name]!)!;
  return { nodes: network("nodes"), pods: network("pods"), services: network("services") };
}

function checkNetworks(networks: Networks6, report: Report): void {
  const taken = [...SPECIAL6];
  for (const name of ["nodes", "pods", "services"] as const) {
    const network = networks[name];
    const other = taken.find(([, range]) => overlaps6(range, network));
    if (other)
      report(
        NETWORK_PATHS6[name],
        `${network.cidr} overlaps ${other[0]} ${other[1].cidr}; choose another network`,
      );
    taken.push([`the ${name.slice(0, -1)} network`, network]);
  }
  const { length } = networks.services;
  if (length < MIN_SERVICES_LENGTH || length > 126) {
    report(
      NETWORK_PATHS6.services,
      `a /${length} is no size for a service network; use one from /${MIN_SERVICES_LENGTH} to /126`,
    );
  }
}

/** flannel's default is a /64 for each node, a quarter of a network that is smaller than /62 (pkg/subnet/config.go). */
function planSubnetLen({ pods }: NetworkInput, { cidr, length }: Network6, report: Report): number {
  const subnetLen = pods.subnetLenIPv6 ?? (length <= 62 ? 64 : length + 2);
  if (subnetLen > 126) report(NETWORK_PATHS6.pods, `${cidr} is too small for subnets; use a /124 or larger`);
  else if (subnetLen < length + 2) {
    const text = `${cidr} holds fewer than four /${subnetLen} subnets; use ${length + 2} or more`;
    report(["network", "pods", "subnetLenIPv6"], text);
  }
  return subnetLen;
}

/** As for IPv4: the host has the first address that no node has, the nodes the next in order from the third on. */
function planAddresses(
  input: TopologyInput,
  network: Network6,
  report: Report,
): { host: string; nodes: string[] } {
  const given = typeof input.nodes === "number" ? [] : input.nodes.map((node) => node.ipv6);
  const count = typeof input.nodes === "number" ? input.nodes : input.nodes.length;
  const taken = new Set<bigint>();
  for (const [index, text] of given.entries()) {
    if (text === undefined) continue;
    const address = parseAddress6(text)!;
    const path: Path = ["nodes", index, "ipv6"];
    if (!contains6(network, address) || address === network.first)
      report(path, `${text} is not a host address of the node network ${network.cidr}; choose one inside`);
    else if (taken.has(address)) report(path, `${text} is already taken by another node; choose another`);
    taken.add(address);
  }
  const firstFree = (from: bigint): bigint => {
    let address = network.first + from;
    while (taken.has(address)) address++;
    taken.add(address);
    return address;
  };
  const host = firstFree(1n);
  const nodes = Array.from({ length: count }, (_, index) => {
    const text = given[index];
    return text === undefined ? firstFree(2n) : parseAddress6(text)!;
  });
  if ([host, ...nodes].some((address) => address > network.last))
    report(
      NETWORK_PATHS6.nodes,
      `${network.cidr} is too small for ${count} nodes and the host; use a larger network`,
    );
  return { host: formatAddress6(host), nodes: nodes.map(formatAddress6) };
}

function refuseLoneAddresses(input: TopologyInput, report: Report): void {
  if (typeof input.nodes === "number" || input.network.nodesIPv6 !== undefined) return;
  for (const [index, { ipv6 }] of input.nodes.entries())
    if (ipv6 !== undefined)
      report(["nodes", index, "ipv6"], "is of no use without network.nodesIPv6; add that or remove this");
}
