import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  checksum,
  decrementTtl,
  IPV4_HEADER_BYTES,
  ipv4DontFragment,
  ipv4Dst,
  ipv4FragmentOffset,
  ipv4HeaderLength,
  ipv4Id,
  ipv4MoreFragments,
  ipv4OptionsAreValid,
  ipv4Protocol,
  ipv4Src,
  ipv4Tos,
  ipv4TotalLength,
  ipv4Ttl,
  ipv4Version,
  protocolName,
  setIpv4Fragment,
  setIpv4Ttl,
  writeIpv4,
  writeIpv4Checksum,
} from "../../src/wire/index.js";
import { hex, poisoned, u8, u16, u32 } from "./helpers.js";

const HEADER = hex("4500 0073 0000 4000 4011 b861 c0a80001 c0a800c7");

describe("IPv4 headers", () => {
  it("decode", () => {
    expect(ipv4Version(HEADER, 0)).toBe(4);
    expect(ipv4HeaderLength(HEADER, 0)).toBe(20);
    expect(ipv4Tos(HEADER, 0)).toBe(0);
    expect(ipv4TotalLength(HEADER, 0)).toBe(115);
    expect(ipv4Id(HEADER, 0)).toBe(0);
    expect(ipv4DontFragment(HEADER, 0)).toBe(1);
    expect(ipv4MoreFragments(HEADER, 0)).toBe(0);
    expect(ipv4FragmentOffset(HEADER, 0)).toBe(0);
    expect(ipv4Ttl(HEADER, 0)).toBe(64);
    expect(ipv4Protocol(HEADER, 0)).toBe(17);
    expect(ipv4Src(HEADER, 0)).toBe(0xc0a80001);
    expect(ipv4Dst(HEADER, 0)).toBe(0xc0a800c7);
  });

  it("encode into poisoned bytes", () => {
    const bytes = poisoned(IPV4_HEADER_BYTES + 2);
    writeIpv4(bytes, 1, 115, 17, 0xc0a80001, 0xc0a800c7, 64, 0);
    setIpv4Fragment(bytes, 1, 115, 1, 0, 0);
    writeIpv4Checksum(bytes, 1, IPV4_HEADER_BYTES);
    expect(bytes).toEqual(Uint8Array.of(0xa5, ...HEADER, 0xa5));
  });

  it("decode what they encode", () => {
    fc.assert(
      fc.property(u16, u8, u32, u32, u8, u16, u8, (length, protocol, src, dst, ttl, id, tos) => {
        const bytes = poisoned(IPV4_HEADER_BYTES);
        writeIpv4(bytes, 0, length, protocol, src, dst, ttl, id, tos);
        expect([ipv4TotalLength(bytes, 0), ipv4Protocol(bytes, 0)]).toEqual([length, protocol]);
        expect([ipv4Src(bytes, 0), ipv4Dst(bytes, 0)]).toEqual([src, dst]);
        expect([ipv4Ttl(bytes, 0), ipv4Id(bytes, 0), ipv4Tos(bytes, 0)]).toEqual([ttl, id, tos]);
        expect(checksum(bytes, 0, IPV4_HEADER_BYTES)).toBe(0);
      }),
    );
  });

  it("carry fragment fields without mixing them", () => {
    const bit = fc.integer({ min: 0, max: 1 });
    fc.assert(
      fc.property(bit, bit, fc.integer({ min: 0, max: 0x1fff }), (dont, more, units) => {
        const bytes = poisoned(IPV4_HEADER_BYTES);
        setIpv4Fragment(bytes, 0, 1000, dont, more, units * 8);
        expect(ipv4TotalLength(bytes, 0)).toBe(1000);
        expect([ipv4DontFragment(bytes, 0), ipv4MoreFragments(bytes, 0)]).toEqual([dont, more]);
        expect(ipv4FragmentOffset(bytes, 0)).toBe(units * 8);
      }),
    );
  });

  it("keep their checksum right when the TTL goes down", () => {
    fc.assert(
      fc.property(u32, u32, u16, fc.integer({ min: 1, max: 255 }), (src, dst, id, ttl) => {
        const bytes = poisoned(IPV4_HEADER_BYTES);
        writeIpv4(bytes, 0, 100, 6, src, dst, ttl, id);
        const expected = Uint8Array.from(bytes);
        setIpv4Ttl(expected, 0, ttl - 1);
        writeIpv4Checksum(expected, 0, IPV4_HEADER_BYTES);
        decrementTtl(bytes, 0);
        expect(bytes).toEqual(expected);
      }),
    );
  });

  it("name their protocols", () => {
    expect([1, 6, 17, 132, 47].map(protocolName)).toEqual(["icmp", "tcp", "udp", "sctp", "47"]);
  });
});

describe("IPv4 options", () => {
  const valid = (options: string) => {
    const bytes = Uint8Array.of(...HEADER, ...hex(options));
    return ipv4OptionsAreValid(bytes, 0, bytes.length);
  };

  it.each([
    ["none", ""],
    ["no-operations", "01010101"],
    ["end at once, rubbish behind it", "00ffffff"],
    ["router alert", "94040000"],
    ["record route, then end", "01 0707 04 00000000"],
  ])("are valid: %s", (_what, options) => {
    expect(valid(options)).toBe(true);
  });

  it.each([
    ["a kind without a length", "01010194"],
    ["a length of 0", "94000000"],
    ["a length of 1", "94010000"],
    ["a length past the header", "94050000"],
  ])("are not: %s", (_what, options) => {
    expect(valid(options)).toBe(false);
  });
});
