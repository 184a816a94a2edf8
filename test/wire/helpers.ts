import fc from "fast-check";
import type { PacketView } from "../../src/wire/index.js";

/** Bytes full of a value that shows up when a writer forgets a byte or a reader goes too far. */
export function poisoned(length: number, value = 0xa5): Uint8Array {
  return new Uint8Array(length).fill(value);
}

/** The bytes of hex text; spaces are ignored. */
export function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));
}

/** The Internet checksum with nothing clever: big integers, one word after the other. */
export function slowChecksum(bytes: readonly number[]): number {
  let sum = 0n;
  for (let i = 0; i < bytes.length; i += 2) sum += BigInt(bytes[i]) * 256n + BigInt(bytes[i + 1] ?? 0);
  while (sum > 0xffffn) sum = (sum & 0xffffn) + (sum >> 16n);
  return Number(0xffffn - sum);
}

/** The pseudo-header of TCP and UDP, byte for byte. */
export function pseudoHeader(src: number, dst: number, protocol: number, length: number): number[] {
  const words = [src >>> 16, src & 0xffff, dst >>> 16, dst & 0xffff, protocol, length];
  return words.flatMap((word) => [word >>> 8, word & 0xff]);
}

/** A view's fields as a plain object. */
export function fieldsOf(view: PacketView): Record<string, number> {
  return { ...view };
}

export const u8 = fc.integer({ min: 0, max: 0xff });
/** Edges of one's complement arithmetic come up often. */
export const u16 = fc.oneof(fc.constantFrom(0, 1, 0xfffe, 0xffff), fc.integer({ min: 0, max: 0xffff }));
export const u32 = fc.oneof(
  fc.constantFrom(0, 0xffff, 0xffff0000, 0xffffffff),
  fc.integer({ min: 0, max: 0xffffffff }),
);
export const payload = fc.uint8Array({ maxLength: 100 });
