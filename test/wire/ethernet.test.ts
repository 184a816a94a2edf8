import { describe, expect, it } from "vitest";
import {
  ARP_BYTES,
  ARP_SENDER_MAC,
  ARP_TARGET_MAC,
  ArpOperation,
  arpOperation,
  arpSenderIp,
  arpTargetIp,
  BROADCAST_MAC,
  ETHERNET_DST,
  ETHERNET_HEADER_BYTES,
  ETHERNET_SRC,
  EtherType,
  etherType,
  formatMac,
  isArp,
  isGroupMac,
  macsEqual,
  parseMac,
  writeArp,
  writeEthernet,
} from "../../src/wire/index.js";
import { hex, poisoned } from "./helpers.js";

const A = parseMac("02:42:ac:10:35:02")!;
const B = parseMac("0A:58:0a:fe:00:01")!;
/** Who has 172.16.53.1? Tell 172.16.53.2. */
const REQUEST = hex("0001 0800 06 04 0001 0242ac103502 ac103502 000000000000 ac103501");

describe("MACs", () => {
  it("survive text", () => {
    expect(formatMac(A)).toBe("02:42:ac:10:35:02");
    expect(formatMac(B)).toBe("0a:58:0a:fe:00:01");
  });

  it.each([
    "",
    "02:42:ac:10:35",
    "02:42:ac:10:35:02:03",
    "2:42:ac:10:35:02",
    "02-42-ac-10-35-02",
    "0g:42:ac:10:35:02",
  ])("refuse %j", (text) => {
    expect(parseMac(text)).toBeUndefined();
  });

  it("compare at offsets", () => {
    const bytes = Uint8Array.of(9, ...A, ...B);
    expect(macsEqual(bytes, 1, A, 0)).toBe(true);
    expect(macsEqual(bytes, 7, A, 0)).toBe(false);
    const last = Uint8Array.from(A);
    last[5] ^= 1;
    expect(macsEqual(A, 0, last, 0)).toBe(false);
  });

  it("are group addresses by the low bit of the first octet", () => {
    expect(isGroupMac(BROADCAST_MAC, 0)).toBe(true);
    expect(isGroupMac(parseMac("01:00:5e:00:00:01")!, 0)).toBe(true);
    expect(isGroupMac(A, 0)).toBe(false);
  });
});

describe("Ethernet", () => {
  it("decodes what it encodes, and touches nothing else", () => {
    const bytes = poisoned(ETHERNET_HEADER_BYTES + 4);
    writeEthernet(bytes, 2, A, 0, B, 0, EtherType.ipv4);
    expect(bytes).toEqual(hex("a5a5 0242ac103502 0a580afe0001 0800 a5a5"));
    expect(etherType(bytes, 2)).toBe(EtherType.ipv4);
    expect(macsEqual(bytes, 2 + ETHERNET_DST, A, 0)).toBe(true);
    expect(macsEqual(bytes, 2 + ETHERNET_SRC, B, 0)).toBe(true);
  });
});

describe("ARP", () => {
  it("decodes a request", () => {
    expect(isArp(REQUEST, 0, ARP_BYTES)).toBe(true);
    expect(arpOperation(REQUEST, 0)).toBe(ArpOperation.request);
    expect(arpSenderIp(REQUEST, 0)).toBe(0xac103502);
    expect(arpTargetIp(REQUEST, 0)).toBe(0xac103501);
    expect(formatMac(REQUEST, ARP_SENDER_MAC)).toBe("02:42:ac:10:35:02");
    expect(formatMac(REQUEST, ARP_TARGET_MAC)).toBe("00:00:00:00:00:00");
  });

  it("encodes into poisoned bytes", () => {
    const bytes = poisoned(ARP_BYTES + 2);
    writeArp(bytes, 1, ArpOperation.request, A, 0, 0xac103502, new Uint8Array(6), 0, 0xac103501);
    expect(bytes).toEqual(Uint8Array.of(0xa5, ...REQUEST, 0xa5));
  });

  it("refuses every truncated length and allows padding", () => {
    for (let length = 0; length < ARP_BYTES; length++) expect(isArp(REQUEST, 0, length)).toBe(false);
    expect(isArp(Uint8Array.of(...REQUEST, ...poisoned(18)), 0, 46)).toBe(true);
    expect(isArp(REQUEST, 1, ARP_BYTES)).toBe(false);
  });

  it.each([
    ["another hardware type", 1, 6],
    ["another protocol type", 3, 1],
    ["a wrong hardware length", 4, 5],
    ["a wrong protocol length", 5, 16],
    ["an operation that is neither request nor reply", 7, 3],
    ["a group address as sender", 8, 3],
  ])("refuses %s", (_what, at, value) => {
    const bytes = Uint8Array.from(REQUEST);
    bytes[at] = value;
    expect(isArp(bytes, 0, ARP_BYTES)).toBe(false);
  });
});
