/**
 * Reads IPv6 packets the slow and obvious way and throws on anything wrong: every checksum is computed anew, word by
 * word, straight from the RFCs; a partial one must be exactly the pseudo-header's sum. Shares no code with src.
 */
import { Address6 } from "ip-address";
import { slowSum } from "../slow-packet.js";

export interface SlowPacket6 {
  readonly src: string;
  readonly dst: string;
  /** Of the upper layer, behind all extension headers. */
  readonly protocol: number;
  readonly hopLimit: number;
  readonly length: number;
  readonly fragment: { readonly offset: number; readonly more: boolean; readonly id: number } | undefined;
  readonly sport: number;
  readonly dport: number;
  readonly flags: number;
  readonly ack: number;
  readonly icmpType: number;
  readonly icmpCode: number;
  /** The second word of ICMPv6: identifier and sequence number, MTU, pointer, or flags. */
  readonly icmpRest: number;
  readonly payload: Uint8Array;
  /** The packet quoted by an ICMPv6 error. */
  readonly quoted: SlowPacket6 | undefined;
}

const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const EXTENSIONS = [0, 43, 44, 60];

function word(bytes: Uint8Array, at: number): number {
  return bytes[at] * 256 + bytes[at + 1];
}

function long(bytes: Uint8Array, at: number): number {
  return word(bytes, at) * 65536 + word(bytes, at + 2);
}

function address(bytes: Uint8Array, at: number): string {
  const groups = Array.from({ length: 8 }, (_, i) => word(bytes, at + 2 * i).toString(16));
  return new Address6(groups.join(":")).correctForm();
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(`bad packet: ${what}`);
}

/** The packet; `partialAt` is where the checksum of a NEEDS_CSUM packet begins to count, or -1. */
export function readPacket6(packet: Uint8Array, partialAt = -1): SlowPacket6 {
  must(packet.length >= 40 && packet[0] >> 4 === 6, "version");
  must(word(packet, 4) + 40 === packet.length, "payload length is not that of the frame");
  const { fields, l4 } = read(packet);
  if (fields.fragment === undefined) checkTransport(packet, l4, fields.protocol, partialAt);
  return fields;
}

function checkTransport(packet: Uint8Array, at: number, protocol: number, partialAt: number): void {
  if (protocol !== TCP && protocol !== UDP && protocol !== ICMPV6) return;
  const l4 = packet.slice(at);
  const length = [l4.length >>> 24, (l4.length >>> 16) & 255, (l4.length >>> 8) & 255, l4.length & 255];
  const pseudo = [...packet.slice(8, 40), ...length, 0, 0, 0, protocol];
  const field = protocol === TCP ? 16 : protocol === UDP ? 6 : 2;
  if (partialAt >= 0) {
    must(partialAt === at, "csum_start");
    must(
      word(l4, field) % 0xffff === slowSum(pseudo) % 0xffff,
      "partial checksum is not the pseudo-header's sum",
    );
    return;
  }
  must(protocol !== UDP || word(l4, field) !== 0, "UDP without checksum");
  must(slowSum([...pseudo, ...l4]) === 0xffff, "transport checksum");
}

function read(packet: Uint8Array): { readonly fields: SlowPacket6; readonly l4: number } {
  let protocol = packet[6];
  let at = 40;
  let fragment: SlowPacket6["fragment"];
  while (EXTENSIONS.includes(protocol) && (fragment?.offset ?? 0) === 0) {
    if (protocol === 44)
      fragment = {
        offset: word(packet, at + 2) & ~7,
        more: (packet[at + 3] & 1) === 1,
        id: long(packet, at + 4),
      };
    const size = protocol === 44 ? 8 : (packet[at + 1] + 1) * 8;
    protocol = packet[at];
    at += size;
  }
  const l4 = packet.slice(at);
  const isFirst = (fragment?.offset ?? 0) === 0;
  const hasPorts = isFirst && (protocol === TCP || protocol === UDP);
  const isIcmp = isFirst && protocol === ICMPV6;
  const isError = isIcmp && l4[0] < 128;
  const header = !isFirst ? 0 : protocol === TCP ? ((l4[12] ?? 80) >> 4) * 4 : 8;
  const fields = {
    src: address(packet, 8),
    dst: address(packet, 24),
    protocol,
    hopLimit: packet[7],
    length: word(packet, 4) + 40,
    fragment: fragment?.offset === 0 && !fragment.more ? undefined : fragment,
    sport: hasPorts ? word(l4, 0) : 0,
    dport: hasPorts ? word(l4, 2) : 0,
    flags: hasPorts && protocol === TCP ? l4[13] : 0,
    ack: hasPorts && protocol === TCP ? long(l4, 8) : 0,
    icmpType: isIcmp ? l4[0] : -1,
    icmpCode: isIcmp ? l4[1] : -1,
    icmpRest: isIcmp ? long(l4, 4) : 0,
    payload: l4.slice(header),
    quoted: isError ? readQuoted(l4.slice(8)) : undefined,
  };
  return { fields, l4: at };
}

function readQuoted(packet: Uint8Array): SlowPacket6 {
  const { fields, l4 } = read(packet);
  // Whole when all of it is there: then its own checksum must hold too.
  if (packet.length === fields.length && fields.fragment === undefined)
    checkTransport(packet, l4, fields.protocol, -1);
  return fields;
}
