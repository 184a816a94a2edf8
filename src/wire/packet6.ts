/** Parsing of whole IPv6 packets: every length is checked once here, through all extension headers. */
import { ICMP_EMBEDDED, ICMP_HEADER_BYTES } from "./icmpv4.js";
import { IpProtocol } from "./ipv4.js";
import * as ip from "./ipv6.js";
import {
  clearTransport,
  MAX_PACKET_BYTES,
  type PacketView,
  ParseError,
  parseIcmp,
  parseQuotedTransport,
  parseTransport,
} from "./packet.js";

/** More than any sender has a use for; each may be large, so a chain is costly to read. */
const MAX_EXTENSION_HEADERS = 8;
/** Least length of an extension header, and the unit of their lengths. */
const EXTENSION_UNIT = 8;
const NEXT_HEADER_OFFSET = 6;

/**
 * Parses the packet in `length` bytes at `offset` into `view`, as `parseIpv4Packet` does for IPv4. Addresses stay in the
 * bytes: `src` and `dst` are 0. `ttl` is the hop limit, `tos` the traffic class, `headerLength` counts the extension
 * headers, `id` is a fragment's identification, and `dontFragment` is 1, for routers never fragment.
 *
 * Refused besides what is malformed: jumbograms; chains of more than eight extension headers; routing headers that are
 * not used up, by which a packet would be steered past the checks on its destination (RFC 5095, RFC 9099 §2.1); first
 * fragments without the whole chain and transport header (RFC 7112); UDP without checksum (RFC 8200 §8.1).
 */
export function parseIpv6Packet(
  bytes: Uint8Array,
  offset: number,
  length: number,
  view: PacketView,
): ParseError {
  const error = parseChain(bytes, offset, length, view);
  if (error !== ParseError.ok) return error;
  if (view.l3Length > length) return ParseError.truncated;
  if (view.fragmentOffset !== 0 || view.protocol === ip.Ipv6Next.none) return ParseError.ok;
  if (view.protocol === IpProtocol.icmp) return ParseError.ok;
  if (view.protocol === IpProtocol.icmpv6) return parseIcmp(bytes, view);
  const parsed = parseTransport(bytes, view);
  if (parsed !== ParseError.ok || view.protocol !== IpProtocol.udp) return parsed;
  const hasChecksum = (bytes[view.l4Offset + 6] | bytes[view.l4Offset + 7]) !== 0;
  return hasChecksum ? ParseError.ok : ParseError.missingChecksum;
}

/** `parseQuotedPacket` for an ICMPv6 error: of the packet it quotes only what is there is read. */
export function parseQuotedIpv6(bytes: Uint8Array, error: PacketView, view: PacketView): ParseError {
  const length = error.l4Length - ICMP_EMBEDDED;
  const parsed = parseChain(bytes, error.l4Offset + ICMP_EMBEDDED, length, view);
  if (parsed !== ParseError.ok) return parsed;
  if (view.fragmentOffset !== 0 || view.protocol === IpProtocol.icmp) return ParseError.ok;
  if (view.l4Length < ICMP_HEADER_BYTES) return ParseError.truncatedTransport;
  if (view.protocol === IpProtocol.icmpv6) return parseIcmp(bytes, view);
  parseQuotedTransport(bytes, view);
  return ParseError.ok;
}

/** Where a parsed packet says what its upper layer is, in bytes from its start: the pointer of parameter-problem. */
export function ipv6NextHeaderOffset(bytes: Uint8Array, { l3Offset, l4Offset }: PacketView): number {
  let field = NEXT_HEADER_OFFSET;
  let at = l3Offset + ip.IPV6_HEADER_BYTES;
  while (at < l4Offset) {
    const size = extensionBytes(bytes, at, bytes[l3Offset + field]);
    field = at - l3Offset;
    at += size;
  }
  return field;
}

function parseChain(bytes: Uint8Array, offset: number, length: number, view: PacketView): ParseError {
  if (length < ip.IPV6_HEADER_BYTES || offset < 0 || offset + length > bytes.length)
    return ParseError.truncated;
  if (bytes[offset] >>> 4 !== 6) return ParseError.badVersion;
  const payloadLength = ip.ipv6PayloadLength(bytes, offset);
  view.version = 6;
  view.l3Offset = offset;
  view.l3Length = ip.IPV6_HEADER_BYTES + payloadLength;
  view.src = 0;
  view.dst = 0;
  view.ttl = ip.ipv6HopLimit(bytes, offset);
  view.tos = ip.ipv6TrafficClass(bytes, offset);
  view.id = 0;
  view.fragmentOffset = 0;
  view.moreFragments = 0;
  view.dontFragment = 1;
  const end = offset + Math.min(view.l3Length, length);
  const error = walk(bytes, view, end);
  if (error !== ParseError.ok) return error;
  clearTransport(view, offset + view.headerLength, end - offset - view.headerLength);
  const reassembled = view.fragmentOffset + view.l3Length - view.headerLength;
  return reassembled > MAX_PACKET_BYTES ? ParseError.badFragment : ParseError.ok;
}

/** Follows the chain to the upper layer; sets `protocol`, `headerLength` and the fragment fields. */
function walk(bytes: Uint8Array, view: PacketView, end: number): ParseError {
  let next = ip.ipv6NextHeader(bytes, view.l3Offset);
  let at = view.l3Offset + ip.IPV6_HEADER_BYTES;
  // Hop-by-hop options are at the very front or not at all (RFC 8200 §4.1).
  for (let headers = 0; isExtension(next) && (next !== ip.Ipv6Next.hopByHop || headers === 0); headers++) {
    if (headers === MAX_EXTENSION_HEADERS) return ParseError.badOptions;
    if (at + EXTENSION_UNIT > end) return ParseError.truncated;
    const size = extensionBytes(bytes, at, next);
    if (at + size > end) return ParseError.truncated;
    if (next === ip.Ipv6Next.routing && bytes[at + 3] !== 0) return ParseError.badOptions;
    if (next === ip.Ipv6Next.fragment) readFragment(bytes, at, view);
    const isLater = next === ip.Ipv6Next.fragment && view.fragmentOffset !== 0;
    next = bytes[at];
    at += size;
    if (isLater) break;
  }
  if (next === ip.Ipv6Next.hopByHop && view.fragmentOffset === 0) return ParseError.badOptions;
  view.protocol = next;
  view.headerLength = at - view.l3Offset;
  return ParseError.ok;
}

function readFragment(bytes: Uint8Array, at: number, view: PacketView): void {
  view.fragmentOffset = ip.ipv6FragmentOffset(bytes, at);
  view.moreFragments = ip.ipv6MoreFragments(bytes, at);
  view.id = ip.ipv6FragmentId(bytes, at);
}

function isExtension(next: number): boolean {
  return (
    next === ip.Ipv6Next.hopByHop ||
    next === ip.Ipv6Next.routing ||
    next === ip.Ipv6Next.fragment ||
    next === ip.Ipv6Next.authentication ||
    next === ip.Ipv6Next.destination
  );
}

/** RFC 8200 §4; the authentication header counts in words of four (RFC 4302 §2.2). */
function extensionBytes(bytes: Uint8Array, at: number, next: number): number {
  if (next === ip.Ipv6Next.fragment) return ip.IPV6_FRAGMENT_HEADER_BYTES;
  const units = bytes[at + 1];
  return next === ip.Ipv6Next.authentication ? Math.max((units + 2) * 4, EXTENSION_UNIT) : (units + 1) * 8;
}
