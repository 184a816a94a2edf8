/** The addresses that Services of type LoadBalancer are given. */
import { contains, formatAddress, type Network, overlaps, parseAddress, parseNetwork } from "./address.js";
import { parseNetwork6 } from "./address6.js";
import type { Path, Problem } from "./errors.js";
import type { Source } from "./source.js";

/** An inclusive range of the pool, by its first and last address. */
interface Range {
  readonly first: number;
  readonly last: number;
}

/** What the pool may not reach into. */
export interface PoolSurroundings {
  readonly pods: Network;
  readonly services: Network;
  /** Addresses of the host and the nodes, with the owner's name. */
  readonly hosts: readonly (readonly [owner: string, ip: string])[];
}

/** `a.b.c.d/len`, `a.b.c.d-e.f.g.h` or a single address; undefined when it is none of them, or upside down. */
export function parseRange(text: string): Range | undefined {
  const [from = "", to = from, ...rest] = text.split("-");
  const network = parseNetwork(text);
  if (network) return network.cidr === text ? { first: network.first, last: network.last } : undefined;
  const [first, last] = [parseAddress(from), parseAddress(to)];
  return first === undefined || last === undefined || first > last || rest.length > 0
    ? undefined
    : { first, last };
}

/** Whether the entry of a pool can be read; IPv6 entries are networks. */
export function isPoolEntry(text: string): boolean {
  return parseRange(text) !== undefined || parseNetwork6(text)?.cidr === text;
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
    const range = parseRange(entry);
    if (range === undefined) return [entry];
    const path: Path = ["network", "loadBalancerPool", index];
    const other = conflict(range, before, around);
    if (other !== undefined) problems.push(source.problem(path, `${entry} ${other}; choose other addresses`));
    before.push(range);
    return cidrs(range);
  });
}

function conflict(range: Range, before: readonly Range[], { pods, services, hosts }: PoolSurroundings) {
  const asNetwork: Network = { ...range, cidr: "", length: 32 };
  for (const [name, network] of [
    ["pod", pods],
    ["service", services],
  ] as const) {
    if (overlaps(asNetwork, network)) return `overlaps the ${name} network ${network.cidr}`;
  }
  const host = hosts.find(([, ip]) => ip !== "" && contains(asNetwork, parseAddress(ip)!));
  if (host) return `holds ${host[1]}, the address of ${host[0]}`;
  return before.some((other) => range.first <= other.last && other.first <= range.last)
    ? "overlaps an entry before it"
    : undefined;
}

/** The fewest prefixes that make up the range. */
function cidrs({ first, last }: Range): string[] {
  const found: string[] = [];
  for (let at = first; at <= last; ) {
    let length = 32;
    while (length > 0 && at % 2 ** (33 - length) === 0 && at + 2 ** (33 - length) - 1 <= last) length--;
    found.push(`${formatAddress(at)}/${length}`);
    at += 2 ** (32 - length);
  }
  return found;
}
