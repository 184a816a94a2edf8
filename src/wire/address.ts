/** IPv4 addresses as unsigned 32-bit numbers, prefixes, and the classes of address that a router must know. */

/** An IPv4 prefix; `address` has its host bits clear. */
export interface Prefix {
  readonly address: number;
  readonly length: number;
}

/** An address of either family, where people see it: IPv4 as a number, IPv6 as its canonical text. */
export type IpAddress = number | string;

/** 255.255.255.255 (RFC 919 §7). */
export const IPV4_BROADCAST = 0xffffffff;

const OCTET = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const DOTTED_QUAD = new RegExp(`^${OCTET}\\.${OCTET}\\.${OCTET}\\.${OCTET}$`);
const PREFIX = /^([\d.]+)\/([1-2]?\d|3[0-2])$/;

/** The number of a dotted quad; undefined for anything else, also for leading zeros and spaces. */
export function parseIpv4(text: string): number | undefined {
  const octets = DOTTED_QUAD.exec(text);
  if (octets === null) return undefined;
  return octets.slice(1).reduce((address, octet) => address * 256 + Number(octet), 0);
}

/**
 * Like {@link parseIpv4}, but leading zeros count for nothing, as where Kubernetes reads addresses: 10.0.0.011 is 10.0.0.11
 * and not, as C has it, octal (CVE-2021-29923).
 */
export function parseIpv4Decimal(text: string): number | undefined {
  return parseIpv4(text.replace(/(^|\.)0+(?=\d)/g, "$1"));
}

/** The dotted quad of an address. */
export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** The text of an address of either family. */
export function formatIp(address: IpAddress): string {
  return typeof address === "number" ? formatIpv4(address) : address;
}

/** The network mask of a prefix length 0–32, as an unsigned number. */
export function prefixMask(length: number): number {
  return length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
}

/** The prefix of `a.b.c.d/n`; undefined when it is malformed or has host bits set. */
export function parsePrefix(text: string): Prefix | undefined {
  const parts = PREFIX.exec(text);
  const address = parts === null ? undefined : parseIpv4(parts[1]);
  if (parts === null || address === undefined) return undefined;
  const length = Number(parts[2]);
  return (address & prefixMask(length)) >>> 0 === address ? { address, length } : undefined;
}

/** `a.b.c.d/n`. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatIpv4(prefix.address)}/${prefix.length}`;
}

/** Whether an address lies in a prefix. */
export function prefixContains(prefix: Prefix, address: number): boolean {
  return (address & prefixMask(prefix.length)) >>> 0 === prefix.address;
}

/** Whether two prefixes share an address. */
export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return a.length <= b.length ? prefixContains(a, b.address) : prefixContains(b, a.address);
}

/** 224.0.0.0/4 (RFC 5771 §3). */
export function isMulticastIpv4(address: number): boolean {
  return address >>> 28 === 0xe;
}

/** 127.0.0.0/8 (RFC 1122 §3.2.1.3 g). */
export function isLoopbackIpv4(address: number): boolean {
  return address >>> 24 === 127;
}

/**
 * Whether an address may be the source of a packet from one host (RFC 1122 §3.2.1.3): not 0.0.0.0/8, loopback,
 * multicast, reserved or broadcast. Directed broadcasts depend on the subnet and are left to the caller.
 */
export function isUnicastHostIpv4(address: number): boolean {
  const net = address >>> 24;
  return net !== 0 && net !== 127 && net < 224;
}
