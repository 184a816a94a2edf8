/** What ICMP and ICMPv6 call the same things. */
import { isIpv6 } from "./address.js";
import {
  encodeIcmp,
  encodeIcmp6,
  encodePacket,
  ICMP,
  ICMPV6,
  type IcmpMessage,
  type Packet,
} from "./packet.js";

interface IcmpFamily {
  readonly protocol: number;
  readonly echoRequest: number;
  readonly echoReply: number;
  /** Destination unreachable, and its code of a closed port. */
  readonly unreachable: number;
  readonly portCode: number;
  /** Most bytes of the refused packet that a station quotes. */
  readonly quotedBytes: number;
}

const V4: IcmpFamily = {
  protocol: ICMP,
  echoRequest: 8,
  echoReply: 0,
  unreachable: 3,
  portCode: 3,
  quotedBytes: 28,
};
const V6: IcmpFamily = {
  protocol: ICMPV6,
  echoRequest: 128,
  echoReply: 129,
  unreachable: 1,
  portCode: 4,
  quotedBytes: 1232,
};

/** Of an address. */
export function icmpOf(address: string): IcmpFamily {
  return isIpv6(address) ? V6 : V4;
}

export function encodeMessage(src: string, dst: string, message: IcmpMessage): Uint8Array {
  return isIpv6(src) ? encodeIcmp6(src, dst, message) : encodeIcmp(message);
}

/** What a host with a closed port answers to a packet. */
export function portUnreachable(packet: Packet): IcmpMessage {
  const { unreachable: type, portCode: code, quotedBytes } = icmpOf(packet.src);
  return { type, code, rest: 0, payload: encodePacket(packet).slice(0, quotedBytes) };
}

interface IcmpKind {
  /** Who sent it. */
  readonly from: string;
  readonly type: number;
  readonly code: number;
}

/** Whether an ICMP error says that a port is closed. */
export function isPortUnreachable({ from, type, code }: IcmpKind): boolean {
  const { unreachable, portCode } = icmpOf(from);
  return type === unreachable && code === portCode;
}

/** Whether it says that a packet does not fit its path: fragmentation needed, packet too big. */
export function isTooBig({ from, type, code }: IcmpKind): boolean {
  return isIpv6(from) ? type === 2 : type === 3 && code === 4;
}
