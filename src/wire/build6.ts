/** Whole IPv6 packets from their fields: for tests, probes and made-up packets, not for the path of each packet. */
import { writeChecksum6 } from "./answer6.js";
import { setU16 } from "./bytes.js";
import { ICMP_HEADER_BYTES } from "./icmpv4.js";
import { Icmpv6Type, writeIcmpv6 } from "./icmpv6.js";
import { IpProtocol } from "./ipv4.js";
import { IPV6_HEADER_BYTES, writeIpv6 } from "./ipv6.js";
import { IPV6_ADDRESS_BYTES, writeIpv6Address } from "./ipv6-address.js";
import { TCP_CHECKSUM, TCP_HEADER_BYTES, writeTcpHeader } from "./tcp.js";
import { UDP_CHECKSUM, UDP_DPORT, UDP_HEADER_BYTES, UDP_SPORT } from "./udp.js";

const DEFAULT_HOP_LIMIT = 64;
const DEFAULT_WINDOW = 64240;
const NOTHING = new Uint8Array(0);
const UDP_LENGTH = 4;

/** What every packet has; left out: hop limit 64, class and flow label 0, no extension headers, no payload. */
export interface PacketFields6 {
  readonly src: bigint;
  readonly dst: bigint;
  readonly hopLimit?: number;
  readonly trafficClass?: number;
  readonly flowLabel?: number;
  readonly payload?: Uint8Array;
  /** Extension headers, whole; the last names the upper layer. */
  readonly extensions?: { readonly nextHeader: number; readonly bytes: Uint8Array };
}

export interface UdpFields6 extends PacketFields6 {
  readonly sport: number;
  readonly dport: number;
}

export interface TcpFields6 extends UdpFields6 {
  readonly flags: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly window?: number;
  /** A multiple of 4 bytes, up to 40. */
  readonly options?: Uint8Array;
}

export interface EchoFields6 extends PacketFields6 {
  /** Echo request unless it is a reply. */
  readonly reply?: boolean;
  readonly icmpId: number;
  readonly icmpSeq: number;
}

/** Writes a UDP packet at `offset`; returns its length. */
export function buildUdp6(bytes: Uint8Array, offset: number, fields: UdpFields6): number {
  const payload = fields.payload ?? NOTHING;
  const length = UDP_HEADER_BYTES + payload.length;
  const at = writeHeaders(bytes, offset, IpProtocol.udp, length, fields);
  bytes.set(payload, at + UDP_HEADER_BYTES);
  setU16(bytes, at + UDP_SPORT, fields.sport);
  setU16(bytes, at + UDP_DPORT, fields.dport);
  setU16(bytes, at + UDP_LENGTH, length);
  writeChecksum6(bytes, offset, IpProtocol.udp, at, at + UDP_CHECKSUM, length);
  return at + length - offset;
}

/** Writes a TCP packet at `offset`; returns its length. */
export function buildTcp6(bytes: Uint8Array, offset: number, fields: TcpFields6): number {
  const { sport, dport, seq = 0, ack = 0, flags, window = DEFAULT_WINDOW } = fields;
  const { options = NOTHING, payload = NOTHING } = fields;
  const length = TCP_HEADER_BYTES + options.length + payload.length;
  const at = writeHeaders(bytes, offset, IpProtocol.tcp, length, fields);
  bytes.set(options, at + TCP_HEADER_BYTES);
  bytes.set(payload, at + TCP_HEADER_BYTES + options.length);
  writeTcpHeader(bytes, at, sport, dport, seq, ack, flags, window, options.length);
  writeChecksum6(bytes, offset, IpProtocol.tcp, at, at + TCP_CHECKSUM, length);
  return at + length - offset;
}

/** Writes an ICMPv6 echo request or reply at `offset`; returns its length. */
export function buildEcho6(bytes: Uint8Array, offset: number, fields: EchoFields6): number {
  const payload = fields.payload ?? NOTHING;
  const length = ICMP_HEADER_BYTES + payload.length;
  const at = writeHeaders(bytes, offset, IpProtocol.icmpv6, length, fields);
  bytes.set(payload, at + ICMP_HEADER_BYTES);
  const type = fields.reply === true ? Icmpv6Type.echoReply : Icmpv6Type.echoRequest;
  writeIcmpv6(bytes, offset, at, type, 0, ((fields.icmpId << 16) | fields.icmpSeq) >>> 0, payload.length);
  return at + length - offset;
}

/** Writes the IPv6 header and the extension headers; returns where the upper layer begins. */
function writeHeaders(
  bytes: Uint8Array,
  offset: number,
  protocol: number,
  l4Length: number,
  fields: PacketFields6,
): number {
  const { hopLimit = DEFAULT_HOP_LIMIT, trafficClass = 0, flowLabel = 0, extensions } = fields;
  const addresses = new Uint8Array(2 * IPV6_ADDRESS_BYTES);
  writeIpv6Address(addresses, 0, fields.src);
  writeIpv6Address(addresses, IPV6_ADDRESS_BYTES, fields.dst);
  const chain = extensions?.bytes ?? NOTHING;
  const next = extensions?.nextHeader ?? protocol;
  const length = chain.length + l4Length;
  const dst = IPV6_ADDRESS_BYTES;
  writeIpv6(bytes, offset, length, next, addresses, 0, addresses, dst, hopLimit, trafficClass, flowLabel);
  bytes.set(chain, offset + IPV6_HEADER_BYTES);
  return offset + IPV6_HEADER_BYTES + chain.length;
}
