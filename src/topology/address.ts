/** IPv4 addresses and networks of a topology. Text is parsed by ip-address alone; netmask carves what it accepted. */
import { Address4 } from "ip-address";
import { Netmask } from "netmask";

/** A network whose host bits are zero. Addresses are unsigned numbers. */
export interface Network {
  /** Canonical CIDR text. */
  readonly cidr: string;
  readonly first: number;
  readonly last: number;
  readonly length: number;
}

/** Dotted-quad text to an unsigned number; undefined when it is not a plain IPv4 address. */
export function parseAddress(text: string): number | undefined {
  if (text.includes("/") || !Address4.isValid(text)) return undefined;
  return Number(new Address4(text).bigInt());
}

export function formatAddress(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** `a.b.c.d/len` to the network that it is in; undefined when it is not CIDR text. Host bits are dropped. */
export function parseNetwork(text: string): Network | undefined {
  if (!text.includes("/") || !Address4.isValid(text)) return undefined;
  const block = new Netmask(text);
  const first = parseAddress(block.base)!;
  return {
    cidr: `${block.base}/${block.bitmask}`,
    first,
    last: first + block.size - 1,
    length: block.bitmask,
  };
}

export function contains(network: Network, address: number): boolean {
  return address >= network.first && address <= network.last;
}

export function overlaps(a: Network, b: Network): boolean {
  return a.first <= b.last && b.first <= a.last;
}

/** Whether the address may be given to a host: not the network's own and not its broadcast address. */
export function isHostAddress(network: Network, address: number): boolean {
  return address > network.first && address < network.last;
}

/** Number of addresses in a network of this prefix length. */
export function sizeOf(length: number): number {
  return 2 ** (32 - length);
}

/** Ranges that no network of a lab may touch (RFC 6890 and RFC 5771). */
export const SPECIAL: readonly (readonly [name: string, network: Network])[] = [
  ["the range of this host on this network", parseNetwork("0.0.0.0/8")!],
  ["the loopback range", parseNetwork("127.0.0.0/8")!],
  ["the link-local range", parseNetwork("169.254.0.0/16")!],
  ["the multicast range", parseNetwork("224.0.0.0/4")!],
  ["the reserved range", parseNetwork("240.0.0.0/4")!],
];
