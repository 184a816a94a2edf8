/** The nodes of a lab: names, addresses in the node network, underlay addresses on the loopback range. */
import { contains, formatAddress, isHostAddress, parseAddress, parseNetwork } from "./address.js";
import type { Path, Problem } from "./errors.js";
import { addressProblem, type Networks } from "./network.js";
import type { NodeInput, TopologyInput } from "./schema.js";
import type { Source } from "./source.js";
import type { NodePlan } from "./types.js";

const LOOPBACK = parseNetwork("127.0.0.0/8")!;
const LOCALHOST = parseAddress("127.0.0.1")!;
/** Derived underlay addresses are in 127.64.0.0/10: the ranges that other programs like to use are below. */
const UNDERLAY_BASE = parseAddress("127.64.0.0")!;
const UNDERLAY_BLOCKS = 2 ** 14;

/** The nodes in order, and the host's address in their network. */
export function planNodes(
  source: Source,
  input: TopologyInput,
  networks: Networks,
  problems: Problem[],
): { nodes: NodePlan[]; host: string } {
  const inputs: readonly NodeInput[] =
    typeof input.nodes === "number"
      ? Array.from({ length: input.nodes }, (_, index) => ({ name: `node-${index + 1}` }))
      : input.nodes;
  checkGiven(source, inputs, input.network.host, networks, problems);
  const taken = new Set(inputs.flatMap((node) => node.ip ?? []).concat(input.network.host ?? []));
  const host = input.network.host ?? firstFree(networks, taken, 1);
  if (host !== undefined) taken.add(host);
  const ips = inputs.map((node) => {
    const ip = node.ip ?? firstFree(networks, taken, 2);
    if (ip !== undefined) taken.add(ip);
    return ip;
  });
  if (host === undefined || ips.includes(undefined)) {
    const text = `${networks.nodes.cidr} is too small for ${inputs.length} nodes and the host; use a larger network`;
    problems.push(source.problem(["network", "nodes"], text));
  }
  const underlays = planUnderlays(input.name, inputs);
  const nodes = inputs.map((node, index) => ({
    name: node.name,
    index,
    ip: ips[index] ?? "",
    labels: node.labels ?? {},
    underlay: underlays[index]!,
  }));
  return { nodes, host: host ?? "" };
}

/** The first host address at or after this place in the node network that nobody has. */
function firstFree({ nodes }: Networks, taken: ReadonlySet<string>, from: number): string | undefined {
  for (let address = nodes.first + from; isHostAddress(nodes, address); address++) {
    const ip = formatAddress(address);
    if (!taken.has(ip)) return ip;
  }
  return undefined;
}

function checkGiven(
  source: Source,
  inputs: readonly NodeInput[],
  host: string | undefined,
  networks: Networks,
  problems: Problem[],
): void {
  const report = (path: Path, text: string | undefined) => {
    if (text !== undefined) problems.push(source.problem(path, text));
  };
  const hostProblem = host === undefined ? undefined : addressProblem(networks, host);
  report(["network", "host"], hostProblem);
  const names = new Map<string, string>();
  const ips = new Map<string, string>(host === undefined ? [] : [[host, "the host (network.host)"]]);
  const underlays = new Map<string, string>();
  for (const [index, node] of inputs.entries()) {
    const path = (field: string): Path => ["nodes", index, field];
    report(path("name"), takeOnce(names, node.name, `nodes[${index}]`));
    if (node.ip !== undefined) {
      report(path("ip"), addressProblem(networks, node.ip) ?? takeOnce(ips, node.ip, node.name));
    }
    if (node.underlay !== undefined) {
      report(
        path("underlay"),
        underlayProblem(node.underlay) ?? takeOnce(underlays, node.underlay, node.name),
      );
    }
  }
}

/** Notes who has the value; says so when somebody had it before. */
function takeOnce(owners: Map<string, string>, value: string, owner: string): string | undefined {
  const other = owners.get(value);
  if (other === undefined) owners.set(value, owner);
  return other === undefined ? undefined : `${value} is already taken by ${other}; choose another`;
}

function underlayProblem(text: string): string | undefined {
  const address = parseAddress(text)!;
  if (contains(LOOPBACK, address) && isHostAddress(LOOPBACK, address) && address !== LOCALHOST)
    return undefined;
  return `${text} cannot be an underlay address; use a loopback address other than 127.0.0.1, such as 127.64.0.1`;
}

/**
 * One loopback address per node: the lab's name chooses a block of 256, the node's index the place from there on, so
 * that two labs on one machine rarely meet and a lab gets the same addresses each time. Given addresses are kept.
 */
function planUnderlays(lab: string, inputs: readonly NodeInput[]): string[] {
  const taken = new Set(inputs.flatMap((node) => node.underlay ?? []));
  let next = UNDERLAY_BASE + (hash(lab) % UNDERLAY_BLOCKS) * 256 + 1;
  return inputs.map((node) => {
    if (node.underlay !== undefined) return node.underlay;
    while (taken.has(formatAddress(next))) next++;
    return formatAddress(next++);
  });
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value;
}
