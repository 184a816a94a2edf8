/** Packets as a TAP with offloads hands them over: partial checksums and super-packets, written the obvious way. */
import { slowSum } from "./slow-packet.js";

const TCP = 6;

export interface Offloaded {
  readonly packet: Uint8Array;
  readonly vnet: Uint8Array;
}

export interface OffloadOptions {
  /** Bytes of link header that the frame will have. */
  readonly link: number;
  /** Payload bytes of a segment; not a super-packet when left out. */
  readonly segmentBytes?: number;
}

/** The packet (TCP or UDP, of either family, without options) with only the pseudo-header's sum in its checksum field, and its header. */
export function offload(whole: Uint8Array, { link, segmentBytes = 0 }: OffloadOptions): Offloaded {
  const packet = whole.slice();
  const isIpv6 = packet[0] >> 4 === 6;
  const ipBytes = isIpv6 ? 40 : 20;
  const protocol = packet[isIpv6 ? 6 : 9];
  const isTcp = protocol === TCP;
  const l4Length = packet.length - ipBytes;
  const addresses = packet.slice(isIpv6 ? 8 : 12, ipBytes);
  const sum = slowSum([...addresses, 0, protocol, l4Length >> 8, l4Length & 255]);
  const field = isTcp ? 16 : 6;
  packet.set([sum >> 8, sum & 255], ipBytes + field);
  const headerBytes = link + ipBytes + (isTcp ? (packet[ipBytes + 12] >> 4) * 4 : 8);
  const start = link + ipBytes;
  const gsoType = segmentBytes === 0 ? 0 : isTcp ? (isIpv6 ? 4 : 1) : 5;
  const littleEndian = [headerBytes, segmentBytes, start, field].flatMap((value) => [
    value & 255,
    value >> 8,
  ]);
  return { packet, vnet: Uint8Array.from([1, gsoType, ...littleEndian]) };
}

/** The fields of a virtio_net_hdr. */
export function readVnet(
  vnet: Uint8Array,
): Record<"flags" | "gsoType" | "hdrLen" | "gsoSize" | "start" | "offset", number> {
  const at = (offset: number) => vnet[offset] + vnet[offset + 1] * 256;
  return { flags: vnet[0], gsoType: vnet[1], hdrLen: at(2), gsoSize: at(4), start: at(6), offset: at(8) };
}
