import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  buildEcho,
  buildFragment,
  buildTcp,
  buildUdp,
  IpProtocol,
  isFragment,
  PacketView,
  ParseError,
  packetFingerprint,
  parseEmbeddedIpv4,
  parseErrorName,
  parseIpv4Packet,
  setU16,
  TcpFlag,
  transportChecksumIsValid,
  UnreachableCode,
  writeIcmpError,
  writeIpv4Checksum,
} from "../../src/wire/index.js";
import { fieldsOf, hex, payload, poisoned, u8, u16, u32 } from "./helpers.js";

const SRC = 0xac103502;
const DST = 0xac104803;
const common = { src: SRC, dst: DST, ttl: 63, tos: 0x10, id: 77 };

function packet(build: (bytes: Uint8Array) => number): Uint8Array {
  const bytes = poisoned(2000);
  return bytes.slice(0, build(bytes));
}

const tcp = packet((bytes) =>
  buildTcp(bytes, 0, {
    ...common,
    sport: 40000,
    dport: 80,
    flags: TcpFlag.syn,
    seq: 0xfffffff0,
    options: hex("020405b4"),
    payload: hex("474554"),
  }),
);
const udp = packet((bytes) =>
  buildUdp(bytes, 0, { ...common, sport: 1234, dport: 53, payload: hex("0102") }),
);
const echo = packet((bytes) =>
  buildEcho(bytes, 0, { ...common, icmpId: 99, icmpSeq: 3, payload: hex("61") }),
);
const icmpError = packet((bytes) => {
  const view = new PacketView();
  parseIpv4Packet(udp, 0, udp.length, view);
  return writeIcmpError(bytes, 0, udp, view, 3, UnreachableCode.port, 0, 0x0a00000b, 64, 5);
});
const samples = { tcp, udp, echo, icmpError };

function parse(bytes: Uint8Array, view = new PacketView(), verify = true): ParseError {
  return parseIpv4Packet(bytes, 0, bytes.length, view, verify);
}

/** A copy with some bytes changed and the header checksum made right again. */
function changed(bytes: Uint8Array, change: (copy: Uint8Array) => void): Uint8Array {
  const copy = Uint8Array.from(bytes);
  change(copy);
  writeIpv4Checksum(copy, 0, Math.max(20, (copy[0] & 15) * 4));
  return copy;
}

describe("parsing", () => {
  it("reads a TCP packet with options", () => {
    const view = new PacketView();
    expect(parse(tcp, view)).toBe(ParseError.ok);
    expect(fieldsOf(view)).toEqual({
      ...{
        version: 4,
        l3Offset: 0,
        l3Length: 47,
        headerLength: 20,
        protocol: 6,
        src: SRC,
        dst: DST,
        ttl: 63,
        tos: 0x10,
        id: 77,
      },
      ...{
        fragmentOffset: 0,
        moreFragments: 0,
        dontFragment: 0,
        l4Offset: 20,
        l4Length: 27,
        sport: 40000,
        dport: 80,
      },
      ...{ tcpFlags: 2, tcpSeq: 0xfffffff0, tcpAck: 0, tcpWindow: 64240, tcpHeaderLength: 24 },
      ...{ icmpType: 0, icmpCode: 0, icmpId: 0, icmpSeq: 0, payloadOffset: 44, payloadLength: 3 },
    });
    expect(transportChecksumIsValid(tcp, view)).toBe(true);
  });

  it("leaves nothing of the packet before in the view", () => {
    const view = new PacketView();
    for (const bytes of Object.values(samples)) {
      const fresh = new PacketView();
      parse(bytes, fresh);
      expect(parse(bytes, view)).toBe(ParseError.ok);
      expect(fieldsOf(view)).toEqual(fieldsOf(fresh));
    }
  });

  it("reads what was built, at any offset", () => {
    fc.assert(
      fc.property(
        u32,
        u32,
        u8,
        u16,
        u16,
        u16,
        payload,
        fc.boolean(),
        (src, dst, ttl, id, sport, dport, data, dont) => {
          const bytes = poisoned(300);
          const fields = { src, dst, ttl, id, sport, dport, payload: data, dontFragment: dont };
          const length = buildUdp(bytes, 17, fields);
          const view = new PacketView();
          expect(parseIpv4Packet(bytes, 17, length, view)).toBe(ParseError.ok);
          expect(view).toMatchObject({ src, dst, ttl, id, sport, dport, dontFragment: dont ? 1 : 0 });
          expect(bytes.slice(view.payloadOffset, view.payloadOffset + view.payloadLength)).toEqual(data);
          expect(transportChecksumIsValid(bytes, view)).toBe(true);
          expect([...bytes.slice(0, 17), ...bytes.slice(17 + length)].every((byte) => byte === 0xa5)).toBe(
            true,
          );
        },
      ),
    );
  });

  it("reads echo identifiers, and none in errors", () => {
    const view = new PacketView();
    parse(echo, view);
    expect(view).toMatchObject({ icmpType: 8, icmpId: 99, icmpSeq: 3, payloadLength: 1, sport: 0 });
    parse(icmpError, view);
    expect(view).toMatchObject({ icmpType: 3, icmpCode: 3, icmpId: 0, icmpSeq: 0 });
  });

  it("skips IP options", () => {
    const bytes = Uint8Array.of(...udp.slice(0, 20), ...hex("94040000"), ...udp.slice(20));
    bytes[0] = 0x46;
    setU16(bytes, 2, bytes.length);
    writeIpv4Checksum(bytes, 0, 24);
    const view = new PacketView();
    expect(parse(bytes, view)).toBe(ParseError.ok);
    expect(view).toMatchObject({ headerLength: 24, l4Offset: 24, dport: 53, payloadLength: 2 });
  });

  it("leaves Ethernet padding out", () => {
    const view = new PacketView();
    expect(parse(Uint8Array.of(...udp, ...poisoned(18)), view)).toBe(ParseError.ok);
    expect(view).toMatchObject({ l3Length: udp.length, payloadLength: 2 });
  });

  it("lets other protocols through unparsed", () => {
    const view = new PacketView();
    expect(
      parse(
        changed(udp, (copy) => (copy[9] = 47)),
        view,
      ),
    ).toBe(ParseError.ok);
    expect(view).toMatchObject({ protocol: 47, sport: 0, payloadOffset: 20, payloadLength: 10 });
    expect(transportChecksumIsValid(udp, view)).toBe(true);
  });

  it("parses no L4 header in a fragment that is not the first", () => {
    const bytes = packet((out) =>
      buildFragment(out, 0, IpProtocol.udp, 1480, true, { ...common, payload: hex("ffffffffffffffff") }),
    );
    const view = new PacketView();
    expect(parse(bytes, view)).toBe(ParseError.ok);
    expect(view).toMatchObject({
      fragmentOffset: 1480,
      moreFragments: 1,
      sport: 0,
      dport: 0,
      payloadLength: 8,
    });
    expect(isFragment(view)).toBe(true);
  });

  it("takes the UDP length of a first fragment for the whole datagram's", () => {
    const first = (moreFragments: boolean) =>
      packet((out) =>
        buildFragment(out, 0, IpProtocol.udp, 0, moreFragments, {
          ...common,
          payload: hex("0400003502000000 0102030405060708"),
        }),
      );
    const view = new PacketView();
    expect(parse(first(true), view)).toBe(ParseError.ok);
    expect(view).toMatchObject({ sport: 1024, dport: 53, payloadLength: 8 });
    expect(parse(first(false))).toBe(ParseError.badUdpLength);
  });
});

describe("lies are refused", () => {
  it.each(Object.entries(samples))("every truncated length of %s", (_name, bytes) => {
    for (let length = 0; length < bytes.length; length++) {
      expect(parseIpv4Packet(bytes, 0, length, new PacketView())).not.toBe(ParseError.ok);
    }
    expect(parseIpv4Packet(bytes, 1, bytes.length, new PacketView())).toBe(ParseError.truncated);
    expect(parseIpv4Packet(bytes, -1, bytes.length, new PacketView())).toBe(ParseError.truncated);
  });

  it.each(Object.entries(samples))("every total length of %s that leaves no room for L4", (_name, bytes) => {
    for (let total = 0; total < 28; total++) {
      const error = parse(changed(bytes, (copy) => setU16(copy, 2, total)));
      expect(error).toBe(total < 20 ? ParseError.badTotalLength : ParseError.truncatedTransport);
    }
  });

  const lies: [string, ParseError, Uint8Array, (copy: Uint8Array) => void][] = [
    ["version 6", ParseError.badVersion, udp, (copy) => (copy[0] = 0x65)],
    ["a header of 16 bytes", ParseError.badHeaderLength, udp, (copy) => (copy[0] = 0x44)],
    ["a header longer than the bytes", ParseError.truncated, udp, (copy) => (copy[0] = 0x4f)],
    ["a total length inside the header", ParseError.badTotalLength, udp, (copy) => setU16(copy, 2, 19)],
    ["a total length past the bytes", ParseError.truncated, udp, (copy) => setU16(copy, 2, copy.length + 1)],
    ["a fragment past 65535", ParseError.badFragment, udp, (copy) => setU16(copy, 6, 0x1fff)],
    [
      "options without room",
      ParseError.badOptions,
      udp,
      (copy) => copy.set([0x46, ...copy.slice(1, 20), 7, 5]),
    ],
    ["a TCP header of 16 bytes", ParseError.badTcpHeaderLength, tcp, (copy) => (copy[32] = 0x40)],
    ["a TCP header past the packet", ParseError.badTcpHeaderLength, tcp, (copy) => (copy[32] = 0x70)],
    ["a UDP length of 7", ParseError.badUdpLength, udp, (copy) => setU16(copy, 24, 7)],
    ["a UDP length past the packet", ParseError.badUdpLength, udp, (copy) => setU16(copy, 24, 11)],
  ];
  it.each(lies)("%s", (_what, error, bytes, change) => {
    expect(parseErrorName(parse(changed(bytes, change)))).toBe(parseErrorName(error));
  });

  it("a wrong header checksum, unless the caller does not care", () => {
    const bytes = Uint8Array.from(udp);
    bytes[8]--;
    expect(parse(bytes)).toBe(ParseError.badHeaderChecksum);
    expect(parse(bytes, new PacketView(), false)).toBe(ParseError.ok);
  });

  it("has a name for each code", () => {
    const names = Object.values(ParseError).map(parseErrorName);
    expect(new Set(names).size).toBe(names.length);
    expect(names).not.toContain(undefined);
  });
});

describe("rubbish", () => {
  it.each(Object.entries(samples))(
    "made of %s never throws and is never read past its end",
    (_name, sample) => {
      const mutations = fc.array(fc.tuple(fc.nat(sample.length - 1), u8), { maxLength: 6 });
      fc.assert(
        fc.property(mutations, fc.nat(sample.length), fc.boolean(), (list, cut, verify) => {
          const length = sample.length - cut;
          const results = [0x00, 0xff].map((guard) => {
            const bytes = poisoned(sample.length + 70, guard);
            bytes.set(sample.subarray(0, length));
            for (const [at, value] of list) if (at < length) bytes[at] = value;
            const view = new PacketView();
            const error = parseIpv4Packet(bytes, 0, length, view, verify);
            const quoted = new PacketView();
            const quotedError = parseEmbeddedIpv4(
              bytes,
              Math.min(28, length),
              length - Math.min(28, length),
              quoted,
            );
            if (error !== ParseError.ok) return { error, quotedError };
            const valid = transportChecksumIsValid(bytes, view) || isFragment(view);
            return { error, quotedError, ...view, fingerprint: packetFingerprint(bytes, view), valid };
          });
          expect(results[0]).toEqual(results[1]);
        }),
        { numRuns: 300 },
      );
    },
  );
});
