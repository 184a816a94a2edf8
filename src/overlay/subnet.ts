/** Subnets as flannel's configuration needs them; the rest of address arithmetic is wire's. */
import {
  formatIpv6Prefix,
  formatPrefix,
  ipv6PrefixesOverlap,
  type Prefix,
  parseIpv4,
  prefixesOverlap,
  prefixMask,
} from "../wire/index.js";
import type { NodeSubnets } from "./types.js";

/** `a.b.c.d/len` to a prefix with its host bits cleared (as Go's ParseCIDR does); undefined when it is not one. */
export function parseCidr(text: string): Prefix | undefined {
  const [, addressText = "", lengthText] = /^([^/]+)\/([12]?\d|3[0-2])$/.exec(text) ?? [];
  const address = parseIpv4(addressText);
  return address === undefined ? undefined : networkOf(address, Number(lengthText));
}

/** The subnet of this length that holds the address. */
export function networkOf(address: number, length: number): Prefix {
  return { address: (address & prefixMask(length)) >>> 0, length };
}

/** Number of addresses in a subnet of this length. */
export function sizeOf(length: number): number {
  return 2 ** (32 - length);
}

/** As flannel names them together: `172.16.53.0/24`, or `172.16.53.0/24&fd00:10:244:5::/64`. */
export function formatSubnets({ subnet, subnet6 }: NodeSubnets): string {
  return subnet6 === undefined
    ? formatPrefix(subnet)
    : `${formatPrefix(subnet)}&${formatIpv6Prefix(subnet6)}`;
}

/** Whether two nodes' subnets share an address of either family. */
export function subnetsOverlap(a: NodeSubnets, b: NodeSubnets): boolean {
  if (prefixesOverlap(a.subnet, b.subnet)) return true;
  return a.subnet6 !== undefined && b.subnet6 !== undefined && ipv6PrefixesOverlap(a.subnet6, b.subnet6);
}

export function sameSubnets(a: NodeSubnets, b: NodeSubnets): boolean {
  return formatSubnets(a) === formatSubnets(b);
}
