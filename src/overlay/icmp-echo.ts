/** The few ICMPv4 messages that path probing sends and understands (RFC 792, RFC 1191 §4). */
import {
  formatIpv4,
  ICMP_CODE,
  ICMP_EMBEDDED,
  ICMP_HEADER_BYTES,
  ICMP_ID,
  ICMP_SEQ,
  ICMP_TYPE,
  IcmpType,
  IPV4_HEADER_BYTES,
  IpProtocol,
  icmpName,
  icmpNextHopMtu,
  ipv4Dst,
  ipv4HeaderLength,
  ipv4Protocol,
  ipv4Src,
  ipv4Version,
  UnreachableCode,
  writeIcmp,
} from "../wire/index.js";

const TOKEN_BYTES = 8;

/** Types that the prober listens to. */
export const WANTED_TYPES = [
  IcmpType.echoReply,
  IcmpType.destinationUnreachable,
  IcmpType.timeExceeded,
] as const;

/** Marks our requests: the identifier is 16 bits that others may share, the token of 8 bytes is not. */
export interface EchoIdentity {
  readonly id: number;
  readonly token: Uint8Array;
}

/** An answer to the request with this sequence number. */
export type EchoAnswer = { readonly sequence: number; readonly peer: number } & (
  | { readonly type: "reply" }
  | { readonly type: "too-big"; readonly mtuBytes?: number }
  | { readonly type: "unreachable"; readonly reason: string }
);

/** Builds an echo request, checksum included, that makes an IPv4 packet of this size (at least 36 bytes). */
export function buildEchoRequest({ id, token }: EchoIdentity, sequence: number, sizeBytes: number): Buffer {
  const payloadBytes = Math.max(sizeBytes - IPV4_HEADER_BYTES - ICMP_HEADER_BYTES, TOKEN_BYTES);
  const message = Buffer.alloc(ICMP_HEADER_BYTES + payloadBytes);
  message.set(token, ICMP_HEADER_BYTES);
  writeIcmp(message, 0, IcmpType.echoRequest, 0, id, sequence, payloadBytes);
  return message;
}

/** Reads a received IPv4 packet, of any content; undefined unless it answers one of our requests. */
export function parseAnswer(packet: Buffer, { id, token }: EchoIdentity): EchoAnswer | undefined {
  const at = icmpOffset(packet, 0);
  if (at === undefined) return undefined;
  const type = packet.readUInt8(at + ICMP_TYPE);
  if (type === IcmpType.echoReply) {
    const echoed = packet.subarray(at + ICMP_HEADER_BYTES, at + ICMP_HEADER_BYTES + TOKEN_BYTES);
    if (packet.readUInt16BE(at + ICMP_ID) !== id || !echoed.equals(token)) return undefined;
    return { type: "reply", sequence: packet.readUInt16BE(at + ICMP_SEQ), peer: ipv4Src(packet, 0) };
  }
  if (type !== IcmpType.destinationUnreachable && type !== IcmpType.timeExceeded) return undefined;
  return parseError(packet, at, id);
}

/** An ICMP error quotes the header of the packet that caused it and 8 bytes more: our echo header (RFC 792). */
function parseError(packet: Buffer, at: number, id: number): EchoAnswer | undefined {
  const quoted = at + ICMP_EMBEDDED;
  const echo = icmpOffset(packet, quoted);
  if (echo === undefined || packet.readUInt8(echo + ICMP_TYPE) !== IcmpType.echoRequest) return undefined;
  if (packet.readUInt16BE(echo + ICMP_ID) !== id) return undefined;
  const answered = { sequence: packet.readUInt16BE(echo + ICMP_SEQ), peer: ipv4Dst(packet, quoted) };
  const type = packet.readUInt8(at + ICMP_TYPE);
  const code = packet.readUInt8(at + ICMP_CODE);
  if (type === IcmpType.destinationUnreachable && code === UnreachableCode.fragmentationNeeded) {
    const mtuBytes = icmpNextHopMtu(packet, at);
    return mtuBytes === 0 ? { ...answered, type: "too-big" } : { ...answered, type: "too-big", mtuBytes };
  }
  const reason = `${icmpName(type, code)}, says ${formatIpv4(ipv4Src(packet, 0))}`;
  return { ...answered, type: "unreachable", reason };
}

/** Where the ICMP header starts in the IPv4 packet at this offset; undefined when it is not whole or not ICMP. */
function icmpOffset(packet: Buffer, offset: number): number | undefined {
  if (packet.length < offset + IPV4_HEADER_BYTES || ipv4Version(packet, offset) !== 4) return undefined;
  const headerBytes = ipv4HeaderLength(packet, offset);
  if (headerBytes < IPV4_HEADER_BYTES || ipv4Protocol(packet, offset) !== IpProtocol.icmp) return undefined;
  return packet.length < offset + headerBytes + ICMP_HEADER_BYTES ? undefined : offset + headerBytes;
}
