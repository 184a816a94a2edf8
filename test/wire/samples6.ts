/** IPv6 packets that the tests read, cut and answer. */
import { expect } from "vitest";
import {
  buildEcho6,
  buildTcp6,
  buildUdp6,
  Icmpv6Type,
  IPV6_DST,
  IPV6_SRC,
  Ipv6Next,
  PacketView,
  type ParseError,
  parseErrorName,
  parseIpv6,
  parseIpv6Packet,
  setU16,
  TcpFlag,
  Unreachable6Code,
  writeIcmpv6Error,
  writeIpv6Address,
  writeIpv6Fragment,
} from "../../src/wire/index.js";
import { hex, poisoned, slowChecksum } from "./helpers.js";

export const at = (text: string) => parseIpv6(text)!;
export const SRC = at("fd00:10:244:1::2");
export const DST = at("fd00:10:244:2::9");
export const common = { src: SRC, dst: DST, hopLimit: 63, trafficClass: 0x10, flowLabel: 0xabcde };

export function packet(build: (bytes: Uint8Array) => number): Uint8Array {
  const bytes = poisoned(3000);
  return bytes.slice(0, build(bytes));
}

export function parse(bytes: Uint8Array, view = new PacketView(), length = bytes.length): ParseError {
  return parseIpv6Packet(bytes, 0, length, view);
}

export function parsed(bytes: Uint8Array): PacketView {
  const view = new PacketView();
  expect(parseErrorName(parse(bytes, view))).toBe("ok");
  return view;
}

/** The transport checksum over a pseudo-header written byte for byte: 0 when the packet's is right. */
export function slowTransportChecksum(bytes: Uint8Array, view: PacketView): number {
  const { l4Offset, l4Length, l3Offset, protocol } = view;
  const addresses = bytes.slice(l3Offset + IPV6_SRC, l3Offset + IPV6_DST + 16);
  const pseudo = [...addresses, 0, 0, l4Length >>> 8, l4Length & 255, 0, 0, 0, protocol];
  return slowChecksum([...pseudo, ...bytes.slice(l4Offset, l4Offset + l4Length)]);
}

export const tcp = packet((bytes) =>
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
export const udp = packet((bytes) =>
  buildUdp6(bytes, 0, { ...common, sport: 1234, dport: 53, payload: hex("0102") }),
);
export const echo = packet((bytes) =>
  buildEcho6(bytes, 0, { ...common, icmpId: 99, icmpSeq: 3, payload: hex("61") }),
);
export const hopByHop = hex("3c00 0502 0000 0100");
export const destinationOptions = hex("1100 0104 0000 0000");
export const extended = packet((bytes) =>
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
export const gateway = new Uint8Array(16);
writeIpv6Address(gateway, 0, at("fd00:10:244:1::1"));
export const icmpError = packet((bytes) =>
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
export const samples = { tcp, udp, echo, extended, icmpError };

/** A packet whose only extension header is a fragment header. */
export function fragment(
  offset: number,
  more: boolean,
  nextHeader: number,
  body: Uint8Array,
  id = 7,
): Uint8Array {
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
