/** Subnets as flannel's configuration needs them; the rest of address arithmetic is wire's. */
import { type Prefix, parseIpv4, prefixMask } from "../wire/index.js";

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

export function samePrefix(a: Prefix, b: Prefix): boolean {
  return a.address === b.address && a.length === b.length;
}
