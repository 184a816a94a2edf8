/** One node's datapath: its parts, put together. */
import { linkLocalOfMac } from "../wire/index.js";
import { Addresses } from "./addresses.js";
import { Answers } from "./answers.js";
import { Bridge } from "./bridge.js";
import { Conntrack } from "./conntrack/conntrack.js";
import { FrameField, LOOK_AHEAD_FRAMES, type LookAhead } from "./conntrack/look-ahead.js";
import { type ConntrackFilter, type ConntrackRecord, matchesFilter } from "./conntrack/records.js";
import { Counters } from "./counters.js";
import { Egress } from "./egress.js";
import { FastPath } from "./fast-path.js";
import { FragmentCache } from "./fragments.js";
import { HostLink } from "./host-link.js";
import { Ingress } from "./ingress.js";
import type { AddressBook } from "./ipv6/address-book.js";
import { Ingress6 } from "./ipv6/ingress.js";
import { Neighbours } from "./ipv6/neighbours.js";
import { type Route6, RouteTable6 } from "./ipv6/routes.js";
import { isEchoReply, isEchoRequest } from "./local.js";
import { Nat } from "./nat.js";
import type { DatapathOptions } from "./options.js";
import { Packet } from "./packet.js";
import { Pipeline } from "./pipeline.js";
import { PolicyGate } from "./policy-gate.js";
import { type Port, Ports } from "./ports.js";
import { Router } from "./router.js";
import { type Route, RouteTable } from "./routes.js";
import { Scratch } from "./scratch.js";
import { observe, packetId } from "./trace.js";
import { type NodeAddresses, type PortConfig, PortKind, type TraceSink } from "./types.js";
import { CONTINUE, NO_ICMP, VERDICTS, Verdict } from "./verdicts.js";

/** Fewer frames are handled at once: there is little to wait for side by side. */
const LEAST_TO_LOOK_AHEAD = 4;
const { port: PORT, offset: OFFSET, length: LENGTH, peer: PEER } = FrameField;

/** What a node's datapath says of itself. */
export interface DatapathStatus {
  /** Packets by verdict: `forward`, `drop:ttl-exceeded` … */
  readonly counters: Readonly<Record<string, number>>;
  readonly conntrack: {
    readonly count: number;
    readonly max: number;
    /** Bytes of the table at its capacity. */
    readonly byteSize: number;
    /** Connections removed to make room for others. */
    readonly earlyDrops: number;
  };
  readonly routes: readonly Route[];
  /** IPv6: its routes, and how many addresses are known. Missing on a node without it. */
  readonly ipv6?: { readonly routes: readonly Route6[]; readonly addresses: number };
}

export class Datapath {
  /** Where packets go that are not for this node's own networks. */
  readonly routes = new RouteTable();
  /** The same for IPv6; undefined on a node without it. */
  readonly routes6: RouteTable6 | undefined;
  readonly counters = new Counters();
  readonly conntrack: Conntrack;
  private readonly addresses: Addresses;
  private readonly ports: Ports;
  private readonly scratch: Scratch;
  private readonly bridge: Bridge;
  private readonly hostLink: HostLink;
  private readonly router: Router;
  private readonly ingress: Ingress;
  private readonly pipeline: Pipeline;
  private readonly fast: FastPath;
  private readonly answers: Answers;
  private readonly ahead: LookAhead;
  private readonly trace: TraceSink;
  /** The packet that came in, and one for what the node answers while that is still in hand. */
  private readonly packet: Packet;
  private readonly own: Packet;
  private isTracing = false;
  private nowMs = 0;

  constructor(private readonly options: DatapathOptions) {
    const { arena, sink, random, bridgeMac, hostPortMac, bridgeNetfilter = true, ipMasq = true } = options;
    const { routes, counters } = this;
    const book = options.addresses.ipv6 === undefined ? undefined : options.addressBook;
    this.trace = options.trace;
    this.packet = new Packet(arena, book);
    this.own = new Packet(arena, book);
    const linkLocals = [linkLocalOfMac(bridgeMac), linkLocalOfMac(hostPortMac)];
    this.addresses = new Addresses(options.addresses, book, linkLocals);
    this.ports = new Ports(book);
    const { ports } = this;
    this.routes6 = book && new RouteTable6(book);
    this.scratch = new Scratch(arena, options.scratchStart, options.scratchEnd);
    this.conntrack = new Conntrack(random, {
      max: options.conntrackMax,
      timeouts: options.conntrackTimeouts,
      ...options.conntrackTcp,
    });
    this.router = new Router(this.addresses, ports, routes, this.routes6);
    const policies = new PolicyGate(this.addresses, this.conntrack, options.policies);
    this.bridge = new Bridge(arena, this.scratch, sink, ports, this.addresses, bridgeMac, policies);
    this.hostLink = new HostLink(arena, this.scratch, sink, ports, this.addresses, counters, hostPortMac);
    this.ingress = new Ingress(
      arena,
      this.bridge,
      this.hostLink,
      this.router,
      bridgeNetfilter,
      book && this.ingress6(book),
    );
    const nat = new Nat(this.addresses, this.conntrack, options.services, random, ipMasq);
    const egress = new Egress(arena, this.scratch, sink, this.hostLink, bridgeMac);
    const fragments = new FragmentCache();
    this.pipeline = new Pipeline(
      this.conntrack,
      fragments,
      nat,
      this.router,
      policies,
      egress,
      bridgeNetfilter,
    );
    this.ahead = this.conntrack.lookAhead(arena);
    const { hostLink } = this;
    this.fast = new FastPath({
      ...{ arena, conntrack: this.conntrack, policies, hostLink, counters, sink },
      ...{ bridgeNetfilter, bridgeMac, hostPortMac },
    });
    this.answers = new Answers(
      this.scratch,
      counters,
      (packet) => this.sourceTowards(packet),
      (offset, length) => this.originate(offset, length),
      Math.floor(random() * 0x10000),
    );
    if (book !== undefined) this.keepAddresses(book, fragments);
  }

  /** @throws RangeError when the configuration contradicts itself or another port */
  addPort(config: PortConfig): void {
    const port = this.ports.add(config);
    this.fast.forget();
    if (port.kind === PortKind.pod) this.bridge.addPort(port);
  }

  /** Frames from and to the port are dropped from now on. Connections stay until they expire. */
  removePort(id: number): void {
    const port = this.ports.remove(id);
    if (port === undefined) return;
    this.fast.forget();
    if (port.kind === PortKind.pod) this.bridge.removePort(port);
    if (port.kind === PortKind.host) this.hostLink.reset();
  }

  /** Replaces the node's addresses and networks, as when it got another subnet. */
  setAddresses(addresses: NodeAddresses): void {
    this.addresses.set(addresses);
    this.fast.forget();
  }

  /** Sets the time of what follows, and gives back the scratch space: all frames of the last batch are sent. */
  beginBatch(nowMs: number): void {
    this.nowMs = nowMs;
    this.conntrack.setTime(nowMs);
    this.scratch.reset();
    this.fast.begin(this.routes.version, this.hostLink.isReachable(nowMs));
  }

  /**
   * Handles the first `count` frames of a table, as {@link receive} would one after the other. An entry of the table is
   * `stride` words, which begin as {@link FrameField} says.
   */
  receiveAll(frames: Int32Array, stride: number, count: number): void {
    const { hints } = this.ahead;
    for (let first = 0; first < count; first += LOOK_AHEAD_FRAMES) {
      const group = Math.min(LOOK_AHEAD_FRAMES, count - first);
      const isWorthIt = group >= LEAST_TO_LOOK_AHEAD && !this.trace.enabled;
      if (isWorthIt) this.ahead.look(frames, first * stride, stride, group);
      for (let i = 0, at = first * stride; i < group; i++, at += stride) {
        const hint = isWorthIt ? hints[i] : 0;
        this.handle(frames[at + PORT], frames[at + OFFSET], frames[at + LENGTH], frames[at + PEER], hint);
      }
    }
  }

  /**
   * Handles one frame of `length` bytes at `offset` in the arena, behind its virtio_net_hdr. `peer` is the sender's
   * underlay address for overlay and nodenet ports, as a 32-bit word of either sign. What leaves goes to the sink; the
   * frame's bytes may be changed.
   */
  receive(portId: number, offset: number, length: number, peer: number): void {
    this.handle(portId, offset, length, peer, 0);
  }

  /** Does what time demands: expiry of connections in bounded slices, neighbours. Call about once a second, in a batch. */
  tick(): void {
    const { nowMs } = this;
    this.conntrack.sweep();
    this.conntrack.addressBook?.tick();
    this.bridge.macs.age(nowMs);
    this.hostLink.tick(nowMs);
  }

  /** Counts a frame that was lost behind the datapath, such as on a full queue. */
  countDrop(reason: string): void {
    this.counters.countReason("drop", reason);
  }

  /** Counters by verdict, and how full the tables are. */
  status(): DatapathStatus {
    const { count, settings, byteSize, stats } = this.conntrack;
    return {
      counters: this.counters.export(),
      conntrack: { count, max: settings.max, byteSize, earlyDrops: stats.earlyDrop },
      routes: this.routes.list(),
      ...(this.routes6 && {
        ipv6: { routes: this.routes6.list(), addresses: this.conntrack.addressBook?.count ?? 0 },
      }),
    };
  }

  /** The live connections that match. */
  conntrackRecords(filter: ConntrackFilter = {}): ConntrackRecord[] {
    return [...this.conntrack.records()].filter((record) => matchesFilter(record, filter));
  }

  /** Deletes connections; returns how many. */
  deleteConntrack(filter: ConntrackFilter): number {
    return this.conntrack.delete(filter);
  }

  private handle(portId: number, offset: number, length: number, peer: number, hint: number): void {
    const port = this.ports.get(portId);
    if (port === undefined) this.counters.count(Verdict.unknownPort);
    else if (this.trace.enabled || !this.fast.forward(port, offset, length, peer | 0, hint))
      this.carry(port, offset, length, peer);
  }

  /** The whole pipeline. */
  private carry(port: Port, offset: number, length: number, peer: number): void {
    this.isTracing = this.trace.enabled;
    const { packet } = this;
    packet.begin(port, offset, peer >>> 0, this.nowMs);
    const accepted = this.ingress.accept(packet, port, length);
    // The id is taken now: a frame that leaves is in the sink's hands, rewritten.
    const id = this.isTracing && packet.isParsed ? packetId(packet) : "";
    const verdict = accepted === CONTINUE ? this.pipeline.carry(packet) : accepted;
    this.finish(packet, verdict, id);
    if (verdict === Verdict.forward || verdict === Verdict.bridged) this.fast.learn(packet);
    else this.answer(packet, verdict);
  }

  private finish(packet: Packet, verdict: number, id: string): void {
    if (packet.reason === "") this.counters.count(verdict);
    else this.counters.countReason(VERDICTS[verdict].outcome, packet.reason);
    if (id === "") return;
    this.conntrack.describe(packet);
    this.trace.record(observe(packet, verdict, this.options.name, this.options.underlay, id));
  }

  /** What the sender has to hear. */
  private answer(packet: Packet, verdict: number): void {
    if (VERDICTS[verdict].icmpType !== NO_ICMP) this.answers.sendError(packet, verdict);
    else if (verdict === Verdict.tcpReset) this.answers.sendReset(packet);
    else if (verdict === Verdict.deliver && packet.outPort === undefined && isEchoRequest(packet))
      this.answers.sendEchoReply(packet);
  }

  private originate(offset: number, length: number): void {
    const { own } = this;
    own.begin(undefined, offset, 0, this.nowMs);
    own.linkPort = this.packet.inPort;
    const isWhole = this.packet.isIpv6
      ? own.parse6(offset, length) && own.intern()
      : own.parse(offset, length);
    if (!isWhole) return;
    const id = this.isTracing ? packetId(own) : "";
    // An echo reply belongs to the request's connection; errors and resets answer packets that were not let into one.
    if (isEchoReply(own)) this.conntrack.track(own);
    this.finish(own, this.pipeline.originate(own), id);
  }

  private sourceTowards({ src, isIpv6, inPort }: Packet): number {
    const { own, addresses } = this;
    own.newDst = src;
    own.inPort = undefined;
    own.linkPort = inPort;
    own.view.version = isIpv6 ? 6 : 4;
    if (this.router.route(own) === CONTINUE && own.outKind !== PortKind.local) return own.sourceIp;
    return isIpv6 ? addresses.nodeIp6 : addresses.nodeIp;
  }

  private ingress6(book: AddressBook): Ingress6 {
    const { arena, sink, bridgeMac, hostPortMac } = this.options;
    const { addresses, bridge, hostLink, scratch, router } = this;
    const macs = [bridgeMac, hostPortMac] as const;
    const neighbours = new Neighbours(arena, book, scratch, sink, addresses, bridge, hostLink, ...macs);
    return new Ingress6(arena, neighbours, router);
  }

  /** Tells the book who keeps addresses. */
  private keepAddresses(book: AddressBook, fragments: FragmentCache): void {
    const { conntrack, packet, own } = this;
    conntrack.addressBook = book;
    for (const keeper of [conntrack, fragments, packet, own])
      book.addRoot((mark) => keeper.markAddresses(mark));
  }
}
