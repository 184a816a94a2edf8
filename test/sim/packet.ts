/**
 * IP packets of both families as objects, written and read byte by byte. On purpose it shares nothing with src/wire: it
 * is the slow, obvious twin that the datapath's rewrites are judged by. Reading throws on anything that is not exactly right.
 */
import { isIpv6 } from "./address.js";
import { encodeIpv4, fragmentIpv4, parseIpv4 } from "./ipv4.js";
import { encodeIpv6, fragmentIpv6, parseIpv6 } from "./ipv6.js";
import { checkBody } from "./transport.js";

export { asText, slowChecksum, text } from "./bytes.js";
export * from "./transport.js";

export interface Packet {
  /** The family of the addresses is the packet's. */
  readonly src: string;
  readonly dst: string;
  /** Hop limit in IPv6. */
  readonly ttl: number;
  readonly id: number;
  /** Of IPv6 always: no router cuts it. */
  readonly df: boolean;
  readonly mf: boolean;
  /** In bytes. */
  readonly fragmentOffset: number;
  /** What follows the IP header; in IPv6 what follows the fragment header, if there is one. */
  readonly protocol: number;
  /** Everything after the IP header. */
  readonly body: Uint8Array;
}

export function encodePacket(packet: Packet): Uint8Array {
  return isIpv6(packet.src) ? encodeIpv6(packet) : encodeIpv4(packet);
}

/** A packet as its transport sees it, behind all extension headers. @throws Error that says what is wrong with the bytes */
export function decodePacket(bytes: Uint8Array): Packet {
  const packet = parsePacket(bytes);
  if (!isFragment(packet)) checkBody(packet);
  return packet;
}

/** Checks the IP header only. @throws Error that says what is wrong with it */
export function parsePacket(bytes: Uint8Array): Packet {
  return bytes[0] >> 4 === 6 ? parseIpv6(bytes) : parseIpv4(bytes);
}

export function isFragment(packet: Packet): boolean {
  return packet.mf || packet.fragmentOffset > 0;
}

/** Splits a packet to a link's MTU, or a path's. */
export function fragment(packet: Packet, mtuBytes: number): Packet[] {
  return isIpv6(packet.src) ? fragmentIpv6(packet, mtuBytes) : fragmentIpv4(packet, mtuBytes);
}
