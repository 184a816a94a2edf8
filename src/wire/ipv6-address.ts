/**
 * IPv6 addresses (RFC 4291). Outside packets they are 128-bit `bigint`s: they are read when something is configured, not
 * for each packet. Inside packets they stay sixteen bytes at an offset.
 */
import { formatIpv4, type IpAddress, parseIpv4 } from "./address.js";
import { getU16, getU32, setU32 } from "./bytes.js";
import { MAC_BYTES } from "./mac.js";

/** An IPv6 prefix; `address` has its host bits clear. */
export interface Ipv6Prefix {
  readonly address: bigint;
  readonly length: number;
}

export const IPV6_ADDRESS_BYTES = 16;
/** `::`, which a host without an address sends from (RFC 4291 §2.5.2). */
export const IPV6_UNSPECIFIED = 0n;
/** `ff02::1` and `ff02::2` (RFC 4291 §2.7.1). */
export const IPV6_ALL_NODES = 0xff02_0000_0000_0000_0000_0000_0000_0001n;
export const IPV6_ALL_ROUTERS = 0xff02_0000_0000_0000_0000_0000_0000_0002n;

const ADDRESS_BITS = 128;
const GROUPS = 8;
const MAX_TEXT = 45;
const GROUP = /^[0-9a-f]{1,4}$/i;
const PREFIX = /^([^/]+)\/(\d|[1-9]\d|1[01]\d|12[0-8])$/;
const LINK_LOCAL = 0xfe80n << 112n;
const SOLICITED_NODE = (0xff02n << 112n) | 0x1ff00_0000n;

/**
 * The number of an address in any form of RFC 4291 §2.2, also with a dotted quad at its end; undefined for anything
 * else, also for zone identifiers and groups of more than four digits.
 */
export function parseIpv6(text: string): bigint | undefined {
  if (text.length > MAX_TEXT) return undefined;
  const plain = text.includes(".") ? withoutDottedQuad(text) : text;
  const halves = plain?.split("::");
  if (halves === undefined || halves.length > 2) return undefined;
  const [head, tail] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const missing = GROUPS - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = tail === undefined ? head : [...head, ...new Array<string>(missing).fill("0"), ...tail];
  if (!groups.every((group) => GROUP.test(group))) return undefined;
  return groups.reduce((address, group) => (address << 16n) | BigInt(`0x${group}`), 0n);
}

/** The same address with its dotted quad as two groups. */
function withoutDottedQuad(text: string): string | undefined {
  const at = text.lastIndexOf(":") + 1;
  const quad = parseIpv4(text.slice(at));
  if (at === 0 || quad === undefined) return undefined;
  return `${text.slice(0, at)}${(quad >>> 16).toString(16)}:${(quad & 0xffff).toString(16)}`;
}

/** The canonical text of an address (RFC 5952): lower case, the longest run of zero groups as `::`. */
export function formatIpv6(address: bigint): string {
  if (address >> 32n === 0xffffn) return `::ffff:${formatIpv4(Number(address & 0xffffffffn))}`;
  const groups = Array.from({ length: GROUPS }, (_, i) =>
    Number((address >> BigInt(16 * (7 - i))) & 0xffffn),
  );
  let [best, bestLength] = [0, 1];
  for (let start = 0; start < GROUPS; start++) {
    let end = start;
    while (end < GROUPS && groups[end] === 0) end++;
    if (end - start > bestLength) [best, bestLength] = [start, end - start];
  }
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(":");
  if (bestLength === 1) return hex(groups);
  return `${hex(groups.slice(0, best))}::${hex(groups.slice(best + bestLength))}`;
}

/** The address that a text of either family stands for, IPv6 in its canonical text; undefined for anything else. */
export function parseIp(text: string): IpAddress | undefined {
  const ipv4 = parseIpv4(text);
  if (ipv4 !== undefined) return ipv4;
  const ipv6 = parseIpv6(text);
  return ipv6 === undefined ? undefined : formatIpv6(ipv6);
}

/** The address with all bits behind the first `length` cleared. */
export function ipv6Network(address: bigint, length: number): bigint {
  const host = BigInt(ADDRESS_BITS - length);
  return (address >> host) << host;
}

/** Number of addresses in a prefix of this length. */
export function ipv6PrefixSize(length: number): bigint {
  return 1n << BigInt(ADDRESS_BITS - length);
}

/** The prefix of `address/n`; undefined when it is malformed or has host bits set. */
export function parseIpv6Prefix(text: string): Ipv6Prefix | undefined {
  const prefix = parseIpv6Cidr(text);
  return prefix !== undefined && parseIpv6(text.slice(0, text.indexOf("/"))) === prefix.address
    ? prefix
    : undefined;
}

/** The prefix of `address/n` with its host bits cleared (as Go's ParseCIDR does); undefined when it is malformed. */
export function parseIpv6Cidr(text: string): Ipv6Prefix | undefined {
  const parts = PREFIX.exec(text);
  const address = parts === null ? undefined : parseIpv6(parts[1]);
  if (parts === null || address === undefined) return undefined;
  const length = Number(parts[2]);
  return { address: ipv6Network(address, length), length };
}

/** `address/n`. */
export function formatIpv6Prefix(prefix: Ipv6Prefix): string {
  return `${formatIpv6(prefix.address)}/${prefix.length}`;
}

/** Whether an address lies in a prefix. */
export function ipv6PrefixContains(prefix: Ipv6Prefix, address: bigint): boolean {
  return ipv6Network(address, prefix.length) === prefix.address;
}

/** Whether two prefixes share an address. */
export function ipv6PrefixesOverlap(a: Ipv6Prefix, b: Ipv6Prefix): boolean {
  return a.length <= b.length ? ipv6PrefixContains(a, b.address) : ipv6PrefixContains(b, a.address);
}

/** The sixteen bytes at `offset`. */
export function readIpv6Address(bytes: Uint8Array, offset: number): bigint {
  let address = 0n;
  for (let i = 0; i < IPV6_ADDRESS_BYTES; i += 4)
    address = (address << 32n) | BigInt(getU32(bytes, offset + i));
  return address;
}

/** Writes the sixteen bytes at `offset`. */
export function writeIpv6Address(bytes: Uint8Array, offset: number, address: bigint): void {
  for (let i = 0; i < 4; i++)
    setU32(bytes, offset + 4 * i, Number((address >> BigInt(96 - 32 * i)) & 0xffffffffn));
}

/** Whether the addresses at two offsets are the same. */
export function ipv6AddressesEqual(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number): boolean {
  for (let i = 0; i < IPV6_ADDRESS_BYTES; i++) if (a[aOffset + i] !== b[bOffset + i]) return false;
  return true;
}

/** `::` at an offset. */
export function isUnspecifiedIpv6(bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < IPV6_ADDRESS_BYTES; i++) if (bytes[offset + i] !== 0) return false;
  return true;
}

/** ff00::/8 at an offset (RFC 4291 §2.7). */
export function isMulticastIpv6(bytes: Uint8Array, offset: number): boolean {
  return bytes[offset] === 0xff;
}

/** fe80::/10 at an offset: valid on one link only (RFC 4291 §2.5.6). */
export function isLinkLocalIpv6(bytes: Uint8Array, offset: number): boolean {
  return bytes[offset] === 0xfe && (bytes[offset + 1] & 0xc0) === 0x80;
}

/**
 * Whether an address at an offset may be the source of a packet from one host: not `::`, loopback, an IPv4-mapped or
 * -compatible address (::/96, ::ffff:0:0/96), nor multicast (RFC 4291 §2.5, RFC 6890 §2.2.3).
 */
export function isUnicastHostIpv6(bytes: Uint8Array, offset: number): boolean {
  if (bytes[offset] === 0xff) return false;
  for (let i = 0; i < 10; i++) if (bytes[offset + i] !== 0) return true;
  const group = getU16(bytes, offset + 10);
  return group !== 0 && group !== 0xffff;
}

/** The link-local address that an interface gives itself from its MAC (RFC 4291 appendix A, EUI-64). */
export function linkLocalOfMac(mac: Uint8Array): bigint {
  const eui = [mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]];
  return LINK_LOCAL | eui.reduce((id, byte) => (id << 8n) | BigInt(byte), 0n);
}

/** ff02::1:ffXX:XXXX, to which neighbours of an address are asked for it (RFC 4291 §2.7.1). */
export function solicitedNode(address: bigint): bigint {
  return SOLICITED_NODE | (address & 0xffffffn);
}

/** The Ethernet group of an IPv6 group: 33:33 and its last four bytes (RFC 2464 §7). */
export function macOfIpv6Group(address: bigint): Uint8Array {
  const mac = new Uint8Array(MAC_BYTES).fill(0x33);
  setU32(mac, 2, Number(address & 0xffffffffn));
  return mac;
}
