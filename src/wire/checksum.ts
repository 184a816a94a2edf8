/** The Internet checksum: full (RFC 1071), incremental (RFC 1624) and the partial form that offload leaves behind. */
import { getU16, setU16 } from "./bytes.js";

/**
 * Adds the 16-bit words of a range to `initial`; an odd last byte counts as the high half of a word (RFC 1071 §1).
 * Not folded: up to 64 KiB fits a number with room to spare. To sum several ranges, only the last may be odd.
 */
export function sumWords(bytes: Uint8Array, offset: number, length: number, initial = 0): number {
  const end = offset + length;
  let sum = initial;
  let at = offset;
  for (; at + 1 < end; at += 2) sum += (bytes[at] << 8) | bytes[at + 1];
  return at < end ? sum + (bytes[at] << 8) : sum;
}

/** Folds a sum below 2^32 (that of up to 128 KiB) to 16 bits with end-around carry. */
export function foldSum(sum: number): number {
  const folded = (sum & 0xffff) + (sum >>> 16);
  return (folded & 0xffff) + (folded >>> 16);
}

/** The checksum of a range; 0 over a range that already holds its right checksum. */
export function checksum(bytes: Uint8Array, offset: number, length: number, initial = 0): number {
  return foldSum(sumWords(bytes, offset, length, initial)) ^ 0xffff;
}

/** The sum of the pseudo-header of TCP and UDP (RFC 9293 §3.1, RFC 768); `length` counts L4 header and payload. */
export function pseudoHeaderSum(src: number, dst: number, protocol: number, length: number): number {
  return (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff) + protocol + length;
}

/** The checksum after one 16-bit word of what it covers has changed (RFC 1624 §3, equation 3). */
export function updateChecksum16(current: number, from: number, to: number): number {
  return addReplaced16(current ^ 0xffff, from, to) ^ 0xffff;
}

/** The checksum after one 32-bit word of what it covers has changed. */
export function updateChecksum32(current: number, from: number, to: number): number {
  return addReplaced32(current ^ 0xffff, from, to) ^ 0xffff;
}

/**
 * A partial checksum (virtio's NEEDS_CSUM) after an address has changed. The field then holds the folded, not
 * complemented, pseudo-header sum: addresses are in it; ports and payload are not, so their rewrites leave it alone.
 */
export function updatePartialChecksum32(current: number, from: number, to: number): number {
  return addReplaced32(current, from, to);
}

/** {@link updateChecksum16} on the field at `at`. */
export function patchChecksum16(bytes: Uint8Array, at: number, from: number, to: number): void {
  setU16(bytes, at, updateChecksum16(getU16(bytes, at), from, to));
}

function addReplaced16(sum: number, from: number, to: number): number {
  return foldSum(sum + (from ^ 0xffff) + to);
}

function addReplaced32(sum: number, from: number, to: number): number {
  return foldSum(sum + ((from >>> 16) ^ 0xffff) + ((from & 0xffff) ^ 0xffff) + (to >>> 16) + (to & 0xffff));
}
