import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatIpv4,
  formatPrefix,
  isLoopbackIpv4,
  isMulticastIpv4,
  isUnicastHostIpv4,
  parseIpv4,
  parseIpv4Decimal,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
  prefixMask,
} from "../../src/wire/index.js";
import { u32 } from "./helpers.js";

const ip = (text: string): number => parseIpv4(text)!;
const prefix = (text: string) => parsePrefix(text)!;
const anyPrefix = fc.tuple(u32, fc.integer({ min: 0, max: 32 })).map(([address, length]) => ({
  address: (address & prefixMask(length)) >>> 0,
  length,
}));

describe("IPv4 addresses", () => {
  it("are unsigned numbers", () => {
    expect(ip("0.0.0.0")).toBe(0);
    expect(ip("172.16.53.2")).toBe(0xac103502);
    expect(ip("255.255.255.255")).toBe(0xffffffff);
    expect(formatIpv4(0xac103502)).toBe("172.16.53.2");
  });

  it("are decimal where leading zeros are allowed", () => {
    for (const text of ["10.254.0.011", "010.0254.000.0011", "10.254.0.11"])
      expect(parseIpv4Decimal(text)).toBe(ip("10.254.0.11"));
    expect(parseIpv4Decimal("00.0.0.0")).toBe(0);
    for (const text of ["10.254.0.0256", "10.254.0.0x11", "10.254.0.", "10.254.00", "::1"])
      expect(parseIpv4Decimal(text)).toBeUndefined();
    fc.assert(
      fc.property(u32, fc.integer({ min: 0, max: 3 }), (address, zeros) => {
        const text = formatIpv4(address).replaceAll(/\d+/g, (octet) => "0".repeat(zeros) + octet);
        return parseIpv4Decimal(text) === address;
      }),
    );
  });

  it("survive text", () => {
    fc.assert(fc.property(u32, (address) => ip(formatIpv4(address)) === address));
  });

  it.each([
    "",
    "1.2.3",
    "1.2.3.4.5",
    "01.2.3.4",
    "1.2.3.256",
    "1.2.3.4 ",
    " 1.2.3.4",
    "1.2.3.4\n",
    "1..3.4",
    "0x1.2.3.4",
    "-1.2.3.4",
    "1.2.3.4/8",
    "::1",
  ])("refuse %j", (text) => {
    expect(parseIpv4(text)).toBeUndefined();
  });

  it("have classes", () => {
    expect([ip("224.0.0.1"), ip("239.1.1.1"), ip("223.1.1.1"), ip("240.0.0.1")].map(isMulticastIpv4)).toEqual(
      [true, true, false, false],
    );
    expect([ip("127.0.0.1"), ip("128.0.0.1")].map(isLoopbackIpv4)).toEqual([true, false]);
    const hosts = ["10.0.0.1", "223.255.255.255", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"];
    expect(hosts.map((text) => isUnicastHostIpv4(ip(text)))).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
  });
});

describe("prefixes", () => {
  it("survive text", () => {
    expect(prefix("172.16.0.0/16")).toEqual({ address: 0xac100000, length: 16 });
    fc.assert(
      fc.property(anyPrefix, (some) => {
        expect(parsePrefix(formatPrefix(some))).toEqual(some);
      }),
    );
  });

  it.each([
    "10.0.0.1/24",
    "10.0.0.0",
    "10.0.0.0/33",
    "10.0.0.0/08",
    "10.0.0.0/-1",
    "10.0.0.0/",
    "10.0.0/8",
    "0.0.0.1/0",
  ])("refuse %j", (text) => {
    expect(parsePrefix(text)).toBeUndefined();
  });

  it("have masks from /0 to /32", () => {
    expect([0, 1, 16, 24, 31, 32].map(prefixMask)).toEqual([
      0, 0x80000000, 0xffff0000, 0xffffff00, 0xfffffffe, 0xffffffff,
    ]);
  });

  it("contain what shares their leading bits", () => {
    const leadingBits = (address: number, length: number) =>
      address.toString(2).padStart(32, "0").slice(0, length);
    fc.assert(
      fc.property(anyPrefix, u32, fc.integer({ min: 0, max: 255 }), (some, other, low) => {
        for (const address of [other, (some.address ^ low) >>> 0]) {
          const expected = leadingBits(address, some.length) === leadingBits(some.address, some.length);
          expect(prefixContains(some, address)).toBe(expected);
        }
      }),
    );
  });

  it("overlap when one contains the other", () => {
    expect(prefixesOverlap(prefix("10.0.0.0/8"), prefix("10.254.0.0/16"))).toBe(true);
    expect(prefixesOverlap(prefix("10.254.0.0/16"), prefix("10.0.0.0/8"))).toBe(true);
    expect(prefixesOverlap(prefix("0.0.0.0/0"), prefix("192.168.0.0/24"))).toBe(true);
    expect(prefixesOverlap(prefix("10.0.0.0/24"), prefix("10.0.1.0/24"))).toBe(false);
  });
});
