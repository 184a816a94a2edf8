import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  buildSctp,
  CRC32C_START,
  formatSctpChunks,
  getU32,
  PacketView,
  ParseError,
  packetFingerprint,
  parseEmbeddedIpv4,
  parseIpv4Packet,
  SctpChunk,
  sctpChecksumIsValid,
  sctpInitTag,
  sctpTag,
  setU32,
  transportChecksumIsValid,
  updateCrc32c,
  updateCrc32cZeros,
} from "../../src/wire/index.js";
import { slowCrc32c } from "../datapath/slow-packet.js";
import { hex, payload } from "./helpers.js";

const FIELDS = { src: 0xac103502, dst: 0xac104803, sport: 5000, dport: 36412, tag: 0xcafebabe };
const INIT = { type: SctpChunk.init, value: hex("1122334400010000000a000a01020304") };

function built(fields: Partial<Parameters<typeof buildSctp>[2]> = {}): Uint8Array {
  const bytes = new Uint8Array(2000);
  return bytes.slice(0, buildSctp(bytes, 0, { ...FIELDS, chunks: [INIT], ...fields }));
}

describe("CRC32c", () => {
  it.each([
    ["32 zero bytes (RFC 3720 B.4)", new Uint8Array(32), 0x8a9136aa],
    ["32 bytes of 0xff (RFC 3720 B.4)", new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ["0 to 31 (RFC 3720 B.4)", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    ["123456789", new TextEncoder().encode("123456789"), 0xe3069283],
  ])("of %s", (_, bytes, expected) => {
    expect(~updateCrc32c(CRC32C_START, bytes, 0, bytes.length) >>> 0).toBe(expected);
  });

  it("of zero bytes needs no bytes", () => {
    expect(updateCrc32cZeros(CRC32C_START, 32)).toBe(updateCrc32c(CRC32C_START, new Uint8Array(32), 0, 32));
  });

  it("is that of a bit-by-bit division, for any packet", () => {
    const any = fc.record({ tag: fc.nat(), payload, sport: fc.nat(65535) });
    fc.assert(
      fc.property(any, (fields) => {
        const packet = built(fields);
        const l4 = packet.slice(20);
        l4.fill(0, 8, 12);
        expect([...packet.slice(28, 32)]).toEqual(slowCrc32c(l4));
        expect(sctpChecksumIsValid(packet, 20, packet.length - 20)).toBe(true);
      }),
    );
  });

  it("finds every flipped bit", () => {
    const packet = built();
    const view = new PacketView();
    parseIpv4Packet(packet, 0, packet.length, view);
    for (let bit = 20 * 8; bit < packet.length * 8; bit++) {
      packet[bit >> 3] ^= 1 << (bit & 7);
      expect(transportChecksumIsValid(packet, view)).toBe(false);
      packet[bit >> 3] ^= 1 << (bit & 7);
    }
    expect(transportChecksumIsValid(packet, view)).toBe(true);
  });
});

describe("SCTP packets", () => {
  it("are parsed: ports, tag, chunks", () => {
    const packet = built({ chunks: [{ type: SctpChunk.cookieEcho, value: hex("0102030405") }, { type: 0 }] });
    const view = new PacketView();
    expect(parseIpv4Packet(packet, 0, packet.length, view)).toBe(ParseError.ok);
    expect(view).toMatchObject({
      protocol: 132,
      sport: 5000,
      dport: 36412,
      payloadOffset: 32,
      payloadLength: 16,
    });
    expect(sctpTag(packet, 20)).toBe(0xcafebabe);
    expect(formatSctpChunks(packet, 20, packet.length)).toBe("COOKIE ECHO, DATA");
  });

  it("are refused when the common header is not there", () => {
    for (let l4 = 0; l4 < 12; l4++) {
      const packet = built().slice(0, 20 + l4);
      setU32(packet, 0, (0x45 << 24) | (20 + l4));
      const error = parseIpv4Packet(packet, 0, packet.length, new PacketView(), false);
      expect(error).toBe(ParseError.truncatedTransport);
    }
  });

  it("quoted by an ICMP error need 8 bytes", () => {
    const view = new PacketView();
    expect(parseEmbeddedIpv4(built(), 0, 28, view)).toBe(ParseError.ok);
    expect(view).toMatchObject({ sport: 5000, dport: 36412, payloadLength: 0 });
    expect(parseEmbeddedIpv4(built(), 0, 27, view)).toBe(ParseError.truncatedTransport);
  });

  it("with chunks that lie about their length are read to the end and no further", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (chunks) => {
        const packet = built({ chunks: [], payload: chunks });
        const at = packet.length;
        expect(formatSctpChunks(packet, 20, at).split(", ").length).toBeLessThanOrEqual(15);
        expect(sctpInitTag(packet, 32, at)).toBe(chunks.length < 20 ? -1 : getU32(packet, 36));
      }),
    );
  });

  it("keep their fingerprint when addresses and ports are rewritten", () => {
    const print = (packet: Uint8Array) => {
      const view = new PacketView();
      parseIpv4Packet(packet, 0, packet.length, view);
      return packetFingerprint(packet, view);
    };
    expect(print(built({ src: 1, dport: 7 }))).toBe(print(built()));
    expect(print(built({ tag: 1 }))).not.toBe(print(built()));
  });
});
