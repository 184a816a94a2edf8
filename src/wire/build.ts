/** Whole IPv4 packets from their fields: for tests, probes and made-up packets, not for the path of each packet. */
import { setU16 } from "./bytes.js";
import { ICMP_HEADER_BYTES, IcmpType, writeIcmp } from "./icmpv4.js";
import * as ip from "./ipv4.js";
import { SCTP_CHUNK_HEADER_BYTES, SCTP_HEADER_BYTES, writeSctp } from "./sctp.js";
import { TCP_HEADER_BYTES, writeTcp } from "./tcp.js";
import { UDP_HEADER_BYTES, writeUdp } from "./udp.js";

const DEFAULT_TTL = 64;
const DEFAULT_WINDOW = 64240;
const NOTHING = new Uint8Array(0);

/** What every packet has; left out: TTL 64, TOS 0, id 0, DF clear, no payload. */
export interface PacketFields {
  readonly src: number;
  readonly dst: number;
  readonly ttl?: number;
  readonly tos?: number;
  readonly id?: number;
  readonly dontFragment?: boolean;
  readonly payload?: Uint8Array;
}

export interface UdpFields extends PacketFields {
  readonly sport: number;
  readonly dport: number;
}

export interface TcpFields extends UdpFields {
  readonly flags: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly window?: number;
  /** A multiple of 4 bytes, up to 40. */
  readonly options?: Uint8Array;
}

/** A chunk without its padding; `value` is what follows its four bytes of header. */
export interface SctpChunkFields {
  readonly type: number;
  readonly flags?: number;
  readonly value?: Uint8Array;
}

export interface SctpFields extends UdpFields {
  /** Verification tag. */
  readonly tag: number;
  /** In front of the payload, if there is one. */
  readonly chunks: readonly SctpChunkFields[];
}

export interface EchoFields extends PacketFields {
  /** Echo request unless it is a reply. */
  readonly reply?: boolean;
  readonly icmpId: number;
  readonly icmpSeq: number;
}

/** Writes a UDP packet at `offset`; returns its length. */
export function buildUdp(bytes: Uint8Array, offset: number, fields: UdpFields): number {
  const payload = fields.payload ?? NOTHING;
  const at = offset + ip.IPV4_HEADER_BYTES;
  bytes.set(payload, at + UDP_HEADER_BYTES);
  writeUdp(bytes, at, fields.src, fields.dst, fields.sport, fields.dport, payload.length);
  return buildIpv4(bytes, offset, ip.IpProtocol.udp, UDP_HEADER_BYTES + payload.length, fields);
}

/** Writes a TCP packet at `offset`; returns its length. */
export function buildTcp(bytes: Uint8Array, offset: number, fields: TcpFields): number {
  const { src, dst, sport, dport, seq = 0, ack = 0, flags, window = DEFAULT_WINDOW } = fields;
  const options = fields.options ?? NOTHING;
  const payload = fields.payload ?? NOTHING;
  const at = offset + ip.IPV4_HEADER_BYTES;
  bytes.set(options, at + TCP_HEADER_BYTES);
  bytes.set(payload, at + TCP_HEADER_BYTES + options.length);
  writeTcp(bytes, at, src, dst, sport, dport, seq, ack, flags, window, options.length, payload.length);
  const length = TCP_HEADER_BYTES + options.length + payload.length;
  return buildIpv4(bytes, offset, ip.IpProtocol.tcp, length, fields);
}

/** Writes an SCTP packet at `offset`; returns its length. */
export function buildSctp(bytes: Uint8Array, offset: number, fields: SctpFields): number {
  const at = offset + ip.IPV4_HEADER_BYTES;
  let end = at + SCTP_HEADER_BYTES;
  for (const { type, flags = 0, value = NOTHING } of fields.chunks) {
    const length = SCTP_CHUNK_HEADER_BYTES + value.length;
    bytes.fill(0, end, end + length + 3);
    bytes[end] = type;
    bytes[end + 1] = flags;
    setU16(bytes, end + 2, length);
    bytes.set(value, end + SCTP_CHUNK_HEADER_BYTES);
    end += (length + 3) & ~3;
  }
  bytes.set(fields.payload ?? NOTHING, end);
  const chunks = end + (fields.payload?.length ?? 0) - at - SCTP_HEADER_BYTES;
  writeSctp(bytes, at, fields.sport, fields.dport, fields.tag, chunks);
  return buildIpv4(bytes, offset, ip.IpProtocol.sctp, SCTP_HEADER_BYTES + chunks, fields);
}

/** Writes an ICMP echo request or reply at `offset`; returns its length. */
export function buildEcho(bytes: Uint8Array, offset: number, fields: EchoFields): number {
  const payload = fields.payload ?? NOTHING;
  const at = offset + ip.IPV4_HEADER_BYTES;
  bytes.set(payload, at + ICMP_HEADER_BYTES);
  const type = fields.reply === true ? IcmpType.echoReply : IcmpType.echoRequest;
  writeIcmp(bytes, at, type, 0, fields.icmpId, fields.icmpSeq, payload.length);
  return buildIpv4(bytes, offset, ip.IpProtocol.icmp, ICMP_HEADER_BYTES + payload.length, fields);
}

/**
 * Writes `payload` as one fragment of a packet, its L4 header included when `fragmentOffset` is 0; returns its length.
 * `fragmentOffset` is in bytes, a multiple of 8.
 */
export function buildFragment(
  bytes: Uint8Array,
  offset: number,
  protocol: number,
  fragmentOffset: number,
  moreFragments: boolean,
  fields: PacketFields,
): number {
  const payload = fields.payload ?? NOTHING;
  bytes.set(payload, offset + ip.IPV4_HEADER_BYTES);
  const length = buildIpv4(bytes, offset, protocol, payload.length, fields);
  ip.setIpv4Fragment(bytes, offset, length, 0, moreFragments ? 1 : 0, fragmentOffset);
  ip.writeIpv4Checksum(bytes, offset, ip.IPV4_HEADER_BYTES);
  return length;
}

function buildIpv4(
  bytes: Uint8Array,
  offset: number,
  protocol: number,
  l4Length: number,
  fields: PacketFields,
): number {
  const { src, dst, ttl = DEFAULT_TTL, id = 0, tos = 0 } = fields;
  const length = ip.IPV4_HEADER_BYTES + l4Length;
  ip.writeIpv4(bytes, offset, length, protocol, src, dst, ttl, id, tos);
  if (fields.dontFragment === true) {
    ip.setIpv4Fragment(bytes, offset, length, 1, 0, 0);
    ip.writeIpv4Checksum(bytes, offset, ip.IPV4_HEADER_BYTES);
  }
  return length;
}
