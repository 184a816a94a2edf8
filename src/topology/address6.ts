/** IPv6 addresses and networks of a topology, parsed by ip-address alone. Addresses are bigints. */
import { Address6 } from "ip-address";

/** A network whose host bits are zero. */
export interface Network6 {
  /** Canonical CIDR text (RFC 5952). */
  readonly cidr: string;
  readonly first: bigint;
  readonly last: bigint;
  readonly length: number;
}

/** Text to a number; undefined when it is not a plain IPv6 address: no prefix length, no zone. */
export function parseAddress6(text: string): bigint | undefined {
  if (/[/%]/.test(text) || !Address6.isValid(text)) return undefined;
  return new Address6(text).bigInt();
}

export function formatAddress6(address: bigint): string {
  return Address6.fromBigInt(address).correctForm();
}

/** CIDR text to the network that it is in; undefined when it is none. Host bits are dropped. */
export function parseNetwork6(text: string): Network6 | undefined {
  const [address = "", bits = "", ...rest] = text.split("/");
  const ip = parseAddress6(address);
  if (ip === undefined || rest.length > 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > 128) return undefined;
  const length = Number(bits);
  const size = 1n << BigInt(128 - length);
  const first = ip - (ip % size);
  return { cidr: `${formatAddress6(first)}/${length}`, first, last: first + size - 1n, length };
}

export function contains6(network: Network6, address: bigint): boolean {
  return address >= network.first && address <= network.last;
}

export function overlaps6(a: Network6, b: Network6): boolean {
  return a.first <= b.last && b.first <= a.last;
}

/** Ranges that no network of a lab may touch (RFC 6890, RFC 4291 §2.4). */
export const SPECIAL6: readonly (readonly [name: string, network: Network6])[] = [
  ["the unspecified and loopback addresses", parseNetwork6("::/127")!],
  ["the IPv4-mapped range", parseNetwork6("::ffff:0:0/96")!],
  ["the link-local range", parseNetwork6("fe80::/10")!],
  ["the multicast range", parseNetwork6("ff00::/8")!],
];
