/**
 * What the packets of each protocol do to their connection: whether one may begin so, whether a further packet fits it,
 * and what that does to its state and its end.
 */
import { IpProtocol, TcpFlag } from "../../wire/index.js";
import type { Packet } from "../packet.js";
import { CONTINUE, Verdict } from "../verdicts.js";
import { Meta, Word } from "./flow-table.js";
import { Flows } from "./flows.js";
import { isIcmpRequest, isIcmpv6Request } from "./invert.js";
import { PROTO_WORDS } from "./proto-words.js";
import {
  beginSctp,
  nextSctpState,
  SCTP_ASSURED,
  SCTP_INVALID,
  SCTP_NO_REFRESH,
  SCTP_STATE_MASK,
} from "./sctp.js";
import { State, TICK_MS, timeoutIndex, UNACKNOWLEDGED_TIMEOUT } from "./state.js";
import { beginTcp, TCP_IGNORED, TCP_INVALID_CLOSING, TCP_REOPEN, TCP_STATE_MASK, trackTcp } from "./tcp.js";
import { Segment, Tcp } from "./tcp-record.js";
import { segmentOf } from "./tcp-states.js";

/** What {@link Protocols.judge} says of a packet that begins a new connection in the place of one that is over. */
export const REOPEN = -2;
/** Segments that change the state; their checksum is verified first. */
const STATE_CHANGING = TcpFlag.syn | TcpFlag.fin | TcpFlag.rst;
/** More data than a SYN can carry. */
const MAX_SYN_BYTES = 0xffff;
/** Age at which a UDP connection becomes a stream. */
const UDP_STREAM_TICKS = 2000 / TICK_MS;
/** Entries that will live shorter than this are left alone when both ends seem to close (Linux nf_tcp_handle_invalid). */
const CLOSING_SOON_TICKS = 1200;

export class Protocols extends Flows {
  /** The state that a first packet puts a connection in; `none` when no connection begins with such a packet. */
  protected initialState({ protocol, bytes, view }: Packet): number {
    switch (protocol) {
      case IpProtocol.tcp: {
        const outcome = beginTcp(
          this.protoWords,
          this.tcpSettings,
          view.tcpFlags,
          view.tcpSeq,
          view.tcpAck,
          view.tcpWindow,
          view.payloadLength,
          bytes,
          view.l4Offset,
          view.tcpHeaderLength,
        );
        return outcome < 0 ? State.none : outcome & TCP_STATE_MASK;
      }
      case IpProtocol.udp:
        return State.udp;
      case IpProtocol.sctp: {
        const next = beginSctp(bytes, view.l4Offset, view.l4Offset + view.l4Length, this.protoWords);
        return (next & SCTP_INVALID) !== 0 ? State.none : next & SCTP_STATE_MASK;
      }
      case IpProtocol.icmp:
        return isIcmpRequest(view.icmpType) ? State.icmp : State.none;
      case IpProtocol.icmpv6:
        return isIcmpv6Request(view.icmpType) ? State.icmpv6 : State.none;
      default:
        return State.generic;
    }
  }

  protected firstTimeout(protocol: number, state: number): number {
    const ticks = this.timeouts[timeoutIndex(protocol, state)];
    // Picked up in the middle: the other end was not heard yet.
    if (protocol !== IpProtocol.tcp || state !== State.established) return ticks;
    return Math.min(ticks, this.timeouts[UNACKNOWLEDGED_TIMEOUT]);
  }

  /**
   * Whether the packet fits its connection, whose words begin at `at`, and what that does to its state and deadline.
   * Returns CONTINUE, {@link REOPEN} or the verdict to drop it with.
   */
  protected judge(packet: Packet, reference: number, at: number, meta: number): number {
    const state = (meta & Meta.stateMask) >>> Meta.stateShift;
    switch (packet.protocol) {
      case IpProtocol.tcp:
        return this.judgeTcp(packet, reference, at, meta, state);
      case IpProtocol.sctp:
        return this.judgeSctp(packet, reference, at, meta, state);
      case IpProtocol.udp:
        this.advanceUdp(at, meta, state);
        return CONTINUE;
      default:
        this.renew(at, this.timeouts[state]);
        return CONTINUE;
    }
  }

  /**
   * A stream is what both sides still use after two seconds (Linux nf_conntrack_udp_packet): a question and its answer
   * are none. Until then the deadline stays, for it tells when the connection began.
   */
  private advanceUdp(at: number, meta: number, state: number): void {
    if (state === State.udpStream) {
      this.renew(at, this.timeouts[State.udpStream]);
      return;
    }
    const { words } = this.table;
    const ticks = this.timeouts[State.udp];
    const age = this.now - (words[at + Word.deadline] - ticks);
    if ((meta & Meta.lasting) === 0 && age <= UDP_STREAM_TICKS) return;
    words[at + Word.meta] |= Meta.lasting;
    this.renew(at, ticks);
    if ((meta & Meta.seenReply) === 0) return;
    this.setState(at, State.udpStream, Meta.assured);
    this.renew(at, this.timeouts[State.udpStream]);
  }

  /**
   * Whether a client asks anew, from the same port, where a Service chose an endpoint that has not answered: its SYN begins at
   * another number, from which a repeated one differs at most by the data that it leaves out. Linux would lead it to that
   * endpoint for two minutes, though the pod may be gone; here an endpoint is chosen again.
   */
  private isOtherAttempt({ view }: Packet, reference: number, meta: number): boolean {
    const isUnanswered = (meta & (Meta.dstNat | Meta.seenReply)) === Meta.dstNat && (reference & 1) === 0;
    if (!isUnanswered || segmentOf(view.tcpFlags) !== Segment.syn) return false;
    const end = this.protoWords[(reference >>> 1) * PROTO_WORDS + Tcp.end];
    return (end - 1 - view.tcpSeq) >>> 0 > MAX_SYN_BYTES;
  }

  private judgeTcp(packet: Packet, reference: number, at: number, meta: number, state: number): number {
    const { bytes, view } = packet;
    if ((view.tcpFlags & STATE_CHANGING) !== 0 && !packet.l4ChecksumHolds()) return Verdict.badChecksum;
    if (state === State.synSent && this.isOtherAttempt(packet, reference, meta)) return REOPEN;
    const outcome = trackTcp(
      this.protoWords,
      (reference >>> 1) * PROTO_WORDS,
      reference & 1,
      state,
      meta,
      this.tcpSettings,
      view.tcpFlags,
      view.tcpSeq,
      view.tcpAck,
      view.tcpWindow,
      view.payloadLength,
      bytes,
      view.l4Offset,
      view.tcpHeaderLength,
    );
    if (outcome >= 0) {
      this.advanceTcp(at, meta, state, outcome, view.tcpFlags);
      return CONTINUE;
    }
    if (outcome === TCP_IGNORED) return CONTINUE;
    if (outcome === TCP_REOPEN) return REOPEN;
    if (outcome === TCP_INVALID_CLOSING) this.shorten(at);
    return Verdict.ctInvalid;
  }

  /** Sets state and deadline after a segment in window, as the end of nf_conntrack_tcp_packet does. */
  private advanceTcp(at: number, meta: number, state: number, outcome: number, flags: number): void {
    const next = outcome & TCP_STATE_MASK;
    let ticks = this.tcpTicks(outcome);
    let assured = 0;
    if ((meta & Meta.seenReply) === 0) {
      // The first answer is a reset: nobody is there, and the tuple is free again.
      if ((flags & TcpFlag.rst) !== 0) ticks = 0;
      // A repeated SYN must not keep the entry, and with it the translation, alive for ever.
      else if (state === State.synSent && next === State.synSent) return;
      else if (next === State.established) ticks = Math.min(ticks, this.timeouts[UNACKNOWLEDGED_TIMEOUT]);
    } else if ((state === State.synRecv || state === State.established) && next === State.established) {
      assured = Meta.assured;
    }
    if (next !== state || (assured & ~meta) !== 0) this.setState(at, next, assured);
    this.renew(at, ticks);
  }

  /** Both ends seem to close out of window: the entry goes soon. */
  private shorten(at: number): void {
    const { words } = this.table;
    const left = words[at + Word.deadline] - this.now;
    const soon = this.timeouts[UNACKNOWLEDGED_TIMEOUT];
    if (left >= CLOSING_SOON_TICKS && left > soon) words[at + Word.deadline] = this.now + soon;
  }

  private judgeSctp(packet: Packet, reference: number, at: number, meta: number, state: number): number {
    if (!packet.l4ChecksumHolds()) return Verdict.badChecksum;
    const { bytes, view } = packet;
    const end = view.l4Offset + view.l4Length;
    const record = (reference >>> 1) * PROTO_WORDS;
    const outcome = nextSctpState(bytes, view.l4Offset, end, this.protoWords, record, reference & 1, state);
    const next = outcome & SCTP_STATE_MASK;
    const assured = (outcome & SCTP_ASSURED) !== 0 ? Meta.assured : 0;
    if (next !== state || (assured & ~meta) !== 0) this.setState(at, next, assured);
    if ((outcome & SCTP_INVALID) !== 0) return Verdict.ctInvalid;
    if ((outcome & SCTP_NO_REFRESH) === 0) this.renew(at, this.timeouts[timeoutIndex(IpProtocol.sctp, next)]);
    return CONTINUE;
  }

  private setState(at: number, state: number, assured: number): void {
    const { words } = this.table;
    this.open?.remove(words, at);
    words[at + Word.meta] = (words[at + Word.meta] & ~Meta.stateMask) | (state << Meta.stateShift) | assured;
    this.open?.add(words, at);
  }

  protected renew(at: number, ticks: number): void {
    this.table.words[at + Word.deadline] = this.now + ticks;
  }
}
