/** The ports of the opposite direction. */
import { IcmpType, Icmpv6Type, IpProtocol } from "../../wire/index.js";

/** Query types and their answers (RFC 792, RFC 950). */
const QUERIES: readonly [number, number][] = [
  [IcmpType.echoRequest, IcmpType.echoReply],
  [IcmpType.timestampRequest, IcmpType.timestampReply],
  [IcmpType.informationRequest, IcmpType.informationReply],
  [IcmpType.addressMaskRequest, IcmpType.addressMaskReply],
];

const REQUEST = 1;
const IS_REQUEST = new Uint8Array(256);
const INVERSE = Uint8Array.from({ length: 256 }, (_, type) => type);
for (const [request, reply] of QUERIES) {
  IS_REQUEST[request] = REQUEST;
  INVERSE[request] = reply;
  INVERSE[reply] = request;
}

/** Whether an ICMP connection may begin with this type. */
export function isIcmpRequest(type: number): boolean {
  return IS_REQUEST[type] === REQUEST;
}

/** The same for ICMPv6. */
export function isIcmpv6Request(type: number): boolean {
  return type === Icmpv6Type.echoRequest;
}

/**
 * The ports word of the other direction, signed: source and destination port swapped; for ICMP (identifier << 16 |
 * type << 8 | code) the type that answers.
 */
export function invertPorts(protocol: number, ports: number): number {
  if (protocol === IpProtocol.icmpv6) return invertIcmpv6(ports);
  if (protocol !== IpProtocol.icmp) return (ports << 16) | (ports >>> 16);
  return (ports & 0xffff00ff) | (INVERSE[(ports >>> 8) & 0xff] << 8);
}

function invertIcmpv6(ports: number): number {
  const type = (ports >>> 8) & 0xff;
  const isEcho = type === Icmpv6Type.echoRequest || type === Icmpv6Type.echoReply;
  // The two types differ in their last bit.
  return isEcho ? ports ^ 0x100 : ports | 0;
}
