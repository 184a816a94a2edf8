import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  checksum,
  foldSum,
  getU16,
  patchChecksum16,
  pseudoHeaderSum,
  setU16,
  setU32,
  sumWords,
  updateChecksum16,
  updateChecksum32,
  updatePartialChecksum32,
} from "../../src/wire/index.js";
import { hex, payload, poisoned, pseudoHeader, slowChecksum, u16, u32 } from "./helpers.js";

/** A word list whose checksum field is word 0; never all zero, as no real header is. */
const words = fc.array(u16, { minLength: 3, maxLength: 20 }).map((list) => [0x4500, ...list]);

function bytesOf(list: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(list.length * 2);
  list.forEach((word, i) => {
    setU16(bytes, i * 2, word);
  });
  return bytes;
}

describe("the full checksum", () => {
  it("agrees with the example of RFC 1071 §3", () => {
    expect(foldSum(sumWords(hex("0001 f203 f4f5 f6f7"), 0, 8))).toBe(0xddf2);
  });

  it("agrees with the slow twin at any offset and length", () => {
    fc.assert(
      fc.property(payload, fc.nat(5), (bytes, offset) => {
        const buffer = poisoned(bytes.length + offset + 3);
        buffer.set(bytes, offset);
        expect(checksum(buffer, offset, bytes.length)).toBe(slowChecksum([...bytes]));
      }),
    );
  });

  it("holds 64 KiB of ones without overflow", () => {
    const bytes = poisoned(65535, 0xff);
    expect(checksum(bytes, 0, 65535)).toBe(slowChecksum([...bytes]));
  });

  it("takes the pseudo-header in", () => {
    fc.assert(
      fc.property(u32, u32, payload, (src, dst, bytes) => {
        const fast = checksum(bytes, 0, bytes.length, pseudoHeaderSum(src, dst, 17, bytes.length));
        expect(fast).toBe(slowChecksum([...pseudoHeader(src, dst, 17, bytes.length), ...bytes]));
      }),
    );
  });
});

describe("the incremental update", () => {
  it("agrees with the example of RFC 1624 §4, where equation 2 goes wrong", () => {
    expect(updateChecksum16(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
  });

  it("equals a new computation for any 16-bit word", () => {
    fc.assert(
      fc.property(words, u16, (list, to) => {
        const bytes = bytesOf(list);
        const before = checksum(bytes, 0, bytes.length);
        const from = getU16(bytes, 4);
        setU16(bytes, 4, to);
        expect(updateChecksum16(before, from, to)).toBe(checksum(bytes, 0, bytes.length));
      }),
    );
  });

  it("equals a new computation for any 32-bit word", () => {
    fc.assert(
      fc.property(words, u32, u32, (list, from, to) => {
        const bytes = bytesOf(list);
        setU32(bytes, 4, from);
        const before = checksum(bytes, 0, bytes.length);
        setU32(bytes, 4, to);
        expect(updateChecksum32(before, from, to)).toBe(checksum(bytes, 0, bytes.length));
      }),
    );
  });

  it.each([
    [0x0000, 0x0000, 0x0000],
    [0x0000, 0xffff, 0xffff],
    [0xffff, 0x0000, 0x0000],
    [0xffff, 0xffff, 0x0000],
    [0x0000, 0x0000, 0xffff],
  ])("is right at the two zeros: sum %i, from %i, to %i", (rest, from, to) => {
    const before = checksum(bytesOf([0x4500, rest, from]), 0, 6);
    expect(updateChecksum16(before, from, to)).toBe(checksum(bytesOf([0x4500, rest, to]), 0, 6));
  });

  it("goes back when the change is undone", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xfffe }), u32, u32, (current, from, to) => {
        expect(updateChecksum32(updateChecksum32(current, from, to), to, from)).toBe(current);
      }),
    );
  });

  it("patches the field in place and nothing beside it", () => {
    const bytes = poisoned(4);
    setU16(bytes, 1, 0xdd2f);
    patchChecksum16(bytes, 1, 0x5555, 0x3285);
    expect(bytes).toEqual(hex("a5 0000 a5"));
  });
});

describe("the partial checksum", () => {
  it("stays the sum of the pseudo-header when an address changes", () => {
    fc.assert(
      fc.property(u32, u32, u32, fc.nat(65535), (src, dst, to, length) => {
        const before = foldSum(pseudoHeaderSum(src, dst, 6, length));
        expect(updatePartialChecksum32(before, dst, to)).toBe(foldSum(pseudoHeaderSum(src, to, 6, length)));
      }),
    );
  });

  it("completes to the right checksum after address and port have changed", () => {
    fc.assert(
      fc.property(u32, u32, u32, u16, payload, (src, dst, newDst, newPort, data) => {
        const segment = Uint8Array.of(0x12, 0x34, 0x00, 0x50, 0, 0, ...data);
        const partial = foldSum(pseudoHeaderSum(src, dst, 6, segment.length));
        setU16(segment, 4, updatePartialChecksum32(partial, dst, newDst));
        setU16(segment, 2, newPort);
        // What the device does at the end: sum everything, the partial sum in the field included.
        const completed = checksum(segment, 0, segment.length);
        setU16(segment, 4, 0);
        const whole = [...pseudoHeader(src, newDst, 6, segment.length), ...segment];
        expect(completed).toBe(slowChecksum(whole));
      }),
    );
  });
});
