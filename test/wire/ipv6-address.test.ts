import { isIPv6 } from "node:net";
import fc from "fast-check";
import { Address6 } from "ip-address";
import { describe, expect, it } from "vitest";
import {
  formatIpv6,
  formatIpv6Prefix,
  formatMac,
  ipv6PrefixContains,
  ipv6PrefixesOverlap,
  isLinkLocalIpv6,
  isMulticastIpv6,
  isUnicastHostIpv6,
  isUnspecifiedIpv6,
  linkLocalOfMac,
  macOfIpv6Group,
  parseIpv6,
  parseIpv6Cidr,
  parseIpv6Prefix,
  parseMac,
  readIpv6Address,
  solicitedNode,
  writeIpv6Address,
} from "../../src/wire/index.js";
import { poisoned } from "./helpers.js";

/** Addresses with many zero groups, where the text forms differ. */
const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
const address = fc
  .array(group, { minLength: 8, maxLength: 8 })
  .map((groups) => groups.reduce((value, one) => (value << 16n) | BigInt(one), 0n));

function parsed(text: string): bigint {
  const value = parseIpv6(text);
  if (value === undefined) throw new Error(`not an address: ${text}`);
  return value;
}

function bytesOf(text: string): Uint8Array {
  const bytes = poisoned(20);
  writeIpv6Address(bytes, 2, parsed(text));
  return bytes;
}

describe("text of IPv6 addresses", () => {
  it("is written as RFC 5952 asks", () => {
    for (const [text, canonical] of [
      ["2001:0DB8:0:0:0:0:0:1", "2001:db8::1"],
      ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
      ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
      ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
      ["0:0:0:0:0:0:0:0", "::"],
      ["1::", "1::"],
      ["::1", "::1"],
      ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
      ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
    ])
      expect(formatIpv6(parsed(text))).toBe(canonical);
  });

  it("is the same as ip-address writes", () => {
    fc.assert(
      fc.property(address, (value) => {
        // An IPv4-mapped address has a form of its own (RFC 5952 §5).
        fc.pre(value >> 32n !== 0xffffn);
        const text = formatIpv6(value);
        expect(new Address6(text).correctForm()).toBe(text);
        expect(parseIpv6(text)).toBe(value);
        expect(parseIpv6(new Address6(text).canonicalForm())).toBe(value);
      }),
    );
  });

  it("is refused where Node.js refuses it", () => {
    const characters = fc.constantFrom(
      ":",
      "::",
      "0",
      "f",
      "12345",
      "1",
      "g",
      ".",
      "1.2.3.4",
      "/",
      "%1",
      " ",
      "",
    );
    fc.assert(
      fc.property(fc.array(characters, { maxLength: 12 }), (parts) => {
        const text = parts.join("");
        expect(parseIpv6(text) !== undefined).toBe(isIPv6(text) && !text.includes("%"));
      }),
      { numRuns: 3000 },
    );
    for (const text of [
      "",
      ":",
      ":::",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7::8:9",
      "fe80::1%eth0",
    ])
      expect(parseIpv6(text)).toBeUndefined();
  });
});

describe("prefixes", () => {
  it("have no host bits, unless a CIDR is read as Go reads it", () => {
    expect(parseIpv6Prefix("fd00:10:244::/56")).toEqual({ address: parsed("fd00:10:244::"), length: 56 });
    expect(parseIpv6Prefix("fd00:10:244::1/56")).toBeUndefined();
    expect(parseIpv6Cidr("fd00:10:244::1/56")).toEqual({ address: parsed("fd00:10:244::"), length: 56 });
    for (const text of ["fd00::/129", "fd00::/-1", "fd00::/08", "fd00::", "/64", "10.0.0.0/8", "fd00::/"])
      expect(parseIpv6Cidr(text)).toBeUndefined();
    expect(parseIpv6Prefix("::/0")).toEqual({ address: 0n, length: 0 });
    expect(formatIpv6Prefix({ address: parsed("fd00::1"), length: 128 })).toBe("fd00::1/128");
  });

  it("contain and overlap by their leading bits", () => {
    const prefix = (text: string) => parseIpv6Prefix(text)!;
    expect(ipv6PrefixContains(prefix("fd00::/64"), parsed("fd00::ffff:0:0:1"))).toBe(true);
    expect(ipv6PrefixContains(prefix("fd00::/64"), parsed("fd00:0:0:1::1"))).toBe(false);
    expect(ipv6PrefixesOverlap(prefix("fd00::/56"), prefix("fd00:0:0:ff::/64"))).toBe(true);
    expect(ipv6PrefixesOverlap(prefix("fd00:0:0:ff::/64"), prefix("fd00::/56"))).toBe(true);
    expect(ipv6PrefixesOverlap(prefix("fd00::/64"), prefix("fd00:0:0:1::/64"))).toBe(false);
  });
});

describe("addresses in packets", () => {
  it("are read as they are written", () => {
    fc.assert(
      fc.property(address, (value) => {
        const bytes = poisoned(20);
        writeIpv6Address(bytes, 2, value);
        expect(readIpv6Address(bytes, 2)).toBe(value);
        expect([bytes[1], bytes[18]]).toEqual([0xa5, 0xa5]);
      }),
    );
  });

  it("have classes", () => {
    const classOf = (text: string) => {
      const bytes = bytesOf(text);
      return {
        host: isUnicastHostIpv6(bytes, 2),
        link: isLinkLocalIpv6(bytes, 2),
        group: isMulticastIpv6(bytes, 2),
        none: isUnspecifiedIpv6(bytes, 2),
      };
    };
    expect(classOf("fd00::1")).toEqual({ host: true, link: false, group: false, none: false });
    expect(classOf("fe80::1")).toEqual({ host: true, link: true, group: false, none: false });
    expect(classOf("febf::1").link).toBe(true);
    expect(classOf("fec0::1").link).toBe(false);
    expect(classOf("ff02::1")).toEqual({ host: false, link: false, group: true, none: false });
    expect(classOf("::")).toEqual({ host: false, link: false, group: false, none: true });
    for (const text of ["::1", "::10.0.0.1", "::ffff:10.0.0.1"]) expect(classOf(text).host).toBe(false);
    expect(classOf("64:ff9b::10.0.0.1").host).toBe(true);
  });

  it("lead to MACs and come from them", () => {
    expect(formatIpv6(linkLocalOfMac(parseMac("02:42:ac:10:01:02")!))).toBe("fe80::42:acff:fe10:102");
    expect(formatIpv6(solicitedNode(parsed("fd00::12:3456")))).toBe("ff02::1:ff12:3456");
    expect(formatMac(macOfIpv6Group(parsed("ff02::1:ff12:3456")))).toBe("33:33:ff:12:34:56");
  });
});
