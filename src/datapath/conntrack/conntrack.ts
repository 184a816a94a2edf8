/**
 * Connection tracking: finds or begins the connection of a packet, and what its addresses have to become.
 * Transport checksums are verified where a wrong one would do harm here: on first packets, on TCP segments that change
 * the state, and on ICMP errors. Elsewhere a wrong checksum stays wrong through incremental updates, and the receiver
 * finds it.
 */
import { IpProtocol, TcpFlag } from "../../wire/index.js";
import { CtState, type Packet } from "../packet.js";
import { CONTINUE, Verdict } from "../verdicts.js";
import { Meta, REPLY_TUPLE, WORDS_PER_ENTRY, Word } from "./flow-table.js";
import { Flows } from "./flows.js";
import { invertPorts, isIcmpRequest } from "./invert.js";
import { adoptNewRecord, PROTO_WORDS } from "./proto-words.js";
import {
  beginSctp,
  nextSctpState,
  SCTP_INVALID,
  SCTP_NO_REFRESH,
  SCTP_STATE_MASK,
  SctpState,
} from "./sctp.js";
import { type ConntrackTimeouts, DEFAULT_TIMEOUTS, State, timeoutIndex, timeoutTicks } from "./state.js";
import { INVALID, nextTcpState, REOPEN, UNCHANGED } from "./tcp.js";

/** How far early drop looks for an entry that may go (Linux: 8 buckets). */
const EARLY_DROP_SLOTS = 64;
/** Segments that change the state; their checksum is verified first. */
const STATE_CHANGING = TcpFlag.syn | TcpFlag.fin | TcpFlag.rst;

/** State and flags of connections in which plain packets change nothing but counters and the deadline. */
const SETTLED = Meta.seenReply | Meta.assured;
const SETTLED_TCP = (State.established << Meta.stateShift) | SETTLED;
const SETTLED_UDP = (State.udpStream << Meta.stateShift) | SETTLED;

export class Conntrack extends Flows {
  private readonly timeouts: Int32Array;

  constructor(random: () => number, max?: number, timeouts: Partial<ConntrackTimeouts> = {}) {
    super(random, max);
    this.timeouts = timeoutTicks({ ...DEFAULT_TIMEOUTS, ...timeouts });
  }

  /** Places the packet: fills its flow, `ctState` and translation. Returns CONTINUE or the verdict to drop it with. */
  track(packet: Packet): number {
    if (packet.isIcmpError) return this.relate(packet);
    const reference = this.lookup(packet.protocol, packet.src, packet.dst, packet.ports);
    return reference === 0 ? this.begin(packet) : this.advance(packet, reference);
  }

  /** The words of the flow table. */
  get words(): Int32Array {
    return this.table.words;
  }

  /**
   * The reference of a TCP or UDP connection that no plain packet of it takes to another state, so that {@link touch} is
   * all there is to do; 0 when there is none. Takes signed addresses.
   */
  settled(protocol: number, src: number, dst: number, ports: number): number {
    const reference = this.table.find(protocol, src, dst, ports);
    if (reference === 0) return 0;
    const { words } = this.table;
    const at = (reference >>> 1) * WORDS_PER_ENTRY;
    const state = words[at + Word.meta] & (Meta.stateMask | Meta.seenReply | Meta.assured);
    if (state !== SETTLED_TCP && state !== SETTLED_UDP) return 0;
    return words[at + Word.deadline] > this.now ? reference : 0;
  }

  /** Counts a packet of a {@link settled} connection and puts its end off. */
  touch(reference: number, lengthBytes: number): void {
    const { words } = this.table;
    const at = (reference >>> 1) * WORDS_PER_ENTRY;
    words[at + Word.deadline] =
      this.now + this.timeouts[(words[at + Word.meta] & Meta.stateMask) >>> Meta.stateShift];
    this.account(at, reference & 1, lengthBytes);
  }

  /** Enters the connection of an accepted first packet. Returns CONTINUE or a verdict. */
  confirm(packet: Packet): number {
    if (packet.initialState === State.none) return CONTINUE;
    const entry = this.table.allocate() || (this.makeRoom(packet) ? this.table.allocate() : 0);
    if (entry === 0) return Verdict.ctFull;
    const { words } = this.table;
    const at = entry * WORDS_PER_ENTRY;
    const { newSrc, newDst, newPorts, ports } = packet;
    words[at + Word.src] = packet.src;
    words[at + Word.dst] = packet.dst;
    words[at + Word.ports] = ports;
    words[at + REPLY_TUPLE + Word.src] = newDst;
    words[at + REPLY_TUPLE + Word.dst] = newSrc;
    words[at + REPLY_TUPLE + Word.ports] = invertPorts(packet.protocol, newPorts);
    let meta = packet.protocol | (packet.initialState << Meta.stateShift);
    if (newSrc !== packet.src || newPorts >>> 16 !== ports >>> 16) meta |= Meta.srcNat;
    if (newDst !== packet.dst || (newPorts & 0xffff) !== (ports & 0xffff)) meta |= Meta.dstNat;
    const label = this.labels.take(packet.service, packet.endpoint);
    words[at + Word.meta] = meta | (label << Meta.labelShift);
    words[at + Word.deadline] = this.now + this.timeouts[timeoutIndex(packet.protocol, packet.initialState)];
    if (packet.protocol === IpProtocol.sctp) adoptNewRecord(this.protoWords, entry);
    this.table.link(entry);
    this.account(at, 0, packet.view.l3Length);
    packet.initialState = State.none;
    return CONTINUE;
  }

  /** The service and endpoint of the packet's connection, for traces. */
  describe(packet: Packet): void {
    if (packet.flow === 0) return;
    const label = this.table.words[(packet.flow >>> 1) * WORDS_PER_ENTRY + Word.meta] >>> Meta.labelShift;
    packet.service = this.labels.service(label) ?? "";
    packet.endpoint = this.labels.endpoint(label) ?? "";
  }

  /** A connection's first packet: whether one can begin so. */
  private begin(packet: Packet): number {
    packet.ctState = CtState.new;
    const state = this.initialState(packet);
    if (state === State.none) return this.invalid(packet);
    if (!packet.l4ChecksumHolds()) return Verdict.badChecksum;
    packet.initialState = state;
    return CONTINUE;
  }

  /** A further packet of a connection. */
  private advance(packet: Packet, reference: number): number {
    const { words } = this.table;
    const direction = reference & 1;
    const at = (reference >>> 1) * WORDS_PER_ENTRY;
    const meta = words[at + Word.meta];
    const state = (meta & Meta.stateMask) >>> Meta.stateShift;
    let next: number = state;
    if (packet.protocol === IpProtocol.tcp) {
      if ((packet.view.tcpFlags & STATE_CHANGING) !== 0 && !packet.l4ChecksumHolds())
        return Verdict.badChecksum;
      next = nextTcpState(state, direction, packet.view.tcpFlags);
      if (next === INVALID) return this.invalid(packet);
      if (next === REOPEN) {
        this.remove(reference >>> 1);
        return this.begin(packet);
      }
    } else if (packet.protocol === IpProtocol.sctp) {
      if (!packet.l4ChecksumHolds()) return Verdict.badChecksum;
      next = this.advanceSctp(packet, reference, state);
      if (next === SCTP_INVALID) return this.invalid(packet);
    }
    if (next !== UNCHANGED) this.refresh(at, meta, direction, packet.protocol, next);
    packet.flow = reference;
    packet.ctState = direction === 1 || (meta & Meta.seenReply) !== 0 ? CtState.established : CtState.new;
    this.account(at, direction, packet.view.l3Length);
    if ((meta & (Meta.srcNat | Meta.dstNat)) !== 0) {
      const other = at + (1 - direction) * REPLY_TUPLE;
      packet.newSrc = words[other + Word.dst] >>> 0;
      packet.newDst = words[other + Word.src] >>> 0;
      packet.newPorts = invertPorts(packet.protocol, words[other + Word.ports]);
    }
    return CONTINUE;
  }

  /** Sets state, flags and deadline after a packet that moved the connection on. */
  private refresh(at: number, before: number, direction: number, protocol: number, reached: number): void {
    const { words } = this.table;
    if (protocol === IpProtocol.sctp) {
      const state = reached & SCTP_STATE_MASK;
      let flags = direction === 1 ? Meta.seenReply : 0;
      if (state === SctpState.established) flags |= Meta.assured;
      words[at + Word.meta] = (before & ~Meta.stateMask) | (state << Meta.stateShift) | flags;
      if ((reached & SCTP_NO_REFRESH) === 0)
        words[at + Word.deadline] = this.now + this.timeouts[timeoutIndex(protocol, state)];
      return;
    }
    const meta = direction === 1 ? before | Meta.seenReply : before;
    const wasState = (before & Meta.stateMask) >>> Meta.stateShift;
    const replied = (meta & Meta.seenReply) !== 0;
    let next = reached;
    let assured = false;
    if (next === State.established) {
      if (!replied) next = State.pickedUp;
      assured = replied && wasState !== State.synSent;
    } else if (next === State.udp && (before & Meta.seenReply) !== 0) {
      next = State.udpStream;
      assured = true;
    }
    words[at + Word.meta] =
      (meta & ~Meta.stateMask) | (next << Meta.stateShift) | (assured ? Meta.assured : 0);
    words[at + Word.deadline] = this.now + this.timeouts[next];
  }

  /**
   * An ICMP error belongs to the connection of the packet it quotes. It travels in the direction opposite to that packet,
   * and its outer addresses are translated as any packet's of that direction (Linux nf_nat_icmp_reply_translation).
   */
  private relate(packet: Packet): number {
    if (!packet.l4ChecksumHolds()) return Verdict.badChecksum;
    if (!packet.readEmbedded()) return this.invalid(packet);
    const { embedded } = packet;
    const { protocol, src, dst } = embedded.view;
    const reference = this.lookup(protocol, dst, src, invertPorts(protocol, embedded.ports));
    if (reference === 0) return this.invalid(packet);
    const { words } = this.table;
    const at = (reference >>> 1) * WORDS_PER_ENTRY;
    const own = at + (reference & 1) * REPLY_TUPLE;
    const other = at + (1 - (reference & 1)) * REPLY_TUPLE;
    packet.flow = reference;
    packet.ctState = CtState.related;
    packet.translatesEmbedded = (words[at + Word.meta] & (Meta.srcNat | Meta.dstNat)) !== 0;
    if (words[own + Word.src] !== words[other + Word.dst]) packet.newSrc = words[other + Word.dst] >>> 0;
    if (words[own + Word.dst] !== words[other + Word.src]) packet.newDst = words[other + Word.src] >>> 0;
    embedded.newSrc = words[other + Word.src] >>> 0;
    embedded.newDst = words[other + Word.dst] >>> 0;
    embedded.newPorts = words[other + Word.ports];
    return CONTINUE;
  }

  private advanceSctp({ bytes, view }: Packet, reference: number, state: number): number {
    const end = view.l4Offset + view.l4Length;
    const at = (reference >>> 1) * PROTO_WORDS;
    return nextSctpState(bytes, view.l4Offset, end, this.protoWords, at, reference & 1, state);
  }

  /** The state that a first packet puts a connection in; `none` when no connection begins with such a packet. */
  private initialState({ protocol, bytes, view }: Packet): number {
    switch (protocol) {
      case IpProtocol.tcp: {
        const next = nextTcpState(State.none, 0, view.tcpFlags);
        return next === INVALID ? State.none : next;
      }
      case IpProtocol.udp:
        return State.udp;
      case IpProtocol.sctp: {
        const next = beginSctp(bytes, view.l4Offset, view.l4Offset + view.l4Length, this.protoWords);
        return next === SCTP_INVALID ? State.none : next & SCTP_STATE_MASK;
      }
      case IpProtocol.icmp:
        return isIcmpRequest(view.icmpType) ? State.icmp : State.none;
      default:
        return State.generic;
    }
  }

  private invalid(packet: Packet): number {
    packet.ctState = CtState.invalid;
    return Verdict.ctInvalid;
  }

  private account(at: number, direction: number, lengthBytes: number): void {
    const { words } = this.table;
    words[at + Word.packets + direction]++;
    const bytes = (words[at + Word.bytes + direction] >>> 0) + lengthBytes;
    words[at + Word.bytes + direction] = bytes;
    if (bytes > 0xffffffff) words[at + Word.bytesHigh] += direction === 0 ? 1 : 0x10000;
  }

  /** Early drop: removes an entry near the new tuple's place that expired or that nobody assured. */
  private makeRoom(packet: Packet): boolean {
    const { table } = this;
    for (let distance = 0; distance < EARLY_DROP_SLOTS; distance++) {
      const entry = table.near(packet.protocol, packet.src, packet.dst, packet.ports, distance);
      if (entry === 0) continue;
      const assured = (table.words[entry * WORDS_PER_ENTRY + Word.meta] & Meta.assured) !== 0;
      if (assured && !this.isExpired(entry)) continue;
      this.remove(entry);
      this.earlyDrops++;
      return true;
    }
    return false;
  }
}
