/** UDP headers (RFC 768). The getters are unchecked: parse the packet first. */
import { getU16, setU16 } from "./bytes.js";
import { foldSum, pseudoHeaderSum, sumWords } from "./checksum.js";
import { IpProtocol } from "./ipv4.js";

export const UDP_HEADER_BYTES = 8;
/** Offsets inside the header. */
export const UDP_SPORT = 0;
export const UDP_DPORT = 2;
export const UDP_CHECKSUM = 6;
const LENGTH = 4;

export function udpLength(bytes: Uint8Array, offset: number): number {
  return getU16(bytes, offset + LENGTH);
}

/**
 * Writes the header in front of `payloadLength` bytes that are already in place, checksum included.
 * A checksum that comes to 0 is sent as 0xffff, for 0 means none.
 */
export function writeUdp(
  bytes: Uint8Array,
  offset: number,
  src: number,
  dst: number,
  sport: number,
  dport: number,
  payloadLength: number,
): void {
  const length = UDP_HEADER_BYTES + payloadLength;
  setU16(bytes, offset + UDP_SPORT, sport);
  setU16(bytes, offset + UDP_DPORT, dport);
  setU16(bytes, offset + LENGTH, length);
  setU16(bytes, offset + UDP_CHECKSUM, 0);
  const sum = sumWords(bytes, offset, length, pseudoHeaderSum(src, dst, IpProtocol.udp, length));
  setU16(bytes, offset + UDP_CHECKSUM, foldSum(sum) ^ 0xffff || 0xffff);
}
