/** Ethernet addresses: six bytes at an offset inside the caller's bytes. */

/** Length of an Ethernet address. */
export const MAC_BYTES = 6;
/** ff:ff:ff:ff:ff:ff. */
export const BROADCAST_MAC: Uint8Array = new Uint8Array(MAC_BYTES).fill(0xff);

const COLON_HEX = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** The six bytes of `xx:xx:xx:xx:xx:xx`; undefined for anything else. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!COLON_HEX.test(text)) return undefined;
  return Uint8Array.from(text.split(":"), (octet) => Number.parseInt(octet, 16));
}

/** `xx:xx:xx:xx:xx:xx` in lower case. */
export function formatMac(bytes: Uint8Array, offset = 0): string {
  const octets: string[] = [];
  for (let i = 0; i < MAC_BYTES; i++) octets.push(bytes[offset + i].toString(16).padStart(2, "0"));
  return octets.join(":");
}

/** Whether the addresses at two offsets are the same. */
export function macsEqual(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number): boolean {
  for (let i = 0; i < MAC_BYTES; i++) if (a[aOffset + i] !== b[bOffset + i]) return false;
  return true;
}

/** Copies one address. */
export function copyMac(to: Uint8Array, toOffset: number, from: Uint8Array, fromOffset: number): void {
  for (let i = 0; i < MAC_BYTES; i++) to[toOffset + i] = from[fromOffset + i];
}

/** Whether the address is multicast or broadcast: the low bit of its first octet (IEEE 802 §8.2.2). */
export function isGroupMac(bytes: Uint8Array, offset: number): boolean {
  return (bytes[offset] & 1) === 1;
}
