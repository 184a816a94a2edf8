/** Writing IPv6 packets: checksums, answers, neighbour discovery. */
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
  isNeighbourMessage,
  MAX_ICMPV6_ERROR_BYTES,
  mayAnswerWithError6,
  NEIGHBOUR_BYTES,
  NEIGHBOUR_TARGET,
  NeighbourFlag,
  neighbourMac,
  PacketView,
  ParseError,
  parseMac,
  parseQuotedIpv6,
  readIpv6Address,
  setU16,
  TcpFlag,
  transportChecksumIsValid,
  turnIntoEchoReply6,
  writeIcmpv6Error,
  writeIpv6Address,
  writeNeighbour,
  writeTcpReset6,
} from "../../src/wire/index.js";
import { hex, payload, poisoned, u16 } from "./helpers.js";
import {
  at,
  common,
  DST,
  echo,
  fragment,
  gateway,
  icmpError,
  packet,
  parsed,
  SRC,
  slowTransportChecksum,
  tcp,
  udp,
} from "./samples6.js";

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
