import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  buildEcho,
  buildFragment,
  buildTcp,
  buildUdp,
  formatTcpFlags,
  IPV4_BROADCAST,
  IpProtocol,
  icmpNextHopMtu,
  MAX_ICMP_ERROR_BYTES,
  mayAnswerWithError,
  PacketView,
  ParseError,
  parseIpv4Packet,
  parseQuotedPacket,
  TCP_RESET_BYTES,
  TcpFlag,
  transportChecksumIsValid,
  turnIntoEchoReply,
  type UdpFields,
  writeIcmpError,
  writeTcpReset,
} from "../../src/wire/index.js";
import { hex, payload, poisoned, u8, u16, u32 } from "./helpers.js";

const fields: UdpFields = { src: 0x0a000001, dst: 0x0a000002, sport: 4000, dport: 9 };

function parsed(bytes: Uint8Array, length: number): PacketView {
  const view = new PacketView();
  expect(parseIpv4Packet(bytes, 0, length, view)).toBe(ParseError.ok);
  return view;
}

describe("an echo reply", () => {
  it("is the request turned round", () => {
    fc.assert(
      fc.property(u32, u32, u8, u16, u16, payload, (src, dst, ttl, icmpId, icmpSeq, data) => {
        const bytes = poisoned(200);
        const length = buildEcho(bytes, 0, { src, dst, ttl, icmpId, icmpSeq, payload: data });
        turnIntoEchoReply(bytes, parsed(bytes, length), 64);
        const expected = poisoned(200);
        buildEcho(expected, 0, { src: dst, dst: src, ttl: 64, icmpId, icmpSeq, payload: data, reply: true });
        expect(bytes).toEqual(expected);
      }),
    );
  });
});

it("an echo reply of zeros alone has a checksum that receivers take", () => {
  const bytes = poisoned(200);
  const length = buildEcho(bytes, 0, { src: 1, dst: 2, icmpId: 0, icmpSeq: 0 });
  turnIntoEchoReply(bytes, parsed(bytes, length), 64);
  expect(transportChecksumIsValid(bytes, parsed(bytes, length))).toBe(true);
});

describe("an ICMP error", () => {
  it("quotes the packet it is about and comes from the node", () => {
    const bytes = poisoned(2000);
    const about = parsed(bytes, buildUdp(bytes, 0, { ...fields, tos: 0x08, payload: hex("01020304") }));
    const out = poisoned(700);
    const length = writeIcmpError(out, 0, bytes, about, 3, 4, 1472, 0x0a0000fe, 64, 9);
    const error = parsed(out, length);
    expect(error).toMatchObject({
      src: 0x0a0000fe,
      dst: fields.src,
      tos: 0xc8,
      ttl: 64,
      id: 9,
      icmpType: 3,
      icmpCode: 4,
    });
    expect(transportChecksumIsValid(out, error)).toBe(true);
    expect(icmpNextHopMtu(out, error.l4Offset)).toBe(1472);
    const quoted = new PacketView();
    expect(parseQuotedPacket(out, error, quoted)).toBe(ParseError.ok);
    expect(quoted).toMatchObject({
      src: fields.src,
      dst: fields.dst,
      sport: 4000,
      dport: 9,
      payloadLength: 4,
    });
    expect(out[length]).toBe(0xa5);
  });

  it("quotes what fits 576 bytes", () => {
    const bytes = poisoned(2000);
    const about = parsed(bytes, buildUdp(bytes, 0, { ...fields, payload: poisoned(1400, 1) }));
    const out = poisoned(700);
    const length = writeIcmpError(out, 0, bytes, about, 11, 0, 0, 0x0a0000fe, 64, 9);
    expect(length).toBe(MAX_ICMP_ERROR_BYTES);
    const quoted = new PacketView();
    expect(parseQuotedPacket(out, parsed(out, length), quoted)).toBe(ParseError.ok);
    expect(quoted).toMatchObject({ l3Length: 1428, l4Length: 528, payloadLength: 520 });
  });

  it("may quote 8 bytes behind the IP header and no fewer", () => {
    const bytes = poisoned(100);
    const length = buildTcp(bytes, 0, { ...fields, flags: TcpFlag.ack, seq: 77, payload: hex("0102") });
    const about = parsed(bytes, length);
    for (let kept = 0; kept <= about.l4Length; kept++) {
      const out = poisoned(200);
      const cut = Object.assign(new PacketView(), about, { l4Length: kept });
      const errorLength = writeIcmpError(out, 0, bytes, cut, 11, 0, 0, 1, 64, 0);
      const quoted = new PacketView();
      const result = parseQuotedPacket(out, parsed(out, errorLength), quoted);
      expect(result).toBe(kept < 8 ? ParseError.truncatedTransport : ParseError.ok);
      if (kept >= 8) expect(quoted).toMatchObject({ sport: 4000, dport: 9, tcpSeq: 77, l4Length: kept });
      if (kept >= 8) expect(quoted.tcpFlags).toBe(kept < 20 ? 0 : TcpFlag.ack);
    }
  });

  it("is not sent about errors, later fragments, broadcast, multicast or nobody's packet", () => {
    const may = (change: Partial<UdpFields>) => {
      const bytes = poisoned(100);
      return mayAnswerWithError(parsed(bytes, buildUdp(bytes, 0, { ...fields, ...change })));
    };
    expect(may({})).toBe(true);
    expect(may({ dst: IPV4_BROADCAST })).toBe(false);
    expect(may({ dst: 0xe0000001 })).toBe(false);
    expect(may({ src: 0 })).toBe(false);
    expect(may({ src: 0x7f000001 })).toBe(true);
    expect(may({ src: 0xe0000001 })).toBe(false);
    const bytes = poisoned(200);
    const later = { ...fields, payload: hex("0102030405060708") };
    expect(mayAnswerWithError(parsed(bytes, buildFragment(bytes, 0, IpProtocol.udp, 8, false, later)))).toBe(
      false,
    );
    const about = parsed(bytes, buildUdp(bytes, 0, fields));
    const out = poisoned(100);
    expect(mayAnswerWithError(parsed(out, writeIcmpError(out, 0, bytes, about, 3, 3, 0, 1, 64, 0)))).toBe(
      false,
    );
    expect(mayAnswerWithError(parsed(out, buildEcho(out, 0, { ...fields, icmpId: 1, icmpSeq: 1 })))).toBe(
      true,
    );
  });
});

describe("a TCP reset", () => {
  const reset = (flags: number, ack: number, data: Uint8Array) => {
    const bytes = poisoned(200);
    const about = parsed(
      bytes,
      buildTcp(bytes, 0, { ...fields, flags, seq: 0xffffffff, ack, payload: data }),
    );
    const out = poisoned(60);
    expect(writeTcpReset(out, 0, about, 64, 3)).toBe(TCP_RESET_BYTES);
    const view = parsed(out, TCP_RESET_BYTES);
    expect(transportChecksumIsValid(out, view)).toBe(true);
    expect(view).toMatchObject({ src: fields.dst, dst: fields.src, sport: 9, dport: 4000, payloadLength: 0 });
    return [formatTcpFlags(view.tcpFlags), view.tcpSeq, view.tcpAck];
  };

  it("acknowledges a segment that acknowledges nothing, across the end of the sequence space", () => {
    expect(reset(TcpFlag.syn, 0, hex(""))).toEqual(["R.", 0, 0]);
    expect(reset(TcpFlag.syn | TcpFlag.fin, 0, hex("010203"))).toEqual(["R.", 0, 4]);
  });

  it("takes its sequence number from the acknowledgement otherwise", () => {
    expect(reset(TcpFlag.ack, 1234, hex("01"))).toEqual(["R", 1234, 0]);
  });
});
