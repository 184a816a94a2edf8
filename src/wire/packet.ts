/**
 * Parsing of whole packets: every length is checked once here, so that all getters can go unchecked. IPv4 headers are
 * read here, IPv6 headers in packet6.ts; what is behind them is the same for both.
 */
import { getU16 } from "./bytes.js";
import { checksum, foldSum, pseudoHeaderSum, sumWords } from "./checksum.js";
import {
  hasIcmpId,
  ICMP_CODE,
  ICMP_EMBEDDED,
  ICMP_HEADER_BYTES,
  ICMP_ID,
  ICMP_SEQ,
  ICMP_TYPE,
} from "./icmpv4.js";
import { hasIcmpv6Id } from "./icmpv6.js";
import * as ip from "./ipv4.js";
import { ipv6PseudoHeaderSum } from "./ipv6.js";
import { SCTP_DPORT, SCTP_HEADER_BYTES, SCTP_SPORT, sctpChecksumIsValid } from "./sctp.js";
import * as tcp from "./tcp.js";
import { UDP_CHECKSUM, UDP_DPORT, UDP_HEADER_BYTES, UDP_SPORT, udpLength } from "./udp.js";

/** Why bytes are not a packet. */
export const ParseError = {
  ok: 0,
  /** Fewer bytes than the header needs, or than the total length claims. */
  truncated: 1,
  badVersion: 2,
  badHeaderLength: 3,
  badTotalLength: 4,
  badHeaderChecksum: 5,
  badOptions: 6,
  /** A fragment that would end behind byte 65535. */
  badFragment: 7,
  /** Fewer bytes behind the IP header than the TCP, UDP, SCTP or ICMP header needs. */
  truncatedTransport: 8,
  badTcpHeaderLength: 9,
  badUdpLength: 10,
  /** UDP over IPv6 without a checksum. */
  missingChecksum: 11,
} as const;
export type ParseError = (typeof ParseError)[keyof typeof ParseError];

const ERROR_NAMES: readonly string[] = [
  "ok",
  "truncated",
  "bad-version",
  "bad-header-length",
  "bad-total-length",
  "bad-header-checksum",
  "bad-options",
  "bad-fragment",
  "truncated-transport",
  "bad-tcp-header-length",
  "bad-udp-length",
  "missing-checksum",
];

/** Of IPv4; IPv6's is 40 bytes longer, but none so long comes from a link. */
export const MAX_PACKET_BYTES = 65535;
/** What an ICMP error must quote behind the IP header at least (RFC 792). */
const QUOTED_BYTES = 8;

/** The name of a code for counters and traces, such as `bad-header-checksum`. */
export function parseErrorName(code: ParseError): string {
  return ERROR_NAMES[code];
}

/**
 * What a packet says, with offsets into the bytes it was parsed from. One object is refilled for each packet.
 * Fields of another protocol, and those of a non-first fragment's L4 header, are 0.
 */
export class PacketView {
  /** 4 or 6. The addresses of IPv6 stay in the bytes. */
  version = 4;
  /** Start of the IP header, and the IP total length. */
  l3Offset = 0;
  l3Length = 0;
  headerLength = 0;
  protocol = 0;
  src = 0;
  dst = 0;
  ttl = 0;
  tos = 0;
  id = 0;
  /** In bytes. */
  fragmentOffset = 0;
  /** 0 or 1. */
  moreFragments = 0;
  /** 0 or 1. */
  dontFragment = 0;
  /** What follows the IP header; of a quoted packet only the bytes that are there. */
  l4Offset = 0;
  l4Length = 0;
  /** Ports of TCP, UDP and SCTP. */
  sport = 0;
  dport = 0;
  tcpFlags = 0;
  tcpSeq = 0;
  tcpAck = 0;
  tcpWindow = 0;
  tcpHeaderLength = 0;
  icmpType = 0;
  icmpCode = 0;
  /** Identifier and sequence number of ICMP queries and their replies. */
  icmpId = 0;
  icmpSeq = 0;
  /** What follows the L4 header; the whole of L4 for unknown protocols and non-first fragments. */
  payloadOffset = 0;
  payloadLength = 0;
}

/** Whether the packet is one of several fragments, the first included. */
export function isFragment(view: PacketView): boolean {
  return view.fragmentOffset !== 0 || view.moreFragments !== 0;
}

/**
 * Parses the packet in `length` bytes at `offset` into `view`. Bytes behind the IP total length (Ethernet padding) are
 * left out. On an error the view is not to be used. Nothing behind `offset + length` is read.
 */
export function parseIpv4Packet(
  bytes: Uint8Array,
  offset: number,
  length: number,
  view: PacketView,
  verifyChecksum = true,
): ParseError {
  const error = parseHeader(bytes, offset, length, view);
  if (error !== ParseError.ok) return error;
  if (view.l3Length > length) return ParseError.truncated;
  if (verifyChecksum && checksum(bytes, offset, view.headerLength) !== 0) return ParseError.badHeaderChecksum;
  if (!ip.ipv4OptionsAreValid(bytes, offset, view.headerLength)) return ParseError.badOptions;
  if (view.fragmentOffset !== 0) return ParseError.ok;
  return view.protocol === ip.IpProtocol.icmp ? parseIcmp(bytes, view) : parseTransport(bytes, view);
}

/**
 * Parses the packet that an ICMP error quotes, in the `length` bytes at `offset` behind the ICMP header. It may be cut
 * off anywhere behind its IP header and 8 bytes (RFC 792); the view's `l4Length` and `payloadLength` count what is
 * there. Its header checksum is not verified, for it may have been quoted in the middle of a rewrite.
 */
export function parseEmbeddedIpv4(
  bytes: Uint8Array,
  offset: number,
  length: number,
  view: PacketView,
): ParseError {
  const error = parseHeader(bytes, offset, length, view);
  if (error !== ParseError.ok) return error;
  if (view.fragmentOffset !== 0) return ParseError.ok;
  if (view.l4Length < QUOTED_BYTES) return ParseError.truncatedTransport;
  if (view.protocol === ip.IpProtocol.icmp) parseIcmp(bytes, view);
  else parseQuotedTransport(bytes, view);
  return ParseError.ok;
}

/** {@link parseEmbeddedIpv4} of the packet quoted by the ICMP error in `error`. */
export function parseQuotedPacket(bytes: Uint8Array, error: PacketView, view: PacketView): ParseError {
  return parseEmbeddedIpv4(bytes, error.l4Offset + ICMP_EMBEDDED, error.l4Length - ICMP_EMBEDDED, view);
}

/**
 * Whether the checksum of an unfragmented TCP, UDP, SCTP or ICMP packet is right; true for a UDP datagram without one
 * and for other protocols. Not for packets with a partial checksum.
 */
export function transportChecksumIsValid(bytes: Uint8Array, view: PacketView): boolean {
  const { l4Offset, protocol } = view;
  if (protocol === ip.IpProtocol.icmp) return checksum(bytes, l4Offset, view.l4Length) === 0;
  if (protocol === ip.IpProtocol.sctp) return sctpChecksumIsValid(bytes, l4Offset, view.l4Length);
  const isUdp = protocol === ip.IpProtocol.udp;
  if (!isUdp && protocol !== ip.IpProtocol.tcp && protocol !== ip.IpProtocol.icmpv6) return true;
  if (isUdp && getU16(bytes, l4Offset + UDP_CHECKSUM) === 0) return true;
  const length = isUdp ? udpLength(bytes, l4Offset) : view.l4Length;
  const pseudo =
    view.version === 4
      ? pseudoHeaderSum(view.src, view.dst, protocol, length)
      : ipv6PseudoHeaderSum(bytes, view.l3Offset, protocol, length);
  return foldSum(sumWords(bytes, l4Offset, length, pseudo)) === 0xffff;
}

function parseHeader(bytes: Uint8Array, offset: number, length: number, view: PacketView): ParseError {
  if (length < ip.IPV4_HEADER_BYTES || offset < 0 || offset + length > bytes.length)
    return ParseError.truncated;
  if (ip.ipv4Version(bytes, offset) !== 4) return ParseError.badVersion;
  const headerLength = ip.ipv4HeaderLength(bytes, offset);
  if (headerLength < ip.IPV4_HEADER_BYTES) return ParseError.badHeaderLength;
  if (headerLength > length) return ParseError.truncated;
  const totalLength = ip.ipv4TotalLength(bytes, offset);
  if (totalLength < headerLength) return ParseError.badTotalLength;
  view.version = 4;
  view.l3Offset = offset;
  view.l3Length = totalLength;
  view.headerLength = headerLength;
  view.protocol = ip.ipv4Protocol(bytes, offset);
  view.src = ip.ipv4Src(bytes, offset);
  view.dst = ip.ipv4Dst(bytes, offset);
  view.ttl = ip.ipv4Ttl(bytes, offset);
  view.tos = ip.ipv4Tos(bytes, offset);
  view.id = ip.ipv4Id(bytes, offset);
  view.fragmentOffset = ip.ipv4FragmentOffset(bytes, offset);
  view.moreFragments = ip.ipv4MoreFragments(bytes, offset);
  view.dontFragment = ip.ipv4DontFragment(bytes, offset);
  clearTransport(view, offset + headerLength, Math.min(totalLength, length) - headerLength);
  // A fragment's data would not fit any packet when reassembled.
  return view.fragmentOffset + totalLength > MAX_PACKET_BYTES ? ParseError.badFragment : ParseError.ok;
}

/** Sets where L4 begins and how much of it is there, and clears all fields behind. */
export function clearTransport(view: PacketView, l4Offset: number, l4Length: number): void {
  view.l4Offset = l4Offset;
  view.l4Length = l4Length;
  view.sport = 0;
  view.dport = 0;
  view.tcpFlags = 0;
  view.tcpSeq = 0;
  view.tcpAck = 0;
  view.tcpWindow = 0;
  view.tcpHeaderLength = 0;
  view.icmpType = 0;
  view.icmpCode = 0;
  view.icmpId = 0;
  view.icmpSeq = 0;
  view.payloadOffset = l4Offset;
  view.payloadLength = l4Length;
}

/** Reads the header of TCP and UDP, in place behind an IP header of either version. */
export function parseTransport(bytes: Uint8Array, view: PacketView): ParseError {
  switch (view.protocol) {
    case ip.IpProtocol.tcp:
      return parseTcp(bytes, view);
    case ip.IpProtocol.udp:
      return parseUdp(bytes, view);
    case ip.IpProtocol.sctp:
      return parseSctp(bytes, view);
    default:
      return ParseError.ok;
  }
}

/** The same of a packet that an ICMP error quotes, of which at least 8 bytes behind the IP header are there. */
export function parseQuotedTransport(bytes: Uint8Array, view: PacketView): void {
  if (view.protocol === ip.IpProtocol.tcp) readQuotedTcp(bytes, view);
  if (view.protocol === ip.IpProtocol.udp) readUdp(bytes, view);
  if (view.protocol === ip.IpProtocol.sctp) readSctp(bytes, view);
}

function parseTcp(bytes: Uint8Array, view: PacketView): ParseError {
  // A first fragment must hold the whole header too, or its flags could be overwritten (RFC 1858 §3).
  if (view.l4Length < tcp.TCP_HEADER_BYTES) return ParseError.truncatedTransport;
  const headerLength = tcp.tcpHeaderLength(bytes, view.l4Offset);
  if (headerLength < tcp.TCP_HEADER_BYTES || headerLength > view.l4Length)
    return ParseError.badTcpHeaderLength;
  readTcp(bytes, view);
  return ParseError.ok;
}

function readTcp(bytes: Uint8Array, view: PacketView): void {
  const at = view.l4Offset;
  view.sport = getU16(bytes, at + tcp.TCP_SPORT);
  view.dport = getU16(bytes, at + tcp.TCP_DPORT);
  view.tcpSeq = tcp.tcpSeq(bytes, at);
  view.tcpAck = tcp.tcpAck(bytes, at);
  view.tcpFlags = tcp.tcpFlags(bytes, at);
  view.tcpWindow = tcp.tcpWindow(bytes, at);
  setTcpHeaderLength(view, tcp.tcpHeaderLength(bytes, at));
}

function setTcpHeaderLength(view: PacketView, headerLength: number): void {
  view.tcpHeaderLength = headerLength;
  view.payloadOffset = view.l4Offset + headerLength;
  view.payloadLength = view.l4Length - headerLength;
}

/** The first 8 bytes hold the ports and the sequence number; the rest is read only if the whole header is there. */
function readQuotedTcp(bytes: Uint8Array, view: PacketView): void {
  if (parseTcp(bytes, view) === ParseError.ok) return;
  view.sport = getU16(bytes, view.l4Offset + tcp.TCP_SPORT);
  view.dport = getU16(bytes, view.l4Offset + tcp.TCP_DPORT);
  view.tcpSeq = tcp.tcpSeq(bytes, view.l4Offset);
  view.payloadOffset = view.l4Offset + view.l4Length;
  view.payloadLength = 0;
}

function parseUdp(bytes: Uint8Array, view: PacketView): ParseError {
  if (view.l4Length < UDP_HEADER_BYTES) return ParseError.truncatedTransport;
  const length = udpLength(bytes, view.l4Offset);
  // The length in a first fragment is that of the whole datagram.
  if (length < UDP_HEADER_BYTES || (length > view.l4Length && view.moreFragments === 0)) {
    return ParseError.badUdpLength;
  }
  readUdp(bytes, view);
  return ParseError.ok;
}

function readUdp(bytes: Uint8Array, view: PacketView): void {
  view.sport = getU16(bytes, view.l4Offset + UDP_SPORT);
  view.dport = getU16(bytes, view.l4Offset + UDP_DPORT);
  const length = Math.min(udpLength(bytes, view.l4Offset), view.l4Length);
  view.payloadOffset = view.l4Offset + UDP_HEADER_BYTES;
  view.payloadLength = Math.max(length - UDP_HEADER_BYTES, 0);
}

function parseSctp(bytes: Uint8Array, view: PacketView): ParseError {
  if (view.l4Length < SCTP_HEADER_BYTES) return ParseError.truncatedTransport;
  readSctp(bytes, view);
  return ParseError.ok;
}

function readSctp(bytes: Uint8Array, view: PacketView): void {
  const header = Math.min(SCTP_HEADER_BYTES, view.l4Length);
  view.sport = getU16(bytes, view.l4Offset + SCTP_SPORT);
  view.dport = getU16(bytes, view.l4Offset + SCTP_DPORT);
  view.payloadOffset = view.l4Offset + header;
  view.payloadLength = view.l4Length - header;
}

/** Reads the header of ICMP or ICMPv6, which look alike. */
export function parseIcmp(bytes: Uint8Array, view: PacketView): ParseError {
  const at = view.l4Offset;
  if (view.l4Length < ICMP_HEADER_BYTES) return ParseError.truncatedTransport;
  view.icmpType = bytes[at + ICMP_TYPE];
  view.icmpCode = bytes[at + ICMP_CODE];
  if (view.version === 4 ? hasIcmpId(view.icmpType) : hasIcmpv6Id(view.icmpType)) {
    view.icmpId = getU16(bytes, at + ICMP_ID);
    view.icmpSeq = getU16(bytes, at + ICMP_SEQ);
  }
  view.payloadOffset = at + ICMP_HEADER_BYTES;
  view.payloadLength = view.l4Length - ICMP_HEADER_BYTES;
  return ParseError.ok;
}
