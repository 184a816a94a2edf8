/** CRC-32C (Castagnoli), the checksum of SCTP (RFC 9260 appendix A). */

/** The polynomial 0x1EDC6F41 with its bits in reverse order. */
const POLYNOMIAL = 0x82f63b78;
const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
  return crc;
});

/** Where every CRC-32C begins. */
export const CRC32C_START = -1;

/** The register after a range of bytes; start with {@link CRC32C_START} and complement the result at the end. */
export function updateCrc32c(crc: number, bytes: Uint8Array, offset: number, length: number): number {
  let register = crc;
  for (let at = offset; at < offset + length; at++) {
    register = (register >>> 8) ^ TABLE[(register ^ bytes[at]) & 0xff];
  }
  return register;
}

/** The register after `count` bytes that are 0. */
export function updateCrc32cZeros(crc: number, count: number): number {
  let register = crc;
  for (let i = 0; i < count; i++) register = (register >>> 8) ^ TABLE[register & 0xff];
  return register;
}
