/**
 * A packet's identity across nodes. Only fields count that no NAT rewrite, no hop and no checksum offload changes, so
 * each node computes the same number and nothing is added to the wire.
 */
import { getU32 } from "./bytes.js";
import { isIcmpError } from "./icmpv4.js";
import { isIcmpv6Error } from "./icmpv6.js";
import { IpProtocol } from "./ipv4.js";
import { ipv6FlowLabel } from "./ipv6.js";
import { PacketView, ParseError, parseQuotedPacket } from "./packet.js";
import { parseQuotedIpv6 } from "./packet6.js";
import { sctpTag } from "./sctp.js";
import { TCP_HEADER_BYTES } from "./tcp.js";

/** How much of the payload counts. An ICMP error quotes 576 − 28 bytes, so at least this much of most packets. */
const PAYLOAD_BYTES = 64;

const quoted = new PacketView();

/**
 * The fingerprint of a parsed packet, an unsigned 32-bit number: IP id (the flow label of IPv6), protocol, total length,
 * DF and fragment fields; TCP sequence numbers, flags, window and options, SCTP verification tag, or ICMP type, code and
 * sequence number; up to 64 bytes of payload.
 * For ICMP errors the same of the packet they quote instead of the payload, which holds addresses and ports.
 */
export function packetFingerprint(bytes: Uint8Array, view: PacketView): number {
  let hash = mixHeaders(0, bytes, view);
  if (quotes(view)) {
    const parse = view.version === 4 ? parseQuotedPacket : parseQuotedIpv6;
    if (parse(bytes, view, quoted) === ParseError.ok) {
      hash = mixPayload(mixHeaders(hash, bytes, quoted), bytes, quoted);
    }
  } else {
    hash = mixPayload(hash, bytes, view);
  }
  return finish(hash);
}

/** Whether the packet is an ICMP error. */
function quotes({ version, protocol, icmpType, fragmentOffset }: PacketView): boolean {
  if (fragmentOffset !== 0) return false;
  return version === 4
    ? protocol === IpProtocol.icmp && isIcmpError(icmpType)
    : protocol === IpProtocol.icmpv6 && isIcmpv6Error(icmpType);
}

/** Eight hex digits. */
export function formatFingerprint(fingerprint: number): string {
  return fingerprint.toString(16).padStart(8, "0");
}

function mixHeaders(start: number, bytes: Uint8Array, view: PacketView): number {
  let hash = mix(start, (view.id << 16) | view.l3Length);
  if (view.version === 6) hash = mix(hash, ipv6FlowLabel(bytes, view.l3Offset) ^ view.id);
  const fragment = (view.fragmentOffset << 2) | (view.moreFragments << 1) | view.dontFragment;
  hash = mix(hash, (view.protocol << 24) | fragment);
  if (view.protocol === IpProtocol.icmp || view.protocol === IpProtocol.icmpv6) {
    return mix(hash, (view.icmpType << 24) | (view.icmpCode << 16) | view.icmpSeq);
  }
  if (view.protocol === IpProtocol.sctp && view.fragmentOffset === 0) {
    return mix(hash, sctpTag(bytes, view.l4Offset));
  }
  if (view.protocol !== IpProtocol.tcp) return hash;
  hash = mix(hash, view.tcpSeq);
  hash = mix(hash, view.tcpAck);
  hash = mix(hash, (view.tcpFlags << 16) | view.tcpWindow);
  const end = view.l4Offset + view.tcpHeaderLength;
  for (let at = view.l4Offset + TCP_HEADER_BYTES; at < end; at += 4) hash = mix(hash, getU32(bytes, at));
  return hash;
}

function mixPayload(start: number, bytes: Uint8Array, view: PacketView): number {
  const end = view.payloadOffset + Math.min(view.payloadLength, PAYLOAD_BYTES);
  let hash = start;
  let at = view.payloadOffset;
  for (; at + 4 <= end; at += 4) hash = mix(hash, getU32(bytes, at));
  for (; at < end; at++) hash = mix(hash, bytes[at]);
  return hash;
}

/** One round of MurmurHash3 (Appleby), 32-bit: spreads each word over the whole hash with two multiplications. */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = hash ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

function finish(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
