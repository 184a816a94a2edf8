/** IPv6 headers and extension headers (RFC 8200). The getters are unchecked: parse the packet first. */
import { copyBytes, getU16, getU32, setU16, setU32 } from "./bytes.js";
import { sumWords } from "./checksum.js";
import { IPV6_ADDRESS_BYTES } from "./ipv6-address.js";

export const IPV6_HEADER_BYTES = 40;
/** Every link carries packets of this size (RFC 8200 §5). */
export const IPV6_MIN_MTU = 1280;
/** Offsets inside the header. */
export const IPV6_SRC = 8;
export const IPV6_DST = 24;
const PAYLOAD_LENGTH = 4;
const NEXT_HEADER = 6;
const HOP_LIMIT = 7;

/** Next headers that only IPv6 has (IANA protocol-numbers); the others are `IpProtocol`s. */
export const Ipv6Next = {
  hopByHop: 0,
  routing: 43,
  fragment: 44,
  encapsulatingSecurity: 50,
  authentication: 51,
  none: 59,
  destination: 60,
} as const;
export type Ipv6Next = (typeof Ipv6Next)[keyof typeof Ipv6Next];

export const IPV6_FRAGMENT_HEADER_BYTES = 8;
const MORE_FRAGMENTS = 1;

export function ipv6PayloadLength(bytes: Uint8Array, offset: number): number {
  return getU16(bytes, offset + PAYLOAD_LENGTH);
}

export function ipv6NextHeader(bytes: Uint8Array, offset: number): number {
  return bytes[offset + NEXT_HEADER];
}

export function ipv6HopLimit(bytes: Uint8Array, offset: number): number {
  return bytes[offset + HOP_LIMIT];
}

export function ipv6TrafficClass(bytes: Uint8Array, offset: number): number {
  return (getU16(bytes, offset) >>> 4) & 0xff;
}

export function ipv6FlowLabel(bytes: Uint8Array, offset: number): number {
  return getU32(bytes, offset) & 0xfffff;
}

export function setIpv6HopLimit(bytes: Uint8Array, offset: number, hopLimit: number): void {
  bytes[offset + HOP_LIMIT] = hopLimit;
}

/** Takes one hop off the limit, which must not be 0. There is no header checksum. */
export function decrementHopLimit(bytes: Uint8Array, offset: number): void {
  bytes[offset + HOP_LIMIT]--;
}

/** Position of a fragment's payload in the whole packet's, in bytes, from its fragment header (RFC 8200 §4.5). */
export function ipv6FragmentOffset(bytes: Uint8Array, fragmentHeader: number): number {
  return getU16(bytes, fragmentHeader + 2) & 0xfff8;
}

/** 1 when more fragments follow, else 0. */
export function ipv6MoreFragments(bytes: Uint8Array, fragmentHeader: number): number {
  return bytes[fragmentHeader + 3] & MORE_FRAGMENTS;
}

export function ipv6FragmentId(bytes: Uint8Array, fragmentHeader: number): number {
  return getU32(bytes, fragmentHeader + 4);
}

/** Writes a fragment header; `fragmentOffset` in bytes, a multiple of 8. */
export function writeIpv6Fragment(
  bytes: Uint8Array,
  offset: number,
  nextHeader: number,
  fragmentOffset: number,
  moreFragments: boolean,
  id: number,
): void {
  bytes[offset] = nextHeader;
  bytes[offset + 1] = 0;
  setU16(bytes, offset + 2, fragmentOffset | (moreFragments ? MORE_FRAGMENTS : 0));
  setU32(bytes, offset + 4, id);
}

/**
 * The sum of the pseudo-header of an upper layer (RFC 8200 §8.1), from the addresses of the header at `offset`;
 * `length` counts L4 header and payload.
 */
export function ipv6PseudoHeaderSum(
  bytes: Uint8Array,
  offset: number,
  protocol: number,
  length: number,
): number {
  return sumWords(bytes, offset + IPV6_SRC, 2 * IPV6_ADDRESS_BYTES, protocol + length);
}

/**
 * Writes a header of {@link IPV6_HEADER_BYTES} bytes; each address is sixteen bytes at an offset inside its own array,
 * outside of what is written.
 */
export function writeIpv6(
  bytes: Uint8Array,
  offset: number,
  payloadLength: number,
  nextHeader: number,
  src: Uint8Array,
  srcOffset: number,
  dst: Uint8Array,
  dstOffset: number,
  hopLimit: number,
  trafficClass = 0,
  flowLabel = 0,
): void {
  setU32(bytes, offset, (6 << 28) | (trafficClass << 20) | flowLabel);
  setU16(bytes, offset + PAYLOAD_LENGTH, payloadLength);
  bytes[offset + NEXT_HEADER] = nextHeader;
  bytes[offset + HOP_LIMIT] = hopLimit;
  copyBytes(bytes, offset + IPV6_SRC, src, srcOffset, IPV6_ADDRESS_BYTES);
  copyBytes(bytes, offset + IPV6_DST, dst, dstOffset, IPV6_ADDRESS_BYTES);
}
