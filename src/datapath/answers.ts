/** Packets that the node makes in answer to others: ICMP errors, echo replies, TCP resets. */
import {
  MAX_ICMP_ERROR_BYTES,
  MAX_ICMPV6_ERROR_BYTES,
  mayAnswerWithError,
  TCP_RESET_BYTES,
  TCP_RESET6_BYTES,
  turnIntoEchoReply,
  turnIntoEchoReply6,
  writeIcmpError,
  writeTcpReset,
  writeTcpReset6,
} from "../wire/index.js";
import type { Counters } from "./counters.js";
import { HOP_LIMIT, mayBeTold, writeError6 } from "./ipv6/answers.js";
import type { Packet } from "./packet.js";
import { TokenBucket } from "./rate-limit.js";
import { NO_ROOM, type Scratch } from "./scratch.js";
import { VERDICTS, Verdict } from "./verdicts.js";
import { clearVnet } from "./vnet.js";

/** Linux' net.ipv4.icmp_msgs_per_sec and icmp_msgs_burst. */
const ERRORS_PER_SECOND = 1000;
const ERROR_BURST = 50;
/** Linux' net.ipv4.ip_default_ttl. */
const TTL = 64;

/** Sends what the node itself made: `length` bytes at `offset`. */
export type Originate = (offset: number, length: number) => void;

export class Answers {
  private readonly errorLimit = new TokenBucket(ERRORS_PER_SECOND, ERROR_BURST);
  private nextId: number;

  /**
   * @param sourceTowards the node's address on the way to a packet's sender (RFC 1812 §4.3.2.4)
   * @param firstId IP identification of the first packet
   */
  constructor(
    private readonly scratch: Scratch,
    private readonly counters: Counters,
    private readonly sourceTowards: (packet: Packet) => number,
    private readonly originate: Originate,
    firstId: number,
  ) {
    this.nextId = firstId;
  }

  /** Tells the sender what became of its packet, as the verdict demands. The packet's bytes are as it sent them. */
  sendError(packet: Packet, verdict: number): void {
    if (packet.toGroupMac) return;
    if (!(packet.isIpv6 ? mayBeTold(packet, verdict) : mayAnswerWithError(packet.view))) return;
    const isMtu = verdict === Verdict.fragmentationNeeded;
    // Path MTU discovery is exempt (Linux icmpv4_mask_allow): without its errors, connections hang.
    if (!isMtu && !this.errorLimit.take(packet.nowMs)) {
      this.counters.count(Verdict.icmpRateLimited);
      return;
    }
    const offset = this.room(packet.isIpv6 ? MAX_ICMPV6_ERROR_BYTES : MAX_ICMP_ERROR_BYTES);
    if (offset === NO_ROOM) return;
    const source = this.sourceTowards(packet);
    const length = packet.isIpv6
      ? writeError6(packet, verdict, source, offset)
      : this.writeError(packet, verdict, source, offset);
    this.originate(offset, length);
  }

  sendReset(packet: Packet): void {
    const offset = this.room(packet.isIpv6 ? TCP_RESET6_BYTES : TCP_RESET_BYTES);
    if (offset === NO_ROOM) return;
    const { bytes, view } = packet;
    const length = packet.isIpv6
      ? writeTcpReset6(bytes, offset, bytes, view, HOP_LIMIT)
      : writeTcpReset(bytes, offset, view, TTL, this.id());
    this.originate(offset, length);
  }

  /** Turns the request into its reply in place. */
  sendEchoReply({ bytes, view }: Packet): void {
    clearVnet(bytes, view.l3Offset);
    if (view.version === 6) turnIntoEchoReply6(bytes, view, HOP_LIMIT);
    else turnIntoEchoReply(bytes, view, TTL);
    this.originate(view.l3Offset, view.l3Length);
  }

  private writeError(packet: Packet, verdict: number, source: number, offset: number): number {
    const { bytes, view } = packet;
    const { icmpType, icmpCode } = VERDICTS[verdict];
    const mtu = verdict === Verdict.fragmentationNeeded ? packet.mtuBytes : 0;
    const id = this.id();
    return writeIcmpError(bytes, offset, bytes, view, icmpType, icmpCode, mtu, source, TTL, id);
  }

  private room(length: number): number {
    const offset = this.scratch.take(length);
    if (offset === NO_ROOM) this.counters.count(Verdict.noScratch);
    return offset;
  }

  private id(): number {
    this.nextId = (this.nextId + 1) & 0xffff;
    return this.nextId;
  }
}
