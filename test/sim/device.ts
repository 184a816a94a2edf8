/**
 * What a device does with the virtio_net_hdr of a frame that leaves: it completes the partial checksum and cuts
 * super-packets (Linux' `skb_checksum_help` and `tcp_gso_segment`), written the obvious way. Trusts nothing.
 */
import { readVnet } from "../datapath/offload.js";
import { isIpv6 } from "./address.js";
import {
  decodeTcp,
  encodePacket,
  encodeTcp,
  Flag,
  parsePacket,
  pseudoSum,
  slowChecksum,
  TCP,
} from "./packet.js";

const NEEDS_CSUM = 1;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;
const TCP_CHECKSUM = 16;

/** The IP packets that a frame with this offload header is on the wire. @throws Error that says how the header lies */
export function complete(vnet: Uint8Array, frame: Uint8Array, linkBytes: number): Uint8Array[] {
  const ip = frame.slice(linkBytes);
  const { flags, gsoType, start } = readVnet(vnet);
  if (flags === 0 && gsoType === 0) {
    if (vnet.some((byte) => byte !== 0)) throw new Error(`offload header ${vnet} on a plain frame`);
    return [ip];
  }
  if (flags !== NEEDS_CSUM) throw new Error(`offload flags ${flags}`);
  if (start !== linkBytes + headerBytesOf(ip)) throw new Error(`checksum starts at ${start}`);
  return gsoType === 0 ? [withChecksum(vnet, ip)] : cut(vnet, ip, linkBytes);
}

function headerBytesOf(ip: Uint8Array): number {
  return ip[0] >> 4 === 6 ? 40 : 20;
}

/** Sums what the header says, over what the field holds, and puts the result there. */
function withChecksum(vnet: Uint8Array, ip: Uint8Array): Uint8Array {
  const field = headerBytesOf(ip) + readVnet(vnet).offset;
  const sum = slowChecksum(ip.slice(headerBytesOf(ip))) || 0xffff;
  ip.set([sum >> 8, sum & 255], field);
  return ip;
}

/** A super-packet as segments. Its checksum field has to hold the sum of the pseudo-header, or each segment's would be wrong. */
function cut(vnet: Uint8Array, ip: Uint8Array, linkBytes: number): Uint8Array[] {
  const { gsoType, gsoSize, hdrLen, offset } = readVnet(vnet);
  const packet = parsePacket(ip);
  if (
    gsoType !== (isIpv6(packet.src) ? GSO_TCPV6 : GSO_TCPV4) ||
    packet.protocol !== TCP ||
    offset !== TCP_CHECKSUM
  )
    throw new Error(`super-packet of type ${gsoType}, protocol ${packet.protocol}`);
  const segment = decodeTcp(packet.body);
  const headerBytes = linkBytes + ip.length - segment.payload.length;
  if (hdrLen !== headerBytes) throw new Error(`headers of ${hdrLen} bytes in a frame with ${headerBytes}`);
  const partial = packet.body[TCP_CHECKSUM] * 256 + packet.body[TCP_CHECKSUM + 1];
  if (partial % 0xffff !== pseudoSum(packet) % 0xffff) throw new Error("wrong partial checksum");
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < segment.payload.length; at += gsoSize) {
    const payload = segment.payload.slice(at, at + gsoSize);
    const isLast = at + gsoSize >= segment.payload.length;
    const flags = isLast ? segment.flags : segment.flags & ~(Flag.fin | Flag.psh);
    const body = encodeTcp(packet.src, packet.dst, { ...segment, seq: segment.seq + at, flags, payload });
    pieces.push(encodePacket({ ...packet, id: (packet.id + pieces.length) & 0xffff, body }));
  }
  return pieces;
}
