/** IPv4 headers (RFC 791) as objects; see packet.ts. */
import { addressBytes, addressText } from "./address.js";
import { join, read16, slowChecksum, u16, withChecksum } from "./bytes.js";
import type { Packet } from "./packet.js";

export function encodeIpv4(packet: Packet): Uint8Array {
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

/** @throws Error that says what is wrong with the header */
export function parseIpv4(bytes: Uint8Array): Packet {
  if (bytes.length < 20 || bytes[0] !== 0x45)
    throw new Error(`not an IPv4 header without options: ${bytes[0]}`);
  if (read16(bytes, 2) !== bytes.length)
    throw new Error(`total length ${read16(bytes, 2)} of ${bytes.length} bytes`);
  if (slowChecksum(bytes.slice(0, 20)) !== 0) throw new Error("wrong IPv4 header checksum");
  return {
    src: addressText(bytes.slice(12, 16)),
    dst: addressText(bytes.slice(16, 20)),
    ttl: bytes[8],
    id: read16(bytes, 4),
    df: (bytes[6] & 0x40) !== 0,
    mf: (bytes[6] & 0x20) !== 0,
    fragmentOffset: (read16(bytes, 6) & 0x1fff) * 8,
    protocol: bytes[9],
    body: bytes.slice(20),
  };
}

/** RFC 791 §3.2. */
export function fragmentIpv4(packet: Packet, mtuBytes: number): Packet[] {
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
