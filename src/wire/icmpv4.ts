/** ICMP for IPv4 (RFC 792, RFC 950). The getters are unchecked: parse the packet first. */
import { getU16, setU16 } from "./bytes.js";
import { checksum } from "./checksum.js";

export const ICMP_HEADER_BYTES = 8;
/** Offsets inside the header. */
export const ICMP_TYPE = 0;
export const ICMP_CODE = 1;
export const ICMP_CHECKSUM = 2;
export const ICMP_ID = 4;
export const ICMP_SEQ = 6;
/** In an error: where the packet that caused it is quoted. */
export const ICMP_EMBEDDED = 8;
/** In fragmentation-needed: the MTU of the next hop (RFC 1191 §4). */
export const ICMP_NEXT_HOP_MTU = 6;

/** Message types (IANA icmp-parameters). */
export const IcmpType = {
  echoReply: 0,
  destinationUnreachable: 3,
  sourceQuench: 4,
  redirect: 5,
  echoRequest: 8,
  routerAdvertisement: 9,
  routerSolicitation: 10,
  timeExceeded: 11,
  parameterProblem: 12,
  timestampRequest: 13,
  timestampReply: 14,
  informationRequest: 15,
  informationReply: 16,
  addressMaskRequest: 17,
  addressMaskReply: 18,
} as const;
export type IcmpType = (typeof IcmpType)[keyof typeof IcmpType];

/** Codes of destination-unreachable (RFC 792, RFC 1812 §5.2.7.1). */
export const UnreachableCode = {
  network: 0,
  host: 1,
  protocol: 2,
  port: 3,
  fragmentationNeeded: 4,
  networkProhibited: 9,
  hostProhibited: 10,
  prohibited: 13,
} as const;
export type UnreachableCode = (typeof UnreachableCode)[keyof typeof UnreachableCode];

/** Codes of time-exceeded. */
export const TimeExceededCode = { ttl: 0, reassembly: 1 } as const;
export type TimeExceededCode = (typeof TimeExceededCode)[keyof typeof TimeExceededCode];

const TYPE_NAMES: Readonly<Record<number, string>> = {
  0: "echo reply",
  3: "unreachable",
  4: "source quench",
  5: "redirect",
  8: "echo request",
  9: "router advertisement",
  10: "router solicitation",
  11: "time exceeded",
  12: "parameter problem",
  13: "timestamp request",
  14: "timestamp reply",
  15: "information request",
  16: "information reply",
  17: "address mask request",
  18: "address mask reply",
};
const UNREACHABLE_NAMES: Readonly<Record<number, string>> = {
  0: "network unreachable",
  1: "host unreachable",
  2: "protocol unreachable",
  3: "port unreachable",
  4: "fragmentation needed",
  9: "network prohibited",
  10: "host prohibited",
  13: "communication prohibited",
};

/** Whether a type is an error, which quotes a packet and is never answered with an error (RFC 1122 §3.2.2). */
export function isIcmpError(type: number): boolean {
  return (
    type === IcmpType.destinationUnreachable ||
    type === IcmpType.sourceQuench ||
    type === IcmpType.redirect ||
    type === IcmpType.timeExceeded ||
    type === IcmpType.parameterProblem
  );
}

/** Whether a type is a query or its answer: these carry an identifier and a sequence number. */
export function hasIcmpId(type: number): boolean {
  return (
    type === IcmpType.echoRequest ||
    type === IcmpType.echoReply ||
    (type >= IcmpType.timestampRequest && type <= IcmpType.addressMaskReply)
  );
}

/** A short name: `echo request`, `port unreachable`, `time exceeded`; `type 42 code 1` for others. */
export function icmpName(type: number, code: number): string {
  const unreachable = type === IcmpType.destinationUnreachable ? UNREACHABLE_NAMES[code] : undefined;
  return unreachable ?? TYPE_NAMES[type] ?? `type ${type} code ${code}`;
}

/** The next-hop MTU of a fragmentation-needed message; 0 from routers older than RFC 1191. */
export function icmpNextHopMtu(bytes: Uint8Array, offset: number): number {
  return getU16(bytes, offset + ICMP_NEXT_HOP_MTU);
}

/**
 * Writes the header in front of `payloadLength` bytes that are already in place, checksum included. `high` and `low`
 * are the halves of the second word: identifier and sequence number, or 0 and the next-hop MTU.
 */
export function writeIcmp(
  bytes: Uint8Array,
  offset: number,
  type: number,
  code: number,
  high: number,
  low: number,
  payloadLength: number,
): void {
  bytes[offset + ICMP_TYPE] = type;
  bytes[offset + ICMP_CODE] = code;
  setU16(bytes, offset + ICMP_CHECKSUM, 0);
  setU16(bytes, offset + ICMP_ID, high);
  setU16(bytes, offset + ICMP_SEQ, low);
  setU16(bytes, offset + ICMP_CHECKSUM, checksum(bytes, offset, ICMP_HEADER_BYTES + payloadLength));
}
