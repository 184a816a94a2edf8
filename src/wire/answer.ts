/** Packets that a node sends in answer to one it was given: echo replies, ICMP errors, TCP resets. */
import { IPV4_BROADCAST, isLoopbackIpv4, isMulticastIpv4, isUnicastHostIpv4 } from "./address.js";
import { copyBytes, getU16, setU16, setU32 } from "./bytes.js";
import { checksum, patchChecksum16 } from "./checksum.js";
import { ICMP_CHECKSUM, ICMP_EMBEDDED, ICMP_TYPE, IcmpType, isIcmpError, writeIcmp } from "./icmpv4.js";
import * as ip from "./ipv4.js";
import type { PacketView } from "./packet.js";
import { TCP_HEADER_BYTES, TcpFlag, writeTcp } from "./tcp.js";

/** The longest ICMP error (RFC 1812 §4.3.2.3): its own headers and up to 548 bytes of the packet it is about. */
export const MAX_ICMP_ERROR_BYTES = 576;
/** Length of a reset. */
export const TCP_RESET_BYTES = ip.IPV4_HEADER_BYTES + TCP_HEADER_BYTES;

const ERROR_HEADERS = ip.IPV4_HEADER_BYTES + ICMP_EMBEDDED;
/** Precedence 6, internetwork control (RFC 1812 §4.3.2.5), with the type of service of the packet it is about. */
const INTERNETWORK_CONTROL = 0xc0;
const TYPE_OF_SERVICE = 0x1e;

/**
 * Turns an echo request into its reply in place: addresses swapped, type changed, TTL set, checksums updated. Options
 * and payload stay (RFC 1122 §3.2.2.6). The view is stale afterwards.
 */
export function turnIntoEchoReply(bytes: Uint8Array, view: PacketView, ttl: number): void {
  const { l3Offset, l4Offset } = view;
  setU32(bytes, l3Offset + ip.IPV4_SRC, view.dst);
  setU32(bytes, l3Offset + ip.IPV4_DST, view.src);
  const ttlAndProtocol = view.protocol + view.ttl * 256;
  ip.setIpv4Ttl(bytes, l3Offset, ttl);
  patchChecksum16(bytes, l3Offset + ip.IPV4_CHECKSUM, ttlAndProtocol, view.protocol + ttl * 256);
  bytes[l4Offset + ICMP_TYPE] = IcmpType.echoReply;
  patchChecksum16(
    bytes,
    l4Offset + ICMP_CHECKSUM,
    IcmpType.echoRequest * 256 + view.icmpCode,
    IcmpType.echoReply * 256 + view.icmpCode,
  );
  // A reply of nothing but zeros has the other form of zero, which the update cannot tell (RFC 1624 §3).
  if (getU16(bytes, l4Offset + ICMP_CHECKSUM) === 0)
    setU16(bytes, l4Offset + ICMP_CHECKSUM, checksum(bytes, l4Offset, view.l4Length));
}

/**
 * Whether a packet may be answered with an ICMP error (RFC 1122 §3.2.2, RFC 1812 §4.3.2.7): never an ICMP error, a
 * non-first fragment, a packet to broadcast or multicast, or one whose source is not a single host; loopback is the node
 * itself (Linux icmp_send answers it). Link-layer and directed broadcasts are for the caller to find.
 */
export function mayAnswerWithError(view: PacketView): boolean {
  return (
    view.fragmentOffset === 0 &&
    !(view.protocol === ip.IpProtocol.icmp && isIcmpError(view.icmpType)) &&
    view.dst !== IPV4_BROADCAST &&
    !isMulticastIpv4(view.dst) &&
    (isUnicastHostIpv4(view.src) || isLoopbackIpv4(view.src))
  );
}

/**
 * Writes an ICMP error from `src` about the packet of `view` (in `bytes`) to its sender, at `outOffset` in `out`.
 * It quotes the IP header and as much as fits {@link MAX_ICMP_ERROR_BYTES}; the two ranges must not overlap.
 * `nextHopMtu` is 0 except in fragmentation-needed. Returns the packet's length.
 */
export function writeIcmpError(
  out: Uint8Array,
  outOffset: number,
  bytes: Uint8Array,
  view: PacketView,
  type: number,
  code: number,
  nextHopMtu: number,
  src: number,
  ttl: number,
  id: number,
): number {
  const quoted = Math.min(view.headerLength + view.l4Length, MAX_ICMP_ERROR_BYTES - ERROR_HEADERS);
  const length = ERROR_HEADERS + quoted;
  copyBytes(out, outOffset + ERROR_HEADERS, bytes, view.l3Offset, quoted);
  writeIcmp(out, outOffset + ip.IPV4_HEADER_BYTES, type, code, 0, nextHopMtu, quoted);
  const tos = INTERNETWORK_CONTROL | (view.tos & TYPE_OF_SERVICE);
  ip.writeIpv4(out, outOffset, length, ip.IpProtocol.icmp, src, view.src, ttl, id, tos);
  return length;
}

/**
 * Writes the reset that refuses the TCP segment of `view` (RFC 9293 §3.10.7.1), at `outOffset` in `out`. A segment
 * that is itself a reset must not be answered. Returns the packet's length, {@link TCP_RESET_BYTES}.
 */
export function writeTcpReset(
  out: Uint8Array,
  outOffset: number,
  view: PacketView,
  ttl: number,
  id: number,
): number {
  const at = outOffset + ip.IPV4_HEADER_BYTES;
  const { src, dst, sport, dport } = view;
  writeTcp(out, at, dst, src, dport, sport, resetSeq(view), resetAck(view), resetFlags(view), 0, 0, 0);
  ip.writeIpv4(out, outOffset, TCP_RESET_BYTES, ip.IpProtocol.tcp, view.dst, view.src, ttl, id);
  return TCP_RESET_BYTES;
}

/** The fields of the reset that refuses a segment: with the number it acknowledges, or acknowledging it. */
export function resetSeq(view: PacketView): number {
  return acknowledges(view) ? view.tcpAck : 0;
}

export function resetAck(view: PacketView): number {
  return acknowledges(view) ? 0 : view.tcpSeq + sequenceLength(view);
}

export function resetFlags(view: PacketView): number {
  return acknowledges(view) ? TcpFlag.rst : TcpFlag.rst | TcpFlag.ack;
}

function acknowledges(view: PacketView): boolean {
  return (view.tcpFlags & TcpFlag.ack) !== 0;
}

/** How much of the sequence space a segment takes: its payload, and one each for SYN and FIN (RFC 9293 §3.4). */
function sequenceLength(view: PacketView): number {
  const syn = (view.tcpFlags & TcpFlag.syn) !== 0 ? 1 : 0;
  const fin = (view.tcpFlags & TcpFlag.fin) !== 0 ? 1 : 0;
  return view.payloadLength + syn + fin;
}
