/** UDP, TCP and ICMP of both families as objects; see packet.ts. */
import { addressBytes, addressText, isIpv6 } from "./address.js";
import { join, read16, read32, slowChecksum, u16, u32, withChecksum } from "./bytes.js";
import type { Packet } from "./packet.js";

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const ICMPV6 = 58;

export interface UdpDatagram {
  readonly sport: number;
  readonly dport: number;
  readonly payload: Uint8Array;
}

export interface TcpSegment extends UdpDatagram {
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
}

export interface IcmpMessage {
  readonly type: number;
  readonly code: number;
  /** The four bytes after the checksum. */
  readonly rest: number;
  readonly payload: Uint8Array;
}

export const Flag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const;

/** RFC 9293 §3.1, RFC 8200 §8.1. */
function pseudoHeader(src: string, dst: string, protocol: number, length: number): number[] {
  const ends = [...addressBytes(src), ...addressBytes(dst)];
  if (isIpv6(src)) return [...ends, ...u32(length), 0, 0, 0, protocol];
  return [...ends, 0, protocol, ...u16(length)];
}

/** Sum of the pseudo-header, as it is in the checksum field while the checksum is partial. */
export function pseudoSum({ src, dst, protocol, body }: Packet): number {
  return 0xffff - slowChecksum(Uint8Array.from(pseudoHeader(src, dst, protocol, body.length)));
}

/** @throws Error when the transport's length or checksum is wrong */
export function checkBody(packet: Packet): void {
  const { src, body, protocol } = packet;
  const pseudo = pseudoHeader(src, packet.dst, protocol, body.length);
  const holds = () => slowChecksum(join(pseudo, body)) === 0;
  if (protocol === ICMP && slowChecksum(body) !== 0) throw new Error("wrong ICMP checksum");
  if (protocol === ICMPV6 && !holds()) throw new Error("wrong ICMPv6 checksum");
  if (protocol === TCP && !holds()) throw new Error("wrong TCP checksum");
  if (protocol !== UDP) return;
  if (read16(body, 4) !== body.length) throw new Error("wrong UDP length");
  // Zero means that the sender computed none: fine in IPv4 (RFC 768), not in IPv6 (RFC 8200 §8.1).
  if (read16(body, 6) === 0 && !isIpv6(src)) return;
  if (read16(body, 6) === 0 || !holds()) throw new Error("wrong UDP checksum");
}

/** Without a checksum when `plain` is set. */
export function encodeUdp(src: string, dst: string, datagram: UdpDatagram, plain = false): Uint8Array {
  const length = 8 + datagram.payload.length;
  const header = [...u16(datagram.sport), ...u16(datagram.dport), ...u16(length), 0, 0];
  const bytes = join(header, datagram.payload);
  if (plain) return bytes;
  const body = withChecksum(bytes, 6, pseudoHeader(src, dst, UDP, length));
  if (read16(body, 6) === 0) body.set([0xff, 0xff], 6);
  return body;
}

export function decodeUdp(body: Uint8Array): UdpDatagram {
  return { sport: read16(body, 0), dport: read16(body, 2), payload: body.slice(8) };
}

export function encodeTcp(src: string, dst: string, segment: TcpSegment): Uint8Array {
  const { sport, dport, seq, ack, flags, payload } = segment;
  const ports = [...u16(sport), ...u16(dport), ...u32(seq >>> 0), ...u32(ack >>> 0)];
  const bytes = join(ports, [0x50, flags, 0xff, 0xff, 0, 0, 0, 0], payload);
  return withChecksum(bytes, 16, pseudoHeader(src, dst, TCP, bytes.length));
}

export function decodeTcp(body: Uint8Array): TcpSegment {
  const header = (body[12] >>> 4) * 4;
  return {
    sport: read16(body, 0),
    dport: read16(body, 2),
    seq: read32(body, 4),
    ack: read32(body, 8),
    flags: body[13],
    payload: body.slice(header),
  };
}

export function encodeIcmp(message: IcmpMessage): Uint8Array {
  return withChecksum(icmpBytes(message), 2);
}

/** Its checksum covers the addresses (RFC 4443 §2.3). */
export function encodeIcmp6(src: string, dst: string, message: IcmpMessage): Uint8Array {
  const bytes = icmpBytes(message);
  return withChecksum(bytes, 2, pseudoHeader(src, dst, ICMPV6, bytes.length));
}

function icmpBytes({ type, code, rest, payload }: IcmpMessage): Uint8Array {
  return join([type, code, 0, 0, ...u32(rest)], payload);
}

export function decodeIcmp(body: Uint8Array): IcmpMessage {
  return { type: body[0], code: body[1], rest: read32(body, 4), payload: body.slice(8) };
}

/** Whether it is an ICMP error, which quotes a packet. */
export function isIcmpError({ protocol, body }: Packet): boolean {
  if (protocol === ICMPV6) return body[0] < 128;
  return protocol === ICMP && [3, 11, 12].includes(body[0]);
}

/** What an ICMP error quotes: addresses and, for TCP and UDP, ports; for echo, type and identifier. */
export interface Quoted {
  readonly src: string;
  readonly dst: string;
  readonly protocol: number;
  readonly sport: number;
  readonly dport: number;
}

/** @throws Error when the quoted header's checksum is wrong */
export function decodeQuoted(payload: Uint8Array): Quoted {
  const isV6 = payload[0] >> 4 === 6;
  if (!isV6 && slowChecksum(payload.slice(0, 20)) !== 0)
    throw new Error("wrong checksum in the quoted IPv4 header");
  const [protocol, at] = isV6 ? upperLayer(payload) : [payload[9], 20];
  const size = isV6 ? 16 : 4;
  const from = isV6 ? 8 : 12;
  const word = (offset: number) => (at < payload.length ? read16(payload, at + offset) : 0);
  const [sport, dport] =
    protocol === ICMP || protocol === ICMPV6 ? [word(4), payload[at] ?? 0] : [word(0), word(2)];
  return {
    src: addressText(payload.slice(from, from + size)),
    dst: addressText(payload.slice(from + size, from + 2 * size)),
    protocol,
    sport,
    dport,
  };
}

/** Protocol and place behind a fragment header and options for the destination. Later fragments have no upper layer. */
function upperLayer(packet: Uint8Array): [protocol: number, at: number] {
  let [next, at] = [packet[6], 40];
  while (next === 44 || next === 60) {
    if (next === 44 && read16(packet, at + 2) >> 3 !== 0) return [packet[at], packet.length];
    const size = next === 44 ? 8 : 8 * (packet[at + 1] + 1);
    [next, at] = [packet[at], at + size];
  }
  return [next, at];
}
