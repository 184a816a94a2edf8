/** Neighbour discovery (RFC 4861): solicitations and advertisements, which do for IPv6 what ARP does for IPv4. */
import { copyBytes } from "./bytes.js";
import { Icmpv6Type, writeIcmpv6 } from "./icmpv6.js";
import { IpProtocol } from "./ipv4.js";
import { IPV6_DST, IPV6_HEADER_BYTES, IPV6_SRC, writeIpv6 } from "./ipv6.js";
import { IPV6_ADDRESS_BYTES, isMulticastIpv6, isUnspecifiedIpv6 } from "./ipv6-address.js";
import { copyMac } from "./mac.js";
import type { PacketView } from "./packet.js";

/** Hop limit of all of it: what crossed a router has less (RFC 4861 §3.1). */
export const NEIGHBOUR_HOP_LIMIT = 255;
/** Offset of the target inside both messages. */
export const NEIGHBOUR_TARGET = 8;
/** Length of a whole packet that {@link writeNeighbour} writes. */
export const NEIGHBOUR_BYTES = IPV6_HEADER_BYTES + 32;

const FIXED_BYTES = 24;
const OPTION_BYTES = 8;
const MESSAGE_BYTES = FIXED_BYTES + OPTION_BYTES;

const NeighbourOption = { sourceMac: 1, targetMac: 2 } as const;

/** Flags of an advertisement, in its second word. */
export const NeighbourFlag = { router: 0x80000000, solicited: 0x40000000, override: 0x20000000 } as const;

/**
 * Whether the parsed ICMPv6 packet is a valid solicitation or advertisement (RFC 4861 §7.1); its checksum is to be
 * verified apart. The getters below may be used only when it is.
 */
export function isNeighbourMessage(bytes: Uint8Array, view: PacketView): boolean {
  const { icmpType, l3Offset, l4Offset } = view;
  const isSolicitation = icmpType === Icmpv6Type.neighbourSolicitation;
  if (!isSolicitation && icmpType !== Icmpv6Type.neighbourAdvertisement) return false;
  if (view.ttl !== NEIGHBOUR_HOP_LIMIT || view.icmpCode !== 0 || view.l4Length < FIXED_BYTES) return false;
  if (isMulticastIpv6(bytes, l4Offset + NEIGHBOUR_TARGET) || !optionsFit(bytes, view)) return false;
  const isUnspecified = isUnspecifiedIpv6(bytes, l3Offset + IPV6_SRC);
  if (!isSolicitation) {
    const isSolicited = (bytes[l4Offset + 4] & 0x40) !== 0;
    return !isUnspecified && !(isSolicited && isMulticastIpv6(bytes, l3Offset + IPV6_DST));
  }
  return !isUnspecified || (isSolicitedNode(bytes, l3Offset + IPV6_DST) && neighbourMac(bytes, view) < 0);
}

/** Offset of the MAC of a solicitation's source or an advertisement's target; -1 when the message has none. */
export function neighbourMac(bytes: Uint8Array, view: PacketView): number {
  const isSolicitation = view.icmpType === Icmpv6Type.neighbourSolicitation;
  const wanted = isSolicitation ? NeighbourOption.sourceMac : NeighbourOption.targetMac;
  const end = view.l4Offset + view.l4Length;
  for (let at = view.l4Offset + FIXED_BYTES; at < end; at += bytes[at + 1] * 8)
    if (bytes[at] === wanted && bytes[at + 1] === 1) return at + 2;
  return -1;
}

/**
 * Writes a solicitation or advertisement of {@link NEIGHBOUR_BYTES} bytes for the target at `targetOffset` in `target`,
 * with the writer's MAC. Each address is at an offset inside its own array, outside of what is written.
 */
export function writeNeighbour(
  bytes: Uint8Array,
  offset: number,
  type: typeof Icmpv6Type.neighbourSolicitation | typeof Icmpv6Type.neighbourAdvertisement,
  flags: number,
  src: Uint8Array,
  srcOffset: number,
  dst: Uint8Array,
  dstOffset: number,
  target: Uint8Array,
  targetOffset: number,
  mac: Uint8Array,
): void {
  const icmp = offset + IPV6_HEADER_BYTES;
  const protocol = IpProtocol.icmpv6;
  writeIpv6(bytes, offset, MESSAGE_BYTES, protocol, src, srcOffset, dst, dstOffset, NEIGHBOUR_HOP_LIMIT);
  copyBytes(bytes, icmp + NEIGHBOUR_TARGET, target, targetOffset, IPV6_ADDRESS_BYTES);
  const option = icmp + FIXED_BYTES;
  const isSolicitation = type === Icmpv6Type.neighbourSolicitation;
  bytes[option] = isSolicitation ? NeighbourOption.sourceMac : NeighbourOption.targetMac;
  bytes[option + 1] = 1;
  copyMac(bytes, option + 2, mac, 0);
  writeIcmpv6(bytes, offset, icmp, type, 0, flags, MESSAGE_BYTES - 8);
}

/** Options have lengths in units of 8 bytes, never 0, that end with the message (RFC 4861 §4.6). */
function optionsFit(bytes: Uint8Array, view: PacketView): boolean {
  const end = view.l4Offset + view.l4Length;
  let at = view.l4Offset + FIXED_BYTES;
  while (at < end) {
    if (at + OPTION_BYTES > end || bytes[at + 1] === 0) return false;
    at += bytes[at + 1] * 8;
  }
  return at === end;
}

/** ff02::1:ff00:0/104. */
function isSolicitedNode(bytes: Uint8Array, offset: number): boolean {
  if (bytes[offset] !== 0xff || bytes[offset + 1] !== 2) return false;
  for (let i = 2; i < 11; i++) if (bytes[offset + i] !== 0) return false;
  return bytes[offset + 11] === 1 && bytes[offset + 12] === 0xff;
}
