/**
 * Connection tracking: finds or begins the connection of a packet, and what its addresses have to become.
 * Transport checksums are verified where a wrong one would do harm here: on first packets, on TCP segments that change
 * the state, on SCTP, and on ICMP errors. Elsewhere a wrong checksum stays wrong through incremental updates, and the
 * receiver finds it.
 */
import { IcmpType, IpProtocol } from "../../wire/index.js";
import { CtState, type Packet } from "../packet.js";
import { CONTINUE, Verdict } from "../verdicts.js";
import { Meta, REPLY_TUPLE, WORDS_PER_ENTRY, Word } from "./flow-table.js";
import { invertPorts } from "./invert.js";
import { type LookAhead, makeLookAhead } from "./look-ahead.js";
import { adoptNewRecord, PROTO_WORDS } from "./proto-words.js";
import { Protocols, REOPEN } from "./protocols.js";
import { SctpState } from "./sctp.js";
import { makeSettledFlows } from "./settled.js";
import { State } from "./state.js";
import { TCP_IGNORED, trackTcp } from "./tcp.js";

/** How far early drop looks for an entry that may go (Linux: 8 buckets). */
const EARLY_DROP_SLOTS = 64;
/** What an UPDATE tells of. */
const TOLD = Meta.stateMask | Meta.seenReply | Meta.assured;

export class Conntrack extends Protocols {
  /** What most packets need. */
  readonly settled = makeSettledFlows(this, this.table, this.protoWords, this.timeouts);

  /** For frames in the arena. */
  lookAhead(arena: Uint8Array): LookAhead {
    return makeLookAhead(arena, this.table, this.protoWords);
  }

  /** Places the packet: fills its flow, `ctState` and translation. Returns CONTINUE or the verdict to drop it with. */
  track(packet: Packet): number {
    if (packet.isIcmpError) {
      const related = this.relate(packet);
      if (related !== CONTINUE) this.stats.error++;
      return related;
    }
    const reference = this.lookup(packet.protocol, packet.src | 0, packet.dst | 0, packet.ports | 0);
    const verdict = reference === 0 ? this.begin(packet) : this.advance(packet, reference);
    if (verdict !== CONTINUE) this.stats.invalid++;
    return verdict;
  }

  /** The words of the flow table. */
  get words(): Int32Array {
    return this.table.words;
  }

  /**
   * Counts a segment of a {@link settled} TCP connection and puts its end off, if it is in window or may
   * pass all the same; `lengthBytes` is that of the whole IP packet. False, with nothing counted, when it may not.
   */
  touchTcp(
    reference: number,
    flags: number,
    seq: number,
    ack: number,
    window: number,
    bytes: Uint8Array,
    header: number,
    headerLength: number,
    lengthBytes: number,
    payloadBytes: number,
  ): boolean {
    const direction = reference & 1;
    const { words } = this.table;
    const at = (reference >>> 1) * WORDS_PER_ENTRY;
    const outcome = trackTcp(
      this.protoWords,
      (reference >>> 1) * PROTO_WORDS,
      direction,
      State.established,
      words[at + Word.meta],
      this.tcpSettings,
      flags,
      seq,
      ack,
      window,
      payloadBytes,
      bytes,
      header,
      headerLength,
    );
    if (outcome >= 0) this.renew(at, this.tcpTicks(outcome));
    else if (outcome !== TCP_IGNORED) return false;
    this.account(at, direction, lengthBytes);
    return true;
  }

  /** Enters the connection of an accepted first packet. Returns CONTINUE or a verdict. */
  confirm(packet: Packet): number {
    if (packet.initialState === State.none) return CONTINUE;
    const { table } = this;
    if (table.count >= this.settings.max && !this.makeRoom(packet)) {
      this.stats.drop++;
      return Verdict.ctFull;
    }
    const entry = table.allocate();
    const { words } = table;
    const at = entry * WORDS_PER_ENTRY;
    const { newSrc, newDst, newPorts, ports, protocol } = packet;
    words[at + Word.src] = packet.src;
    words[at + Word.dst] = packet.dst;
    words[at + Word.ports] = ports;
    words[at + REPLY_TUPLE + Word.src] = newDst;
    words[at + REPLY_TUPLE + Word.dst] = newSrc;
    words[at + REPLY_TUPLE + Word.ports] = invertPorts(protocol, newPorts);
    let meta = protocol | (packet.initialState << Meta.stateShift);
    if (newSrc !== packet.src || newPorts >>> 16 !== ports >>> 16) meta |= Meta.srcNat;
    if (newDst !== packet.dst || (newPorts & 0xffff) !== (ports & 0xffff)) meta |= Meta.dstNat;
    const label = this.labels.take(packet.service, packet.endpoint);
    words[at + Word.meta] = meta | (label << Meta.labelShift);
    words[at + Word.deadline] = this.now + this.firstTimeout(protocol, packet.initialState);
    if (protocol === IpProtocol.tcp || protocol === IpProtocol.sctp) adoptNewRecord(this.protoWords, entry);
    this.table.link(entry);
    this.open?.add(words, at);
    this.account(at, 0, packet.view.l3Length);
    packet.initialState = State.none;
    this.stats.insert++;
    if (this.events.isHeard) this.events.tell("NEW", this.record(entry));
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
    const judged = this.judge(packet, reference, at, meta);
    if (judged === REOPEN) {
      this.remove(reference >>> 1);
      return this.begin(packet);
    }
    if (judged !== CONTINUE) {
      if (judged === Verdict.ctInvalid) packet.ctState = CtState.invalid;
      this.noteChange(reference >>> 1, meta);
      return judged;
    }
    packet.flow = reference;
    packet.ctState = direction === 1 || (meta & Meta.seenReply) !== 0 ? CtState.established : CtState.new;
    if (direction === 1) words[at + Word.meta] |= Meta.seenReply;
    this.account(at, direction, packet.view.l3Length);
    this.noteChange(reference >>> 1, meta);
    if ((meta & (Meta.srcNat | Meta.dstNat)) !== 0) {
      const other = at + (1 - direction) * REPLY_TUPLE;
      packet.newSrc = words[other + Word.dst] >>> 0;
      packet.newDst = words[other + Word.src] >>> 0;
      packet.newPorts = invertPorts(packet.protocol, words[other + Word.ports]);
    }
    return CONTINUE;
  }

  /** Tells of what a packet has changed in an entry's meta word. */
  private noteChange(entry: number, before: number): void {
    // Of one that a reset just ended, DESTROY tells.
    if (!this.events.isHeard || this.isExpired(entry)) return;
    const changed = this.table.words[entry * WORDS_PER_ENTRY + Word.meta] ^ before;
    if ((changed & TOLD) !== 0) this.events.tell("UPDATE", this.record(entry));
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
    const reference = this.lookup(protocol, dst | 0, src | 0, invertPorts(protocol, embedded.ports));
    if (reference === 0) return this.invalid(packet);
    const { words } = this.table;
    const at = (reference >>> 1) * WORDS_PER_ENTRY;
    const own = at + (reference & 1) * REPLY_TUPLE;
    const other = at + (1 - (reference & 1)) * REPLY_TUPLE;
    // Whoever sends it, it goes where the connection's packets go (Linux nf_conntrack_inet_error).
    if (words[own + Word.dst] !== (packet.dst | 0)) return this.invalid(packet);
    const isTranslated = (words[at + Word.meta] & (Meta.srcNat | Meta.dstNat)) !== 0;
    // A redirect names a way that is none of the translated address (Linux nf_nat_icmp_reply_translation).
    if (isTranslated && packet.protocol === IpProtocol.icmp && packet.view.icmpType === IcmpType.redirect)
      return this.invalid(packet);
    packet.flow = reference;
    packet.ctState = CtState.related;
    packet.translatesEmbedded = isTranslated;
    if (words[own + Word.src] !== words[other + Word.dst]) packet.newSrc = words[other + Word.dst] >>> 0;
    if (words[own + Word.dst] !== words[other + Word.src]) packet.newDst = words[other + Word.src] >>> 0;
    embedded.newSrc = words[other + Word.src] >>> 0;
    embedded.newDst = words[other + Word.dst] >>> 0;
    embedded.newPorts = words[other + Word.ports];
    return CONTINUE;
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

  /** Early drop: removes an entry near the new tuple's place that expired, that nobody assured, or that is closing. */
  private makeRoom(packet: Packet): boolean {
    const { table } = this;
    for (let distance = 0; distance < EARLY_DROP_SLOTS; distance++) {
      const entry = table.near(packet.protocol, packet.src, packet.dst, packet.ports, distance);
      if (entry === 0) continue;
      if (!mayGoEarly(table.words[entry * WORDS_PER_ENTRY + Word.meta]) && !this.isExpired(entry)) continue;
      this.remove(entry);
      this.stats.earlyDrop++;
      return true;
    }
    return false;
  }
}

/** Whether a connection may make room for another: Linux' early_drop, and can_early_drop of TCP and SCTP. */
function mayGoEarly(meta: number): boolean {
  if ((meta & Meta.assured) === 0) return true;
  const state = (meta & Meta.stateMask) >>> Meta.stateShift;
  const protocol = meta & Meta.protocolMask;
  if (protocol === IpProtocol.tcp) return state >= State.finWait && state <= State.close;
  return (
    protocol === IpProtocol.sctp && state >= SctpState.shutdownSent && state <= SctpState.shutdownAckSent
  );
}
