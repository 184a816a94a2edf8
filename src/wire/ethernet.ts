/** Ethernet II headers (RFC 894): destination, source, type. */
import { getU16, setU16 } from "./bytes.js";
import { copyMac } from "./mac.js";

export const ETHERNET_HEADER_BYTES = 14;
/** Offsets inside the header. */
export const ETHERNET_DST = 0;
export const ETHERNET_SRC = 6;
const TYPE = 12;

/** EtherTypes (IANA ieee-802-numbers). */
export const EtherType = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;
export type EtherType = (typeof EtherType)[keyof typeof EtherType];

/** The EtherType of a frame of at least {@link ETHERNET_HEADER_BYTES} bytes. */
export function etherType(bytes: Uint8Array, offset: number): number {
  return getU16(bytes, offset + TYPE);
}

/** The EtherType of the IP packet at `offset`, by its version. */
export function etherTypeOf(bytes: Uint8Array, offset: number): EtherType {
  return bytes[offset] >>> 4 === 6 ? EtherType.ipv6 : EtherType.ipv4;
}

/** Writes a header; each address is six bytes at an offset inside its own array. */
export function writeEthernet(
  bytes: Uint8Array,
  offset: number,
  dst: Uint8Array,
  dstOffset: number,
  src: Uint8Array,
  srcOffset: number,
  type: EtherType,
): void {
  copyMac(bytes, offset + ETHERNET_DST, dst, dstOffset);
  copyMac(bytes, offset + ETHERNET_SRC, src, srcOffset);
  setU16(bytes, offset + TYPE, type);
}
