/** What the node answers to IPv6 packets; ../answers.ts decides whether, and sends it. */
import {
  Icmpv6Type,
  IPV6_ADDRESS_BYTES,
  IPV6_MIN_MTU,
  ipv6NextHeaderOffset,
  mayAnswerWithError6,
  writeIcmpv6Error,
} from "../../wire/index.js";
import type { Packet } from "../packet.js";
import { ICMPV6_CODES, ICMPV6_TYPES } from "./verdicts.js";

/** Linux' net.ipv6.conf.*.hop_limit. */
export const HOP_LIMIT = 64;

const source = new Uint8Array(IPV6_ADDRESS_BYTES);

/** Whether the sender of a packet may be told of this verdict. */
export function mayBeTold({ bytes, view }: Packet, verdict: number): boolean {
  return mayAnswerWithError6(bytes, view, ICMPV6_TYPES[verdict]);
}

/** Writes the error about a packet, from the node's address with this handle, at `out`; returns its length. */
export function writeError6(packet: Packet, verdict: number, sourceIp: number, out: number): number {
  const { bytes, book, view } = packet;
  const type = ICMPV6_TYPES[verdict];
  book?.write(sourceIp, source, 0);
  const rest = restOf(packet, type);
  return writeIcmpv6Error(bytes, out, bytes, view, type, ICMPV6_CODES[verdict], rest, source, 0, HOP_LIMIT);
}

/** The second word: the MTU, or which byte the parameter problem is at. */
function restOf({ bytes, view, mtuBytes }: Packet, type: number): number {
  if (type === Icmpv6Type.packetTooBig) return Math.max(mtuBytes, IPV6_MIN_MTU);
  return type === Icmpv6Type.parameterProblem ? ipv6NextHeaderOffset(bytes, view) : 0;
}
