/**
 * IPv4 packets as objects, written and read byte by byte. On purpose it shares nothing with src/wire: it is the slow,
 * obvious twin that the datapath's rewrites are judged by. Reading throws on anything that is not exactly right.
 */

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;

export interface Packet {
  readonly src: string;
  readonly dst: string;
  readonly ttl: number;
  readonly id: number;
  readonly df: boolean;
  readonly mf: boolean;
  /** In bytes. */
  readonly fragmentOffset: number;
  readonly protocol: number;
  /** Everything after the IP header. */
  readonly body: Uint8Array;
}

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

/** RFC 1071, one byte pair after the other; no shortcuts. */
export function slowChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i] * 256 + (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

const addressesSeen = new Map<string, readonly number[]>();

export function addressBytes(address: string): readonly number[] {
  let bytes = addressesSeen.get(address);
  if (bytes === undefined) {
    bytes = address.split(".").map(Number);
    addressesSeen.set(address, bytes);
  }
  return bytes;
}

/** Pieces one after the other; spreading thousands of payload bytes into an array takes most of a run. */
function join(...pieces: readonly ArrayLike<number>[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function u16(value: number): number[] {
  return [(value >>> 8) & 255, value & 255];
}

function u32(value: number): number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)];
}

function read16(bytes: Uint8Array, at: number): number {
  return bytes[at] * 256 + bytes[at + 1];
}

function read32(bytes: Uint8Array, at: number): number {
  return read16(bytes, at) * 65536 + read16(bytes, at + 2);
}

/** Puts the checksum over `prefix` and the bytes into them. */
function withChecksum(bytes: Uint8Array, at: number, prefix: number[] = []): Uint8Array {
  bytes.set(u16(slowChecksum(join(prefix, bytes))), at);
  return bytes;
}

function pseudoHeader(src: string, dst: string, protocol: number, length: number): number[] {
  return [...addressBytes(src), ...addressBytes(dst), 0, protocol, ...u16(length)];
}

export function encodePacket(packet: Packet): Uint8Array {
  const flags = (packet.df ? 0x4000 : 0) | (packet.mf ? 0x2000 : 0) | (packet.fragmentOffset / 8);
  const header = withChecksum(
    Uint8Array.from([
      ...[0x45, 0, ...u16(20 + packet.body.length)],
      ...[...u16(packet.id), ...u16(flags)],
      ...[packet.ttl, packet.protocol, 0, 0],
      ...addressBytes(packet.src),
      ...addressBytes(packet.dst),
    ]),
    10,
  );
  return join(header, packet.body);
}

/** @throws Error that says what is wrong with the bytes */
export function decodePacket(bytes: Uint8Array): Packet {
  const packet = parsePacket(bytes);
  if (!isFragment(packet)) checkBody(packet);
  return packet;
}

/** Checks the IP header only. @throws Error that says what is wrong with it */
export function parsePacket(bytes: Uint8Array): Packet {
  if (bytes.length < 20 || bytes[0] !== 0x45)
    throw new Error(`not an IPv4 header without options: ${bytes[0]}`);
  if (read16(bytes, 2) !== bytes.length)
    throw new Error(`total length ${read16(bytes, 2)} of ${bytes.length} bytes`);
  if (slowChecksum(bytes.slice(0, 20)) !== 0) throw new Error("wrong IPv4 header checksum");
  return {
    src: bytes.slice(12, 16).join("."),
    dst: bytes.slice(16, 20).join("."),
    ttl: bytes[8],
    id: read16(bytes, 4),
    df: (bytes[6] & 0x40) !== 0,
    mf: (bytes[6] & 0x20) !== 0,
    fragmentOffset: (read16(bytes, 6) & 0x1fff) * 8,
    protocol: bytes[9],
    body: bytes.slice(20),
  };
}

/** Sum of the pseudo-header, as it is in the checksum field while the checksum is partial. */
export function pseudoSum({ src, dst, protocol, body }: Packet): number {
  return 0xffff - slowChecksum(Uint8Array.from(pseudoHeader(src, dst, protocol, body.length)));
}

export function isFragment(packet: Packet): boolean {
  return packet.mf || packet.fragmentOffset > 0;
}

/** @throws Error when the transport's length or checksum is wrong */
export function checkBody(packet: Packet): void {
  const { body, protocol } = packet;
  const pseudo = pseudoHeader(packet.src, packet.dst, protocol, body.length);
  if (protocol === ICMP && slowChecksum(body) !== 0) throw new Error("wrong ICMP checksum");
  if (protocol === TCP && slowChecksum(join(pseudo, body)) !== 0) throw new Error("wrong TCP checksum");
  if (protocol !== UDP) return;
  if (read16(body, 4) !== body.length) throw new Error("wrong UDP length");
  // RFC 768: zero means that the sender computed none.
  if (read16(body, 6) === 0) return;
  if (slowChecksum(join(pseudo, body)) !== 0) throw new Error("wrong UDP checksum");
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
  return withChecksum(join([message.type, message.code, 0, 0, ...u32(message.rest)], message.payload), 2);
}

export function decodeIcmp(body: Uint8Array): IcmpMessage {
  return { type: body[0], code: body[1], rest: read32(body, 4), payload: body.slice(8) };
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
  if (slowChecksum(payload.slice(0, 20)) !== 0) throw new Error("wrong checksum in the quoted IPv4 header");
  const protocol = payload[9];
  const [sport, dport] =
    protocol === ICMP ? [read16(payload, 24), payload[20]] : [read16(payload, 20), read16(payload, 22)];
  return {
    src: payload.slice(12, 16).join("."),
    dst: payload.slice(16, 20).join("."),
    protocol,
    sport,
    dport,
  };
}

/** Splits a packet to a link's MTU (RFC 791 §3.2). */
export function fragment(packet: Packet, mtuBytes: number): Packet[] {
  if (20 + packet.body.length <= mtuBytes) return [packet];
  const step = Math.floor((mtuBytes - 20) / 8) * 8;
  const pieces: Packet[] = [];
  for (let at = 0; at < packet.body.length; at += step) {
    const last = at + step >= packet.body.length;
    const fragmentOffset = packet.fragmentOffset + at;
    pieces.push({
      ...packet,
      fragmentOffset,
      mf: packet.mf || !last,
      body: packet.body.slice(at, at + step),
    });
  }
  return pieces;
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

export function asText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
