/** Reading IPv6 packets: headers, extension headers, fragments. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  buildUdp6,
  Icmpv6Type,
  IpProtocol,
  Ipv6Next,
  isFragment,
  PacketView,
  ParseError,
  packetFingerprint,
  parseErrorName,
  TcpFlag,
  transportChecksumIsValid,
} from "../../src/wire/index.js";
import { hex } from "./helpers.js";
import { common, echo, extended, fragment, packet, parse, parsed, samples, tcp, udp } from "./samples6.js";

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
