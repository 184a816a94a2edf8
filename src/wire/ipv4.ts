/** IPv4 headers (RFC 791 §3.1). The getters are unchecked: parse the packet first. */
import { getU16, getU32, setU16, setU32 } from "./bytes.js";
import { checksum, patchChecksum16 } from "./checksum.js";

export const IPV4_HEADER_BYTES = 20;
/** Offsets inside the header that rewrites and checksum patches need. */
export const IPV4_CHECKSUM = 10;
export const IPV4_SRC = 12;
export const IPV4_DST = 16;
const VERSION_AND_IHL = 0;
const TOS = 1;
const TOTAL_LENGTH = 2;
const ID = 4;
const FLAGS_AND_OFFSET = 6;
const TTL = 8;
const PROTOCOL = 9;

const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const OFFSET_MASK = 0x1fff;
const END_OF_OPTIONS = 0;
const NO_OPERATION = 1;

/** Protocol numbers (IANA protocol-numbers). */
export const IpProtocol = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
export type IpProtocol = (typeof IpProtocol)[keyof typeof IpProtocol];

/** The lower-case name of a protocol, or its number as text. */
export function protocolName(protocol: number): string {
  if (protocol === IpProtocol.tcp) return "tcp";
  if (protocol === IpProtocol.udp) return "udp";
  if (protocol === IpProtocol.icmp) return "icmp";
  if (protocol === IpProtocol.icmpv6) return "icmpv6";
  return protocol === IpProtocol.sctp ? "sctp" : String(protocol);
}

export function ipv4Version(bytes: Uint8Array, offset: number): number {
  return bytes[offset + VERSION_AND_IHL] >>> 4;
}

export function ipv4HeaderLength(bytes: Uint8Array, offset: number): number {
  return (bytes[offset + VERSION_AND_IHL] & 0xf) * 4;
}

export function ipv4Tos(bytes: Uint8Array, offset: number): number {
  return bytes[offset + TOS];
}

export function ipv4TotalLength(bytes: Uint8Array, offset: number): number {
  return getU16(bytes, offset + TOTAL_LENGTH);
}

export function ipv4Id(bytes: Uint8Array, offset: number): number {
  return getU16(bytes, offset + ID);
}

/** 1 when the packet must not be fragmented, else 0. */
export function ipv4DontFragment(bytes: Uint8Array, offset: number): number {
  return (bytes[offset + FLAGS_AND_OFFSET] >>> 6) & 1;
}

/** 1 when more fragments follow, else 0. */
export function ipv4MoreFragments(bytes: Uint8Array, offset: number): number {
  return (bytes[offset + FLAGS_AND_OFFSET] >>> 5) & 1;
}

/** Position of this fragment's payload in the whole packet's payload, in bytes. */
export function ipv4FragmentOffset(bytes: Uint8Array, offset: number): number {
  return (getU16(bytes, offset + FLAGS_AND_OFFSET) & OFFSET_MASK) * 8;
}

export function ipv4Ttl(bytes: Uint8Array, offset: number): number {
  return bytes[offset + TTL];
}

export function ipv4Protocol(bytes: Uint8Array, offset: number): number {
  return bytes[offset + PROTOCOL];
}

export function ipv4Src(bytes: Uint8Array, offset: number): number {
  return getU32(bytes, offset + IPV4_SRC);
}

export function ipv4Dst(bytes: Uint8Array, offset: number): number {
  return getU32(bytes, offset + IPV4_DST);
}

/** Takes one hop off the TTL (which must not be 0) and updates the header checksum. */
export function decrementTtl(bytes: Uint8Array, offset: number): void {
  const before = getU16(bytes, offset + TTL);
  bytes[offset + TTL]--;
  patchChecksum16(bytes, offset + IPV4_CHECKSUM, before, before - 0x100);
}

/** Sets the TTL; the checksum is left stale. */
export function setIpv4Ttl(bytes: Uint8Array, offset: number, ttl: number): void {
  bytes[offset + TTL] = ttl;
}

/**
 * Whether the options of a header of `headerLength` bytes are well formed: each length at least 2 and inside the
 * header (RFC 791 §3.1). Unknown options are fine.
 */
export function ipv4OptionsAreValid(bytes: Uint8Array, offset: number, headerLength: number): boolean {
  const end = offset + headerLength;
  let at = offset + IPV4_HEADER_BYTES;
  while (at < end && bytes[at] !== END_OF_OPTIONS) {
    if (bytes[at] === NO_OPERATION) {
      at++;
      continue;
    }
    if (at + 1 >= end || bytes[at + 1] < 2 || at + bytes[at + 1] > end) return false;
    at += bytes[at + 1];
  }
  return true;
}

/** Writes a header without options, {@link IPV4_HEADER_BYTES} bytes, checksum included; DF clear, not a fragment. */
export function writeIpv4(
  bytes: Uint8Array,
  offset: number,
  totalLength: number,
  protocol: number,
  src: number,
  dst: number,
  ttl: number,
  id: number,
  tos = 0,
): void {
  bytes[offset + VERSION_AND_IHL] = 0x45;
  bytes[offset + TOS] = tos;
  setU16(bytes, offset + TOTAL_LENGTH, totalLength);
  setU16(bytes, offset + ID, id);
  setU16(bytes, offset + FLAGS_AND_OFFSET, 0);
  bytes[offset + TTL] = ttl;
  bytes[offset + PROTOCOL] = protocol;
  setU32(bytes, offset + IPV4_SRC, src);
  setU32(bytes, offset + IPV4_DST, dst);
  writeIpv4Checksum(bytes, offset, IPV4_HEADER_BYTES);
}

/** Sets DF, MF and the fragment offset (bytes, a multiple of 8), and the total length; the checksum is left stale. */
export function setIpv4Fragment(
  bytes: Uint8Array,
  offset: number,
  totalLength: number,
  dontFragment: number,
  moreFragments: number,
  fragmentOffset: number,
): void {
  setU16(bytes, offset + TOTAL_LENGTH, totalLength);
  const flags = (dontFragment !== 0 ? DONT_FRAGMENT : 0) | (moreFragments !== 0 ? MORE_FRAGMENTS : 0);
  setU16(bytes, offset + FLAGS_AND_OFFSET, flags | (fragmentOffset >>> 3));
}

/** Computes the header checksum anew. */
export function writeIpv4Checksum(bytes: Uint8Array, offset: number, headerLength: number): void {
  setU16(bytes, offset + IPV4_CHECKSUM, 0);
  setU16(bytes, offset + IPV4_CHECKSUM, checksum(bytes, offset, headerLength));
}
