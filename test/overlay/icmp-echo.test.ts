import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildEchoRequest, parseAnswer } from "../../src/overlay/icmp-echo.js";
import { checksum } from "../../src/wire/index.js";

const identity = { id: 0x1234, token: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]) };
const PEER = 0x7f00000c;
const ROUTER = 0x0a000001;

/** An IPv4 packet around an ICMP message. */
function packet(src: number, dst: number, message: Uint8Array, optionsBytes = 0): Buffer {
  const header = Buffer.alloc(20 + optionsBytes);
  header.writeUInt8(0x40 | (header.length / 4), 0);
  header.writeUInt16BE(header.length + message.length, 2);
  header.writeUInt8(64, 8);
  header.writeUInt8(1, 9);
  header.writeUInt32BE(src, 12);
  header.writeUInt32BE(dst, 16);
  return Buffer.concat([header, message]);
}

function reply(sequence: number): Buffer {
  const message = buildEchoRequest(identity, sequence, 84);
  message.writeUInt8(0, 0);
  return message;
}

/** An ICMP error that quotes as much as RFC 792 asks for: the header and 8 bytes. */
function error(type: number, code: number, mtu: number, sequence = 9): Buffer {
  const quoted = packet(ROUTER, PEER, buildEchoRequest(identity, sequence, 1500)).subarray(0, 28);
  const message = Buffer.concat([Buffer.from([type, code, 0, 0, 0, 0, mtu >>> 8, mtu & 255]), quoted]);
  return packet(ROUTER, 0x0a000002, message);
}

describe("ICMP echo", () => {
  it("builds requests of the size asked for, with a right checksum", () => {
    for (const size of [36, 84, 85, 1500, 65535]) {
      const request = buildEchoRequest(identity, 7, size);
      expect(request.length).toBe(size - 20);
      expect(checksum(request, 0, request.length)).toBe(0);
      expect([...request.subarray(0, 2), ...request.subarray(4, 16)]).toEqual([
        8,
        0,
        0x12,
        0x34,
        0,
        7,
        ...identity.token,
      ]);
    }
  });

  it("recognises replies, also behind IP options", () => {
    const answer = { type: "reply", sequence: 7, peer: PEER };
    expect(parseAnswer(packet(PEER, 0x7f000001, reply(7)), identity)).toEqual(answer);
    expect(parseAnswer(packet(PEER, 0x7f000001, reply(7), 8), identity)).toEqual(answer);
  });

  it("takes no notice of what is not its own", () => {
    const other = { id: 0x1234, token: new Uint8Array(8) };
    expect(parseAnswer(packet(PEER, 1, reply(7)), other)).toBeUndefined();
    expect(parseAnswer(packet(PEER, 1, reply(7)), { ...identity, id: 1 })).toBeUndefined();
    expect(parseAnswer(packet(PEER, 1, buildEchoRequest(identity, 7, 84)), identity)).toBeUndefined();
    expect(parseAnswer(error(3, 4, 1400), { ...identity, id: 1 })).toBeUndefined();
    expect(parseAnswer(error(5, 0, 0), identity)).toBeUndefined();
  });

  it("reads errors about its requests", () => {
    const answered = { sequence: 9, peer: PEER };
    expect(parseAnswer(error(3, 4, 1400), identity)).toEqual({
      ...answered,
      type: "too-big",
      mtuBytes: 1400,
    });
    expect(parseAnswer(error(3, 4, 0), identity)).toEqual({ ...answered, type: "too-big" });
    const unreachable = { ...answered, type: "unreachable" };
    expect(parseAnswer(error(3, 1, 0), identity)).toEqual({
      ...unreachable,
      reason: "host unreachable, says 10.0.0.1",
    });
    expect(parseAnswer(error(11, 0, 0), identity)).toEqual({
      ...unreachable,
      reason: "time exceeded, says 10.0.0.1",
    });
  });

  it("refuses every truncation of its headers", () => {
    const whole = error(3, 4, 1400);
    for (let length = 0; length < whole.length; length++) {
      expect(parseAnswer(whole.subarray(0, length), identity)).toBeUndefined();
    }
    const echoed = packet(PEER, 1, reply(7));
    for (let length = 0; length < 36; length++) {
      expect(parseAnswer(echoed.subarray(0, length), identity)).toBeUndefined();
    }
  });

  it("survives any bytes", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc
        .uint8Array({ maxLength: 100 })
        .map((tail) => Uint8Array.from([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, ...tail])),
    );
    fc.assert(
      fc.property(bytes, (any) => {
        expect(parseAnswer(Buffer.from(any), identity)).toBeUndefined();
      }),
    );
  });
});
