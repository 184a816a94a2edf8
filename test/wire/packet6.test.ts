import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  buildEcho6,
  buildTcp6,
  buildUdp6,
  formatIpv6,
  Icmpv6Type,
  IPV6_DST,
  IPV6_SRC,
  IpProtocol,
  Ipv6Next,
  isFragment,
  isNeighbourMessage,
  MAX_ICMPV6_ERROR_BYTES,
  mayAnswerWithError6,
  NEIGHBOUR_BYTES,
  NEIGHBOUR_TARGET,
  NeighbourFlag,
  neighbourMac,
  PacketView,
  ParseError,
  packetFingerprint,
  parseErrorName,
  parseIpv6,
  parseIpv6Packet,
  parseMac,
  parseQuotedIpv6,
  readIpv6Address,
  setU16,
  TcpFlag,
  transportChecksumIsValid,
  turnIntoEchoReply6,
  Unreachable6Code,
  writeIcmpv6Error,
  writeIpv6Address,
  writeIpv6Fragment,
  writeNeighbour,
  writeTcpReset6,
} from "../../src/wire/index.js";
import { hex, payload, poisoned, slowChecksum, u16 } from "./helpers.js";

const at = (text: string) => parseIpv6(text)!;
const SRC = at("fd00:10:244:1::2");
const DST = at("fd00:10:244:2::9");
const common = { src: SRC, dst: DST, hopLimit: 63, trafficClass: 0x10, flowLabel: 0xabcde };

function packet(build: (bytes: Uint8Array) => number): Uint8Array {
  const bytes = poisoned(3000);
  return bytes.slice(0, build(bytes));
}

function parse(bytes: Uint8Array, view = new PacketView(), length = bytes.length): ParseError {
  return parseIpv6Packet(bytes, 0, length, view);
}

function parsed(bytes: Uint8Array): PacketView {
  const view = new PacketView();
  expect(parseErrorName(parse(bytes, view))).toBe("ok");
  return view;
}

/** The transport checksum over a pseudo-header written byte for byte: 0 when the packet's is right. */
function slowTransportChecksum(bytes: Uint8Array, view: PacketView): number {
  const { l4Offset, l4Length, l3Offset, protocol } = view;
  const addresses = bytes.slice(l3Offset + IPV6_SRC, l3Offset + IPV6_DST + 16);
  const pseudo = [...addresses, 0, 0, l4Length >>> 8, l4Length & 255, 0, 0, 0, protocol];
  return slowChecksum([...pseudo, ...bytes.slice(l4Offset, l4Offset + l4Length)]);
}

const tcp = packet((bytes) =>
  buildTcp6(bytes, 0, {
    ...common,
    sport: 40000,
    dport: 80,
    flags: TcpFlag.syn,
    seq: 0xfffffff0,
    options: hex("020405a0"),
    payload: hex("474554"),
  }),
);
const udp = packet((bytes) =>
  buildUdp6(bytes, 0, { ...common, sport: 1234, dport: 53, payload: hex("0102") }),
);
const echo = packet((bytes) =>
  buildEcho6(bytes, 0, { ...common, icmpId: 99, icmpSeq: 3, payload: hex("61") }),
);
const hopByHop = hex("3c00 0502 0000 0100");
const destinationOptions = hex("1100 0104 0000 0000");
const extended = packet((bytes) =>
  buildUdp6(bytes, 0, {
    ...common,
    sport: 1234,
    dport: 53,
    payload: hex("0102"),
    extensions: {
      nextHeader: Ipv6Next.hopByHop,
      bytes: Uint8Array.from([...hopByHop, ...destinationOptions]),
    },
  }),
);
const gateway = new Uint8Array(16);
writeIpv6Address(gateway, 0, at("fd00:10:244:1::1"));
const icmpError = packet((bytes) =>
  writeIcmpv6Error(
    bytes,
    0,
    udp,
    parsed(udp),
    Icmpv6Type.destinationUnreachable,
    Unreachable6Code.port,
    0,
    gateway,
    0,
    64,
  ),
);
const samples = { tcp, udp, echo, extended, icmpError };

/** A packet whose only extension header is a fragment header. */
function fragment(offset: number, more: boolean, nextHeader: number, body: Uint8Array, id = 7): Uint8Array {
  const header = new Uint8Array(8);
  writeIpv6Fragment(header, 0, nextHeader, offset, more, id);
  const bytes = packet((out) =>
    buildUdp6(out, 0, {
      ...common,
      sport: 0,
      dport: 0,
      extensions: { nextHeader: Ipv6Next.fragment, bytes: header },
    }),
  ).slice(0, 48);
  setU16(bytes, 4, 8 + body.length);
  return Uint8Array.from([...bytes, ...body]);
}

describe("parseIpv6Packet", () => {
  it("reads what the builders wrote", () => {
    expect(parsed(tcp)).toMatchObject({
      version: 6,
      l3Length: tcp.length,
      headerLength: 40,
      protocol: IpProtocol.tcp,
      ttl: 63,
      tos: 0x10,
      dontFragment: 1,
      l4Offset: 40,
      sport: 40000,
      dport: 80,
      tcpFlags: TcpFlag.syn,
      tcpSeq: 0xfffffff0,
      tcpHeaderLength: 24,
      payloadOffset: 64,
      payloadLength: 3,
    });
    expect(parsed(udp)).toMatchObject({ protocol: IpProtocol.udp, sport: 1234, dport: 53, payloadLength: 2 });
    expect(parsed(echo)).toMatchObject({ icmpType: Icmpv6Type.echoRequest, icmpId: 99, icmpSeq: 3 });
  });

  it("reads a ping that Linux sent", () => {
    // `ping -6 -c1 -s8 ::1` as tcpdump saw it on lo.
    const bytes = hex(
      "600e0a4100103a400000000000000000000000000000000100000000000000000000000000000001800008d76acb00010001020304050607",
    );
    expect(parsed(bytes)).toMatchObject({ icmpType: Icmpv6Type.echoRequest, icmpSeq: 1, payloadLength: 8 });
    expect(transportChecksumIsValid(bytes, parsed(bytes))).toBe(true);
  });

  it("follows extension headers to the transport header", () => {
    expect(parsed(extended)).toMatchObject({
      protocol: IpProtocol.udp,
      headerLength: 56,
      l4Offset: 56,
      sport: 1234,
      payloadLength: 2,
    });
  });

  it("rejects every truncated length", () => {
    for (const bytes of Object.values(samples)) {
      for (let length = 0; length < bytes.length; length++) {
        expect(parse(bytes.slice(0, length))).not.toBe(ParseError.ok);
        expect(parse(bytes, new PacketView(), length)).not.toBe(ParseError.ok);
      }
    }
  });

  it("leaves padding out", () => {
    const padded = Uint8Array.from([...udp, 0, 0, 0, 0]);
    expect(parsed(padded)).toMatchObject({ l3Length: udp.length, payloadLength: 2 });
  });

  it("never throws and never reads behind the end, whatever the bytes", () => {
    const sample = fc.constantFrom(...Object.values(samples));
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(sample, fc.array(change, { maxLength: 6 }), fc.nat(), (bytes, changes, cut) => {
        const mutated = bytes.slice();
        for (const [where, value] of changes) mutated[where % mutated.length] = value;
        const length = cut % (mutated.length + 1);
        const alone = new PacketView();
        const error = parse(mutated.slice(0, length), alone);
        const inFront = new PacketView();
        expect(parse(mutated, inFront, length)).toBe(error);
        if (error !== ParseError.ok) return;
        expect({ ...inFront }).toEqual({ ...alone });
        expect(alone.payloadOffset + alone.payloadLength).toBeLessThanOrEqual(length);
        expect(alone.payloadLength).toBeGreaterThanOrEqual(0);
        transportChecksumIsValid(mutated, alone);
        packetFingerprint(mutated.slice(0, length), alone);
      }),
      { numRuns: 5000 },
    );
  });

  it("refuses headers that would lead past its checks", () => {
    const errorOf = (change: (bytes: Uint8Array) => void, from = extended) => {
      const bytes = from.slice();
      change(bytes);
      return parseErrorName(parse(bytes));
    };
    expect(errorOf((bytes) => (bytes[0] = 0x45))).toBe("bad-version");
    // Hop-by-hop options behind another header.
    expect(errorOf((bytes) => (bytes[40] = Ipv6Next.hopByHop))).toBe("bad-options");
    // A routing header that is not used up, and one that is.
    const routing = (left: number) => (bytes: Uint8Array) => {
      bytes[40] = Ipv6Next.routing;
      bytes[51] = left;
    };
    expect(errorOf(routing(1))).toBe("bad-options");
    expect(errorOf(routing(0))).toBe("ok");
    expect(errorOf((bytes) => (bytes[49] = 200))).toBe("truncated");
    expect(errorOf((bytes) => bytes.fill(0, 46, 48), udp)).toBe("missing-checksum");
  });

  it("gives up on a chain of more than eight headers", () => {
    const chain = (headers: number) => {
      const bytes = new Uint8Array(8 * headers);
      for (let i = 0; i < headers; i++)
        bytes[8 * i] = i === headers - 1 ? IpProtocol.udp : Ipv6Next.destination;
      return packet((out) =>
        buildUdp6(out, 0, {
          ...common,
          sport: 1,
          dport: 2,
          extensions: { nextHeader: Ipv6Next.destination, bytes },
        }),
      );
    };
    expect(parse(chain(8))).toBe(ParseError.ok);
    expect(parse(chain(9))).toBe(ParseError.badOptions);
  });

  it("reads the authentication header's own length unit, and leaves ESP alone", () => {
    const authentication = hex("1104 0000 00000001 00000001 000000000000000000000000");
    const bytes = packet((out) =>
      buildUdp6(out, 0, {
        ...common,
        sport: 5,
        dport: 6,
        extensions: { nextHeader: Ipv6Next.authentication, bytes: authentication },
      }),
    );
    expect(parsed(bytes)).toMatchObject({ protocol: IpProtocol.udp, headerLength: 64, dport: 6 });
    const esp = udp.slice();
    esp[6] = Ipv6Next.encapsulatingSecurity;
    expect(parsed(esp)).toMatchObject({ protocol: Ipv6Next.encapsulatingSecurity, sport: 0 });
  });
});

describe("fragments", () => {
  it("tell their place, and carry no ports behind the first", () => {
    const first = parsed(
      fragment(0, true, IpProtocol.udp, Uint8Array.from([...udp.slice(40, 48), ...new Uint8Array(8)]), 99),
    );
    expect(first).toMatchObject({ fragmentOffset: 0, moreFragments: 1, id: 99, sport: 1234, l4Offset: 48 });
    expect(isFragment(first)).toBe(true);
    const later = parsed(fragment(16, false, IpProtocol.udp, new Uint8Array(8), 99));
    expect(later).toMatchObject({
      fragmentOffset: 16,
      moreFragments: 0,
      id: 99,
      sport: 0,
      protocol: IpProtocol.udp,
    });
  });

  it("that are the whole packet are none (RFC 6946)", () => {
    expect(isFragment(parsed(fragment(0, false, IpProtocol.udp, udp.slice(40))))).toBe(false);
  });

  it("hold the whole header in the first (RFC 7112), and fit a packet together", () => {
    expect(parse(fragment(0, true, IpProtocol.tcp, tcp.slice(40, 56)))).toBe(ParseError.truncatedTransport);
    expect(parse(fragment(65528, false, IpProtocol.udp, new Uint8Array(16)))).toBe(ParseError.badFragment);
  });
});

describe("checksums", () => {
  it("cover the addresses, whatever the payload", () => {
    fc.assert(
      fc.property(u16, u16, payload, (sport, dport, body) => {
        for (const bytes of [
          packet((out) => buildUdp6(out, 0, { ...common, sport, dport, payload: body })),
          packet((out) => buildTcp6(out, 0, { ...common, sport, dport, flags: TcpFlag.ack, payload: body })),
          packet((out) => buildEcho6(out, 0, { ...common, icmpId: sport, icmpSeq: dport, payload: body })),
        ]) {
          const view = parsed(bytes);
          expect(slowTransportChecksum(bytes, view)).toBe(0);
          expect(transportChecksumIsValid(bytes, view)).toBe(true);
          bytes[IPV6_DST + 15] ^= 1;
          expect(transportChecksumIsValid(bytes, view)).toBe(false);
        }
      }),
    );
  });
});

describe("answers", () => {
  it("an echo reply goes back with a right checksum", () => {
    const bytes = echo.slice();
    turnIntoEchoReply6(bytes, parsed(bytes), 64);
    const view = parsed(bytes);
    expect(view).toMatchObject({ icmpType: Icmpv6Type.echoReply, icmpId: 99, icmpSeq: 3, ttl: 64 });
    expect(readIpv6Address(bytes, IPV6_SRC)).toBe(DST);
    expect(readIpv6Address(bytes, IPV6_DST)).toBe(SRC);
    expect(transportChecksumIsValid(bytes, view)).toBe(true);
  });

  it("an error quotes as much as fits the least MTU", () => {
    const large = packet((out) =>
      buildUdp6(out, 0, { ...common, sport: 1, dport: 2, payload: new Uint8Array(1400) }),
    );
    const bytes = packet((out) =>
      writeIcmpv6Error(out, 0, large, parsed(large), Icmpv6Type.packetTooBig, 0, 1400, gateway, 0, 64),
    );
    expect(bytes.length).toBe(MAX_ICMPV6_ERROR_BYTES);
    const view = parsed(bytes);
    expect(transportChecksumIsValid(bytes, view)).toBe(true);
    expect(formatIpv6(readIpv6Address(bytes, IPV6_SRC))).toBe("fd00:10:244:1::1");
    expect(readIpv6Address(bytes, IPV6_DST)).toBe(SRC);
    expect(bytes.slice(44, 48)).toEqual(hex("00000578"));
    const quoted = new PacketView();
    expect(parseQuotedIpv6(bytes, view, quoted)).toBe(ParseError.ok);
    expect(quoted).toMatchObject({ protocol: IpProtocol.udp, sport: 1, dport: 2 });
  });

  it("reads a quoted packet down to 8 bytes of its transport header", () => {
    for (let kept = 0; kept <= udp.length; kept++) {
      const cut = icmpError.slice(0, 48 + kept);
      setU16(cut, 4, 8 + kept);
      const view = parsed(cut);
      const error = parseQuotedIpv6(cut, view, new PacketView());
      expect(error === ParseError.ok).toBe(kept >= 48);
    }
  });

  it("are not given to errors, groups, or nobody (RFC 4443 §2.4)", () => {
    const may = (bytes: Uint8Array, type: Icmpv6Type = Icmpv6Type.destinationUnreachable) =>
      mayAnswerWithError6(bytes, parsed(bytes), type);
    expect(may(udp)).toBe(true);
    expect(may(echo)).toBe(true);
    expect(may(icmpError)).toBe(false);
    const toGroup = packet((out) => buildUdp6(out, 0, { ...common, dst: at("ff02::1"), sport: 1, dport: 2 }));
    expect(may(toGroup)).toBe(false);
    expect(may(toGroup, Icmpv6Type.packetTooBig)).toBe(true);
    const fromNobody = packet((out) => buildUdp6(out, 0, { ...common, src: 0n, sport: 1, dport: 2 }));
    expect(may(fromNobody)).toBe(false);
    expect(may(fragment(16, false, IpProtocol.udp, new Uint8Array(8)))).toBe(false);
  });

  it("a reset refuses a SYN by acknowledging it", () => {
    const bytes = packet((out) => writeTcpReset6(out, 0, tcp, parsed(tcp), 64));
    const view = parsed(bytes);
    expect(view).toMatchObject({
      sport: 80,
      dport: 40000,
      tcpSeq: 0,
      tcpAck: 0xfffffff4,
      tcpFlags: TcpFlag.rst | TcpFlag.ack,
    });
    expect(transportChecksumIsValid(bytes, view)).toBe(true);
  });
});

describe("neighbour discovery", () => {
  const mac = parseMac("02:42:ac:10:01:02")!;
  const addresses = new Uint8Array(48);
  const [from, to, target] = [0, 16, 32];
  writeIpv6Address(addresses, from, SRC);
  writeIpv6Address(addresses, to, at("ff02::1:ff00:9"));
  writeIpv6Address(addresses, target, DST);

  function message(
    type: typeof Icmpv6Type.neighbourSolicitation | typeof Icmpv6Type.neighbourAdvertisement,
    flags = 0,
    ends = addresses,
  ): Uint8Array {
    const bytes = poisoned(NEIGHBOUR_BYTES + 10);
    writeNeighbour(bytes, 0, type, flags, ends, from, ends, to, ends, target, mac);
    expect(bytes[NEIGHBOUR_BYTES]).toBe(0xa5);
    return bytes.slice(0, NEIGHBOUR_BYTES);
  }

  it("asks and answers with a MAC", () => {
    const bytes = message(Icmpv6Type.neighbourSolicitation);
    const view = parsed(bytes);
    expect(isNeighbourMessage(bytes, view)).toBe(true);
    expect(transportChecksumIsValid(bytes, view)).toBe(true);
    expect(readIpv6Address(bytes, view.l4Offset + NEIGHBOUR_TARGET)).toBe(DST);
    expect(bytes.slice(neighbourMac(bytes, view)).slice(0, 6)).toEqual(mac);
  });

  it("is refused when a router may have passed it on, or it contradicts itself (RFC 4861 §7.1)", () => {
    const { neighbourSolicitation, neighbourAdvertisement } = Icmpv6Type;
    const isValid = (bytes: Uint8Array) => isNeighbourMessage(bytes, parsed(bytes));
    const changed = (bytes: Uint8Array, change: (bytes: Uint8Array) => void) => {
      change(bytes);
      return isValid(bytes);
    };
    expect(changed(message(neighbourSolicitation), (bytes) => (bytes[7] = 254))).toBe(false);
    expect(changed(message(neighbourSolicitation), (bytes) => (bytes[41] = 1))).toBe(false);
    expect(changed(message(neighbourSolicitation), (bytes) => (bytes[48] = 0xff))).toBe(false);
    expect(changed(message(neighbourSolicitation), (bytes) => (bytes[65] = 0))).toBe(false);
    expect(changed(message(neighbourSolicitation), (bytes) => (bytes[65] = 2))).toBe(false);
    // To a group, an advertisement is not solicited; a solicitation from nobody has no MAC.
    expect(isValid(message(neighbourAdvertisement, NeighbourFlag.override))).toBe(true);
    expect(isValid(message(neighbourAdvertisement, NeighbourFlag.solicited))).toBe(false);
    const nobody = addresses.slice();
    nobody.fill(0, from, from + 16);
    expect(isValid(message(neighbourSolicitation, 0, nobody))).toBe(false);
    const detection = message(neighbourSolicitation, 0, nobody).slice(0, 64);
    setU16(detection, 4, 24);
    expect(isValid(detection)).toBe(true);
    expect(isValid(echo)).toBe(false);
  });
});
