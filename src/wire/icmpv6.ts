/** ICMP for IPv6 (RFC 4443). Its header is ICMP's of IPv4, but the checksum covers the pseudo-header as well. */
import { setU16, setU32 } from "./bytes.js";
import { checksum } from "./checksum.js";
import { ICMP_CHECKSUM, ICMP_CODE, ICMP_HEADER_BYTES, ICMP_ID, ICMP_TYPE } from "./icmpv4.js";
import { IpProtocol } from "./ipv4.js";
import { ipv6PseudoHeaderSum } from "./ipv6.js";

/** Message types (IANA icmpv6-parameters). */
export const Icmpv6Type = {
  destinationUnreachable: 1,
  packetTooBig: 2,
  timeExceeded: 3,
  parameterProblem: 4,
  echoRequest: 128,
  echoReply: 129,
  listenerQuery: 130,
  listenerReport: 131,
  listenerDone: 132,
  routerSolicitation: 133,
  routerAdvertisement: 134,
  neighbourSolicitation: 135,
  neighbourAdvertisement: 136,
  redirect: 137,
  listenerReport2: 143,
} as const;
export type Icmpv6Type = (typeof Icmpv6Type)[keyof typeof Icmpv6Type];

/** Codes of destination-unreachable (RFC 4443 §3.1). */
export const Unreachable6Code = { noRoute: 0, prohibited: 1, address: 3, port: 4 } as const;
export type Unreachable6Code = (typeof Unreachable6Code)[keyof typeof Unreachable6Code];

/** Codes of parameter-problem (RFC 4443 §3.4). */
export const ParameterProblem6Code = { header: 0, nextHeader: 1, option: 2 } as const;
export type ParameterProblem6Code = (typeof ParameterProblem6Code)[keyof typeof ParameterProblem6Code];

const TYPE_NAMES: Readonly<Record<number, string>> = {
  1: "unreachable",
  2: "packet too big",
  3: "time exceeded",
  4: "parameter problem",
  128: "echo request",
  129: "echo reply",
  130: "multicast listener query",
  131: "multicast listener report",
  132: "multicast listener done",
  133: "router solicitation",
  134: "router advertisement",
  135: "neighbour solicitation",
  136: "neighbour advertisement",
  137: "redirect",
  143: "multicast listener report v2",
};
const UNREACHABLE_NAMES: Readonly<Record<number, string>> = {
  0: "no route",
  1: "communication prohibited",
  3: "address unreachable",
  4: "port unreachable",
};

/** Whether a type is an error, which quotes a packet and is never answered with an error (RFC 4443 §2.1). */
export function isIcmpv6Error(type: number): boolean {
  return type < 128;
}

/** Whether a type carries an identifier and a sequence number. */
export function hasIcmpv6Id(type: number): boolean {
  return type === Icmpv6Type.echoRequest || type === Icmpv6Type.echoReply;
}

/** Whether a type belongs to the link alone (RFC 4861): it is valid with a hop limit of 255 only, never routed. */
export function isNeighbourDiscovery(type: number): boolean {
  return type >= Icmpv6Type.routerSolicitation && type <= Icmpv6Type.redirect;
}

/** A short name: `echo request`, `port unreachable`; `type 200 code 1` for others. */
export function icmpv6Name(type: number, code: number): string {
  const unreachable = type === Icmpv6Type.destinationUnreachable ? UNREACHABLE_NAMES[code] : undefined;
  return unreachable ?? TYPE_NAMES[type] ?? `type ${type} code ${code}`;
}

/**
 * Writes the header at `offset`, in front of `payloadLength` bytes that are already in place, checksum included. The
 * addresses are read from the IPv6 header at `ip`. `rest` is the second word: identifier and sequence number, or the MTU.
 */
export function writeIcmpv6(
  bytes: Uint8Array,
  ip: number,
  offset: number,
  type: number,
  code: number,
  rest: number,
  payloadLength: number,
): void {
  bytes[offset + ICMP_TYPE] = type;
  bytes[offset + ICMP_CODE] = code;
  setU32(bytes, offset + ICMP_ID, rest);
  writeIcmpv6Checksum(bytes, ip, offset, ICMP_HEADER_BYTES + payloadLength);
}

/** Computes the checksum of the message of `length` bytes at `offset` anew, for the addresses of the header at `ip`. */
export function writeIcmpv6Checksum(bytes: Uint8Array, ip: number, offset: number, length: number): void {
  setU16(bytes, offset + ICMP_CHECKSUM, 0);
  const pseudo = ipv6PseudoHeaderSum(bytes, ip, IpProtocol.icmpv6, length);
  setU16(bytes, offset + ICMP_CHECKSUM, checksum(bytes, offset, length, pseudo));
}
