/** The addresses that Services of type LoadBalancer are given. */
import { formatAddress, parseAddress, parseNetwork, SPECIAL } from "./address.js";
import { formatAddress6, parseAddress6, parseNetwork6, SPECIAL6 } from "./address6.js";
import type { Path, Problem } from "./errors.js";
import type { Source } from "./source.js";
import type { DualStackPlan } from "./types.js";

/** An inclusive range of the pool, by its first and last address. */
interface Range {
  /** Of an address: 32 or 128. */
  readonly bits: 32 | 128;
  readonly first: bigint;
  readonly last: bigint;
}

/** What the pool may not reach into. */
export interface PoolSurroundings {
  /** CIDRs of the pod and the service network. */
  readonly pods: string;
  readonly services: string;
  /** Addresses of the host and the nodes, with the owner's name. */
  readonly hosts: readonly (readonly [owner: string, ip: string])[];
  /** The same of the second family; without it the pool cannot have addresses of that either. */
  readonly ipv6?: DualStackPlan;
}

/** A network without host bits, `first-last`, or a single address; undefined when it is none of them, or upside down. */
function parseRange(text: string): Range | undefined {
  if (text.includes("/")) return parsePrefix(text);
  const [from = "", to = from, ...rest] = text.split("-");
  const bits = from.includes(":") ? 128 : 32;
  const [first, last] = [from, to].map((ip) => (bits === 128 ? parseAddress6(ip) : parseAddress(ip)));
  if (first === undefined || last === undefined || first > last || rest.length > 0) return undefined;
  return { bits, first: BigInt(first), last: BigInt(last) };
}

function parsePrefix(text: string): Range | undefined {
  if (!text.includes(":")) {
    const network = parseNetwork(text);
    if (network?.cidr !== text) return undefined;
    return { bits: 32, first: BigInt(network.first), last: BigInt(network.last) };
  }
  const network = parseNetwork6(text);
  if (network === undefined || parseAddress6(text.split("/")[0]!) !== network.first) return undefined;
  return { bits: 128, first: network.first, last: network.last };
}

/** Whether the entry of a pool can be read. */
export function isPoolEntry(text: string): boolean {
  return parseRange(text) !== undefined;
}

/** The pool as CIDR texts, whatever it was written as; entries that reach into something else are reported. */
export function planPool(
  source: Source,
  entries: readonly string[],
  around: PoolSurroundings,
  problems: Problem[],
): string[] {
  const before: Range[] = [];
  return entries.flatMap((entry, index) => {
    const range = parseRange(entry)!;
    const path: Path = ["network", "loadBalancerPool", index];
    const other = conflict(range, before, around);
    if (other !== undefined) problems.push(source.problem(path, `${entry} ${other}`));
    before.push(range);
    return cidrs(range);
  });
}

function conflict(range: Range, before: readonly Range[], around: PoolSurroundings): string | undefined {
  const { ipv6 } = around;
  if (range.bits === 128 && ipv6 === undefined)
    return "is of no use without network.nodesIPv6; add that or remove this";
  const { pods, services } = range.bits === 128 && ipv6 ? { ...ipv6, pods: ipv6.pods.network } : around;
  const networks: (readonly [name: string, cidr: string])[] = [
    ...[...SPECIAL, ...SPECIAL6].map(([name, { cidr }]) => [name, cidr] as const),
    ["the pod network", pods],
    ["the service network", services],
  ];
  const network = networks.find(([, cidr]) => overlap(range, parsePrefix(cidr)));
  if (network) return `overlaps ${network.join(" ")}; choose other addresses`;
  const host = around.hosts.find(([, ip]) => overlap(range, parseRange(ip)));
  if (host) return `holds ${host[1]}, the address of ${host[0]}; choose other addresses`;
  return before.some((other) => overlap(range, other))
    ? "overlaps an entry before it; choose other addresses"
    : undefined;
}

function overlap(a: Range, b: Range | undefined): boolean {
  return b !== undefined && a.bits === b.bits && a.first <= b.last && b.first <= a.last;
}

/** The fewest prefixes that make up the range. */
function cidrs({ bits, first, last }: Range): string[] {
  const found: string[] = [];
  for (let at = first; at <= last; ) {
    let size = 1n;
    let length = bits as number;
    while (length > 0 && at % (2n * size) === 0n && at + 2n * size - 1n <= last) {
      size *= 2n;
      length--;
    }
    found.push(`${bits === 32 ? formatAddress(Number(at)) : formatAddress6(at)}/${length}`);
    at += size;
  }
  return found;
}
