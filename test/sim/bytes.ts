/** Bytes and words for the slow codecs. */

/** RFC 1071, one byte pair after the other; no shortcuts. */
export function slowChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i] * 256 + (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

/** Pieces one after the other; spreading thousands of payload bytes into an array takes most of a run. */
export function join(...pieces: readonly ArrayLike<number>[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

export function u16(value: number): number[] {
  return [(value >>> 8) & 255, value & 255];
}

export function u32(value: number): number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)];
}

export function read16(bytes: Uint8Array, at: number): number {
  return bytes[at] * 256 + bytes[at + 1];
}

export function read32(bytes: Uint8Array, at: number): number {
  return read16(bytes, at) * 65536 + read16(bytes, at + 2);
}

/** Puts the checksum over `prefix` and the bytes into them. */
export function withChecksum(bytes: Uint8Array, at: number, prefix: number[] = []): Uint8Array {
  bytes.set(u16(slowChecksum(join(prefix, bytes))), at);
  return bytes;
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

export function asText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
