import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  findTcpOption,
  formatTcpFlags,
  getU16,
  hasIcmpId,
  IcmpType,
  icmpName,
  icmpNextHopMtu,
  isIcmpError,
  setU16,
  setU32,
  TcpFlag,
  TcpOption,
  tcpAck,
  tcpFlags,
  tcpHeaderLength,
  tcpMss,
  tcpSeq,
  tcpWindow,
  UDP_CHECKSUM,
  udpLength,
  writeIcmp,
  writeTcp,
  writeUdp,
} from "../../src/wire/index.js";
import { hex, payload, poisoned, pseudoHeader, slowChecksum, u16, u32 } from "./helpers.js";

const SRC = 0xac103502;
const DST = 0xac104803;

describe("UDP", () => {
  it("encodes around its payload and touches nothing else", () => {
    const bytes = poisoned(14);
    bytes.set(hex("6869"), 9);
    writeUdp(bytes, 1, SRC, DST, 1000, 53, 2);
    expect(udpLength(bytes, 1)).toBe(10);
    expect([...bytes.slice(0, 7)]).toEqual([0xa5, 0x03, 0xe8, 0x00, 0x35, 0x00, 0x0a]);
    expect([...bytes.slice(9)]).toEqual([0x68, 0x69, 0xa5, 0xa5, 0xa5]);
  });

  it("has the slow twin's checksum, and 0xffff for 0", () => {
    fc.assert(
      fc.property(u32, u32, u16, u16, payload, (src, dst, sport, dport, data) => {
        const bytes = Uint8Array.of(...poisoned(8), ...data);
        writeUdp(bytes, 0, src, dst, sport, dport, data.length);
        const sent = getU16(bytes, UDP_CHECKSUM);
        setU16(bytes, UDP_CHECKSUM, 0);
        const right = slowChecksum([...pseudoHeader(src, dst, 17, bytes.length), ...bytes]);
        expect(sent).toBe(right === 0 ? 0xffff : right);
      }),
    );
    const zero = poisoned(8);
    // Addresses and ports chosen so that everything sums to 0xffff.
    writeUdp(zero, 0, 0, 0xffff - 17 - 16, 0, 0, 0);
    expect(getU16(zero, UDP_CHECKSUM)).toBe(0xffff);
  });
});

describe("TCP", () => {
  it("decodes what it encodes", () => {
    const options = hex("020405b4 01030307");
    fc.assert(
      fc.property(u32, u32, u16, fc.nat(255), payload, (seq, ack, window, flags, data) => {
        const bytes = poisoned(28 + data.length + 2);
        bytes.set(options, 21);
        bytes.set(data, 29);
        writeTcp(bytes, 1, SRC, DST, 40000, 80, seq, ack, flags, window, options.length, data.length);
        expect([tcpSeq(bytes, 1), tcpAck(bytes, 1)]).toEqual([seq, ack]);
        expect([tcpFlags(bytes, 1), tcpWindow(bytes, 1), tcpHeaderLength(bytes, 1)]).toEqual([
          flags,
          window,
          28,
        ]);
        expect([bytes[0], bytes.at(-1)]).toEqual([0xa5, 0xa5]);
        const segment = [...bytes.slice(1, -1)];
        expect(slowChecksum([...pseudoHeader(SRC, DST, 6, segment.length), ...segment])).toBe(0);
      }),
    );
  });

  it("writes flags as tcpdump does", () => {
    const { syn, ack, fin, psh, rst } = TcpFlag;
    const texts = [syn, syn | ack, ack, psh | ack, fin | ack, rst, 0, 0xff].map(formatTcpFlags);
    expect(texts).toEqual(["S", "S.", ".", "P.", "F.", "R", "none", "FSRP.UEW"]);
  });

  const header = (options: string) => Uint8Array.of(...poisoned(20), ...hex(options), 0x02, 0x04, 0x11, 0x11);
  const mss = (options: string) => tcpMss(header(options), 0, header(options).length - 4);

  it("finds options", () => {
    const options = "020405b4 0402 080a0000000100000000 01 030307";
    expect(mss(options)).toBe(1460);
    expect(mss("01010402 020405b4")).toBe(1460);
    const bytes = header(options);
    expect(findTcpOption(bytes, 0, 40, TcpOption.sackPermitted)).toBe(24);
    expect(findTcpOption(bytes, 0, 40, TcpOption.timestamps)).toBe(26);
    expect(findTcpOption(bytes, 0, 40, TcpOption.windowScale)).toBe(37);
  });

  it.each([
    ["no options, rubbish behind the header", ""],
    ["end of options in front", "00 000000 020405b4"],
    ["a length of 0 in front", "08000000 020405b4"],
    ["a length of 1", "0201 05b4"],
    ["a length past the header", "020505b4"],
    ["a kind without a length", "010101 02"],
    ["a length that MSS does not have", "0203 0501"],
  ])("finds no MSS with %s", (_what, options) => {
    expect(mss(options)).toBe(0);
  });
});

describe("ICMP", () => {
  it("encodes around its payload", () => {
    const bytes = poisoned(12);
    bytes.set(hex("0102"), 9);
    writeIcmp(bytes, 1, IcmpType.destinationUnreachable, 4, 0, 1472, 2);
    expect(icmpNextHopMtu(bytes, 1)).toBe(1472);
    expect([...bytes.slice(0, 3)]).toEqual([0xa5, 3, 4]);
    expect([...bytes.slice(5)]).toEqual([0, 0, 0x05, 0xc0, 1, 2, 0xa5]);
    expect(slowChecksum([...bytes.slice(1, 11)])).toBe(0);
  });

  it("knows errors from queries; no type is both", () => {
    const types = Array.from({ length: 256 }, (_, type) => type);
    expect(types.filter(isIcmpError)).toEqual([3, 4, 5, 11, 12]);
    expect(types.filter(hasIcmpId)).toEqual([0, 8, 13, 14, 15, 16, 17, 18]);
  });

  it("names messages", () => {
    expect([icmpName(8, 0), icmpName(3, 3), icmpName(3, 99), icmpName(42, 1)]).toEqual([
      "echo request",
      "port unreachable",
      "unreachable",
      "type 42 code 1",
    ]);
  });

  it("reads and writes words that cover each other's edges", () => {
    const bytes = poisoned(6);
    setU32(bytes, 1, 0xfedcba98);
    expect(bytes).toEqual(hex("a5 fedcba98 a5"));
    expect(getU16(bytes, 2)).toBe(0xdcba);
  });
});
