/** IPv6 headers (RFC 8200) as objects, with fragment headers and options for the destination; see packet.ts. */
import { addressBytes, addressText } from "./address.js";
import { join, read16, read32, u16, u32 } from "./bytes.js";
import type { Packet } from "./packet.js";

const HEADER_BYTES = 40;
const FRAGMENT_BYTES = 8;
const FRAGMENT = 44;
const DESTINATION_OPTIONS = 60;
const MIN_MTU = 1280;

export function encodeIpv6(packet: Packet): Uint8Array {
  const { src, dst, ttl, id, mf, fragmentOffset, protocol, body } = packet;
  const isPiece = mf || fragmentOffset > 0;
  const rest = isPiece ? join([protocol, 0, ...u16(fragmentOffset | (mf ? 1 : 0)), ...u32(id)], body) : body;
  const next = isPiece ? FRAGMENT : protocol;
  const head = [0x60, 0, 0, 0, ...u16(rest.length), next, ttl];
  return join(head, addressBytes(src), addressBytes(dst), rest);
}

/** Of a packet that is whole the extension headers are taken off. @throws Error that says what is wrong with the headers */
export function parseIpv6(bytes: Uint8Array): Packet {
  if (bytes.length < HEADER_BYTES || bytes[0] >> 4 !== 6) throw new Error("not an IPv6 header");
  if (read16(bytes, 4) + HEADER_BYTES !== bytes.length)
    throw new Error(`payload length ${read16(bytes, 4)} of ${bytes.length} bytes`);
  const isPiece = bytes[6] === FRAGMENT;
  const head = isPiece ? HEADER_BYTES + FRAGMENT_BYTES : HEADER_BYTES;
  const packet = {
    src: addressText(bytes.slice(8, 24)),
    dst: addressText(bytes.slice(24, 40)),
    ttl: bytes[7],
    id: isPiece ? read32(bytes, 44) : 0,
    df: true,
    mf: isPiece && (bytes[43] & 1) === 1,
    fragmentOffset: isPiece ? read16(bytes, 42) & 0xfff8 : 0,
    protocol: isPiece ? bytes[HEADER_BYTES] : bytes[6],
    body: bytes.slice(head),
  };
  return packet.mf || packet.fragmentOffset > 0 ? packet : withoutOptions(packet);
}

/** The source cuts, nobody else (RFC 8200 §4.5). */
export function fragmentIpv6(packet: Packet, mtuBytes: number): Packet[] {
  if (HEADER_BYTES + packet.body.length <= mtuBytes) return [packet];
  if (mtuBytes < MIN_MTU) throw new Error(`an MTU of ${mtuBytes} for IPv6`);
  const step = Math.floor((mtuBytes - HEADER_BYTES - FRAGMENT_BYTES) / 8) * 8;
  const pieces: Packet[] = [];
  for (let at = 0; at < packet.body.length; at += step) {
    const mf = at + step < packet.body.length;
    pieces.push({ ...packet, fragmentOffset: at, mf, body: packet.body.slice(at, at + step) });
  }
  return pieces;
}

/** The packet with a header of `units` times eight bytes of padding for its destination. */
export function withOptions(packet: Packet, units: number): Packet {
  const padding = 8 * units - 4;
  const header = [packet.protocol, units - 1, 1, padding, ...new Array<number>(padding).fill(0)];
  return { ...packet, protocol: DESTINATION_OPTIONS, body: join(header, packet.body) };
}

export function withoutOptions(packet: Packet): Packet {
  if (packet.protocol !== DESTINATION_OPTIONS) return packet;
  const [next, units] = packet.body;
  return withoutOptions({ ...packet, protocol: next, body: packet.body.slice(8 * (units + 1)) });
}
