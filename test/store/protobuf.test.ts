import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { event, keyValue, watchCreate, watchResponse } from "../../src/store/messages.js";
import { binary, bool, id, int, ints, list, message, sub, text } from "../../src/store/protobuf.js";

const small = message({
  number: int(1),
  words: text(2),
  flag: bool(3),
  inner: sub(4, message({ number: int(1) })),
});

const safe = fc.maxSafeInteger();
const kvs = fc.record({
  key: fc.uint8Array().map((bytes) => Buffer.from(bytes).toString("latin1")),
  createRevision: safe,
  modRevision: safe,
  version: safe,
  value: fc.uint8Array(),
  lease: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
});
const events = fc.record({
  type: fc.constantFrom(0, 1),
  kv: kvs,
  prevKv: fc.option(kvs, { nil: undefined }),
});

describe("protobuf", () => {
  it("writes the bytes of the encoding guide", () => {
    expect(small.encode({ number: 150 }).toString("hex")).toBe("089601");
    expect(small.encode({ words: "testing" }).toString("hex")).toBe("120774657374696e67");
    expect(small.encode({ inner: { number: 150 } }).toString("hex")).toBe("2203089601");
    expect(small.encode({ number: -2 }).toString("hex")).toBe("08feffffffffffffffff01");
  });

  it("leaves defaults out, but not an empty message", () => {
    expect(small.encode({ number: 0, words: "", flag: false }).length).toBe(0);
    expect(small.encode({ inner: { number: 0 } }).toString("hex")).toBe("2200");
    expect(small.decode(Buffer.from("2200", "hex")).inner).toEqual({ number: 0 });
    expect(small.decode(Buffer.alloc(0))).toEqual({ number: 0, words: "", flag: false, inner: undefined });
  });

  it("brings every message back", () => {
    fc.assert(
      fc.property(fc.array(events), safe, fc.string(), (list, revision, cancelReason) => {
        const response = watchResponse.make({ events: list, compactRevision: revision, cancelReason });
        expect(watchResponse.decode(watchResponse.encode(response))).toEqual(response);
      }),
    );
  });

  it("skips fields that it does not know", () => {
    const wide = message({
      a: int(1),
      bytes: binary(15),
      b: id(16),
      many: list(17, keyValue),
      last: text(2),
    });
    const bytes = wide.encode({
      a: 7,
      bytes: "x",
      b: "-1",
      many: [keyValue.make({ key: "k" })],
      last: "end",
    });
    const fixed = Buffer.concat([bytes, Buffer.from("2901020304050607083501020304", "hex")]);
    expect(small.decode(fixed)).toMatchObject({ number: 7, words: "end" });
  });

  it("reads repeated numbers packed and one by one", () => {
    const numbers = message({ values: ints(5) });
    expect(numbers.decode(numbers.encode({ values: [0, 1, 300] })).values).toEqual([0, 1, 300]);
    expect(watchCreate.decode(Buffer.from("28002801", "hex")).filters).toEqual([0, 1]);
  });

  it("refuses what is cut off, and numbers that are not exact", () => {
    const kv = keyValue.make({ key: "key", value: Buffer.from("value"), lease: "5" });
    const bytes = event.encode({ kv, type: 1 });
    const cut = Array.from({ length: bytes.length }, (_, length) => bytes.subarray(0, length));
    const whole = cut.filter((part) => {
      try {
        event.decode(part);
        return true;
      } catch {
        return false;
      }
    });
    // Nothing, and the end of the first field, are messages too.
    expect(whole.map((part) => part.length)).toEqual([0, 2]);
    expect(() => small.decode(Buffer.from("08ffffffffffffffff7f", "hex"))).toThrow("out of range");
    expect(() => small.decode(Buffer.from(`08${"ff".repeat(10)}01`, "hex"))).toThrow("too long");
    expect(() => small.decode(Buffer.from("0a00", "hex"))).toThrow("wire type");
    expect(() => small.decode(Buffer.from("0b", "hex"))).toThrow("wire type");
    expect(() => small.decode(Buffer.from("0001", "hex"))).toThrow("tag");
  });

  it("answers any bytes with a message or an Error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          watchResponse.decode(bytes);
        } catch (error) {
          expect((error as Error).message).toMatch(/^protobuf: /);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
