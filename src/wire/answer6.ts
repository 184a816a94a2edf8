/** Packets that a node sends in answer to an IPv6 packet: echo replies, ICMPv6 errors, TCP resets. */
import { resetAck, resetFlags, resetSeq } from "./answer.js";
import { copyBytes, setU16 } from "./bytes.js";
import { foldSum, patchChecksum16, sumWords } from "./checksum.js";
import { ICMP_CHECKSUM, ICMP_EMBEDDED, ICMP_HEADER_BYTES, ICMP_TYPE } from "./icmpv4.js";
import { Icmpv6Type, isIcmpv6Error, writeIcmpv6 } from "./icmpv6.js";
import { IpProtocol } from "./ipv4.js";
import * as ip from "./ipv6.js";
import { IPV6_ADDRESS_BYTES, isMulticastIpv6, isUnicastHostIpv6 } from "./ipv6-address.js";
import type { PacketView } from "./packet.js";
import { TCP_CHECKSUM, TCP_HEADER_BYTES, writeTcpHeader } from "./tcp.js";

/** The longest ICMPv6 error fits every link (RFC 4443 §2.4 c). */
export const MAX_ICMPV6_ERROR_BYTES = ip.IPV6_MIN_MTU;
/** Length of a reset. */
export const TCP_RESET6_BYTES = ip.IPV6_HEADER_BYTES + TCP_HEADER_BYTES;

const ERROR_HEADERS = ip.IPV6_HEADER_BYTES + ICMP_EMBEDDED;

/**
 * Turns an echo request into its reply in place: addresses swapped, type changed, hop limit set. The checksum changes by
 * the type alone, for swapped addresses have the same sum. Payload and extension headers stay. The view is stale then.
 */
export function turnIntoEchoReply6(bytes: Uint8Array, view: PacketView, hopLimit: number): void {
  const { l3Offset, l4Offset, icmpCode } = view;
  for (let i = 0; i < IPV6_ADDRESS_BYTES; i++) {
    const byte = bytes[l3Offset + ip.IPV6_SRC + i];
    bytes[l3Offset + ip.IPV6_SRC + i] = bytes[l3Offset + ip.IPV6_DST + i];
    bytes[l3Offset + ip.IPV6_DST + i] = byte;
  }
  ip.setIpv6HopLimit(bytes, l3Offset, hopLimit);
  bytes[l4Offset + ICMP_TYPE] = Icmpv6Type.echoReply;
  const [from, to] = [Icmpv6Type.echoRequest * 256 + icmpCode, Icmpv6Type.echoReply * 256 + icmpCode];
  patchChecksum16(bytes, l4Offset + ICMP_CHECKSUM, from, to);
}

/**
 * Whether a packet may be answered with an ICMPv6 error (RFC 4443 §2.4 e): never an ICMPv6 error or redirect, a non-first
 * fragment, or one whose source is not a single host; one to multicast only with packet-too-big.
 */
export function mayAnswerWithError6(bytes: Uint8Array, view: PacketView, type: number): boolean {
  const { l3Offset, protocol, icmpType } = view;
  if (view.fragmentOffset !== 0 || !isUnicastHostIpv6(bytes, l3Offset + ip.IPV6_SRC)) return false;
  if (isMulticastIpv6(bytes, l3Offset + ip.IPV6_DST) && type !== Icmpv6Type.packetTooBig) return false;
  return protocol !== IpProtocol.icmpv6 || !(isIcmpv6Error(icmpType) || icmpType === Icmpv6Type.redirect);
}

/**
 * Writes an ICMPv6 error about the packet of `view` (in `bytes`) to its sender, at `outOffset` in `out`, from the address
 * at `srcOffset` in `src`. It quotes as much as fits {@link MAX_ICMPV6_ERROR_BYTES}; the ranges must not overlap. `rest`
 * is the MTU of packet-too-big or the pointer of parameter-problem. Returns the packet's length.
 */
export function writeIcmpv6Error(
  out: Uint8Array,
  outOffset: number,
  bytes: Uint8Array,
  view: PacketView,
  type: number,
  code: number,
  rest: number,
  src: Uint8Array,
  srcOffset: number,
  hopLimit: number,
): number {
  const { l3Offset } = view;
  const there = view.headerLength + view.l4Length;
  const quoted = Math.min(there, MAX_ICMPV6_ERROR_BYTES - ERROR_HEADERS);
  const payloadLength = ICMP_HEADER_BYTES + quoted;
  const to = l3Offset + ip.IPV6_SRC;
  copyBytes(out, outOffset + ERROR_HEADERS, bytes, l3Offset, quoted);
  ip.writeIpv6(out, outOffset, payloadLength, IpProtocol.icmpv6, src, srcOffset, bytes, to, hopLimit);
  writeIcmpv6(out, outOffset, outOffset + ip.IPV6_HEADER_BYTES, type, code, rest, quoted);
  return ERROR_HEADERS + quoted;
}

/** `writeTcpReset` for IPv6: the reset that refuses the TCP segment of `view` in `bytes`. Returns its length. */
export function writeTcpReset6(
  out: Uint8Array,
  outOffset: number,
  bytes: Uint8Array,
  view: PacketView,
  hopLimit: number,
): number {
  const { l3Offset } = view;
  const at = outOffset + ip.IPV6_HEADER_BYTES;
  const [from, to] = [l3Offset + ip.IPV6_DST, l3Offset + ip.IPV6_SRC];
  ip.writeIpv6(out, outOffset, TCP_HEADER_BYTES, IpProtocol.tcp, bytes, from, bytes, to, hopLimit);
  writeTcpHeader(out, at, view.dport, view.sport, resetSeq(view), resetAck(view), resetFlags(view), 0, 0);
  writeChecksum6(out, outOffset, IpProtocol.tcp, at, at + TCP_CHECKSUM, TCP_HEADER_BYTES);
  return TCP_RESET6_BYTES;
}

/** Computes the checksum of TCP or UDP, in `field`, over the `length` bytes at `offset` behind the IPv6 header at `header`. */
export function writeChecksum6(
  bytes: Uint8Array,
  header: number,
  protocol: number,
  offset: number,
  field: number,
  length: number,
): void {
  setU16(bytes, field, 0);
  const sum = sumWords(bytes, offset, length, ip.ipv6PseudoHeaderSum(bytes, header, protocol, length));
  // UDP's 0 would mean none; for TCP the two forms of zero are equally right.
  setU16(bytes, field, foldSum(sum) ^ 0xffff || 0xffff);
}
