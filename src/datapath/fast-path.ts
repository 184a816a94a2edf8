/**
 * The short way for the bulk of the traffic: unfragmented TCP and UDP of connections that have settled. It does in one
 * pass what ingress, conntrack, NAT, routing and egress would do, and only what they would do: whatever is unusual
 * (another protocol, a flag that changes the state, an address or MAC not seen before, an MTU exceeded, a trace that
 * listens) it leaves untouched for the pipeline, and what the pipeline then decides about where such packets come from and
 * go to is remembered here until routes, ports or addresses change.
 */
import { ETHERNET_HEADER_BYTES, EtherType, IPV4_HEADER_BYTES, IpProtocol, TcpFlag } from "../wire/index.js";
import type { Conntrack } from "./conntrack/conntrack.js";
import { Meta, REPLY_TUPLE, WORDS_PER_ENTRY, Word } from "./conntrack/flow-table.js";
import type { Counters } from "./counters.js";
import type { HostLink } from "./host-link.js";
import { MacWords } from "./mac-words.js";
import type { Packet } from "./packet.js";
import type { PolicyGate } from "./policy-gate.js";
import type { Port } from "./ports.js";
import { type FrameSink, PortKind, VNET_HDR_BYTES } from "./types.js";
import { Verdict } from "./verdicts.js";
import { WayCache } from "./way-cache.js";

/** From the start of an IPv4 header without options. */
const TIME_WORD = 8;
const SRC = 12;
const DST = 16;
const PORTS = 20;
const UDP_LENGTH = 24;
const TCP_OFFSET_AND_FLAGS = 32;
/** Version 4, five words of header. */
const PLAIN_HEADER = 0x45;
/** MF and the fragment offset; not DF. */
const FRAGMENT = 0x3fff;
/** Places in the L4 header. */
const TCP_SEQ = 4;
const TCP_ACK = 8;
const TCP_WINDOW = 14;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const TCP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const NAT = Meta.srcNat | Meta.dstNat;
const TCP = IpProtocol.tcp;
const UDP = IpProtocol.udp;
const ACK = TcpFlag.ack;
const STATE_FLAGS = TcpFlag.syn | TcpFlag.fin | TcpFlag.rst | TcpFlag.ack;
const LEAST_BYTES = IPV4_HEADER_BYTES + 14;
const NEEDS_CSUM = 0x100;
const GSO_TYPE_MASK = 0x7f;

export class FastPath {
  private readonly view: DataView;
  private readonly words: Int32Array;
  private readonly ways = new WayCache();
  private readonly bridgeMac: MacWords;
  private readonly hostPortMac: MacWords;
  private routesVersion = 0;
  private hostIsReachable = false;

  constructor(
    private readonly arena: Uint8Array,
    private readonly conntrack: Conntrack,
    private readonly policies: PolicyGate,
    private readonly hostLink: HostLink,
    private readonly counters: Counters,
    private readonly sink: FrameSink,
    private readonly bridgeNetfilter: boolean,
    bridgeMac: Uint8Array,
    hostPortMac: Uint8Array,
  ) {
    this.view = new DataView(arena.buffer, arena.byteOffset, arena.byteLength);
    this.words = conntrack.words;
    this.bridgeMac = MacWords.of(bridgeMac);
    this.hostPortMac = MacWords.of(hostPortMac);
  }

  /** Begins a batch; what was learned under another version of the routes is forgotten. */
  begin(routesVersion: number, hostIsReachable: boolean): void {
    this.hostIsReachable = hostIsReachable;
    if (routesVersion === this.routesVersion) return;
    this.routesVersion = routesVersion;
    this.forget();
  }

  /** Forgets where packets come from and go to: a route, a port or an address has changed. */
  forget(): void {
    this.ways.clear();
  }

  /** Remembers what the pipeline did with a packet of a known connection that it has forwarded. */
  learn(packet: Packet): void {
    const { inPort, outPort } = packet;
    // It reads IPv4 alone, and no IPv4 packet may find its way by an IPv6 address' handle.
    if (inPort === undefined || outPort === undefined || packet.flow === 0 || packet.isIpv6) return;
    if (inPort.kind !== PortKind.pod) this.ways.admit(inPort.id, packet.src | 0, packet.peer | 0);
    this.ways.put(inPort.id, packet.newDst | 0, outPort, packet.nextHop | 0);
  }

  /**
   * Forwards the frame if it can. `peer` is signed. Returns whether it did; if not, nothing has changed.
   */
  forward(port: Port, frame: number, length: number, peer: number): boolean {
    if (port.kind === PortKind.overlay || port.kind === PortKind.nodenet)
      return this.forwardIp(port, frame, frame, length, peer, false);
    if (length < ETHERNET_HEADER_BYTES || this.view.getUint16(frame + 12) !== EtherType.ipv4) return false;
    const ip = frame + ETHERNET_HEADER_BYTES;
    const bytes = length - ETHERNET_HEADER_BYTES;
    if (port.kind === PortKind.host) {
      return this.hostPortMac.isAt(this.view, frame) && this.forwardIp(port, frame, ip, bytes, peer, false);
    }
    if (port.kind !== PortKind.pod || port.ip32 === 0 || !port.macWords.isAt(this.view, frame + 6))
      return false;
    const bridged = !this.bridgeMac.isAt(this.view, frame);
    if (bridged && !this.bridgeNetfilter) return false;
    return this.forwardIp(port, frame, ip, bytes, peer, bridged);
  }

  /** The IP packet of `length` bytes at `ip`. One function on purpose: calls are what a packet costs most. */
  private forwardIp(
    port: Port,
    frame: number,
    ip: number,
    length: number,
    peer: number,
    bridged: boolean,
  ): boolean {
    const { view, words } = this;
    if (length < LEAST_BYTES) return false;
    const first = view.getInt32(ip);
    const second = view.getInt32(ip + 4);
    const time = view.getInt32(ip + TIME_WORD);
    const src = view.getInt32(ip + SRC);
    const dst = view.getInt32(ip + DST);
    if (first >>> 24 !== PLAIN_HEADER || (first & 0xffff) !== length || (second & FRAGMENT) !== 0)
      return false;
    if (fold(halves(first) + halves(second) + halves(time) + halves(src) + halves(dst)) !== 0xffff)
      return false;

    // A segment or datagram that changes no state.
    const protocol = (time >>> 16) & 0xff;
    const isTcp = protocol === TCP;
    const word = view.getUint16(ip + (isTcp ? TCP_OFFSET_AND_FLAGS : UDP_LENGTH));
    const l4Bytes = isTcp ? (word >>> 12) << 2 : word;
    if (
      isTcp
        ? (word & STATE_FLAGS) !== ACK || l4Bytes < TCP_HEADER_BYTES
        : protocol !== UDP || l4Bytes < UDP_HEADER_BYTES
    )
      return false;
    if (l4Bytes > length - IPV4_HEADER_BYTES) return false;

    const portId = port.id;
    if (port.ip32 !== 0 ? src !== port.ip32 : !this.ways.isAdmitted(portId, src, peer)) return false;
    const ports = view.getInt32(ip + PORTS);
    const reference = this.conntrack.settled(protocol, src, dst, ports);
    if (reference === 0 || !this.policies.isSettled(reference)) return false;
    const at = (reference >>> 1) * WORDS_PER_ENTRY;
    const meta = words[at + Word.meta];
    const translated = (meta & NAT) !== 0;
    const other = at + REPLY_TUPLE - (reference & 1) * REPLY_TUPLE;
    const newDst = translated ? words[other + Word.src] : dst;

    const way = this.ways.find(portId, newDst);
    if (way < 0) return false;
    const out = this.ways.port(way);
    const outKind = out.kind;
    if (bridged ? newDst !== dst || !isBehind(out, view, frame) : time >>> 24 <= 1) return false;
    if (outKind === PortKind.host && !this.hostIsReachable) return false;
    const offload = view.getUint16(frame - VNET_HDR_BYTES);
    let wireBytes = length;
    if (offload !== 0) {
      if ((offload & GSO_TYPE_MASK) !== 0) {
        wireBytes =
          IPV4_HEADER_BYTES + (isTcp ? l4Bytes : UDP_HEADER_BYTES) + view.getUint16(frame - 6, true);
      }
      if (
        (offload & NEEDS_CSUM) !== 0 &&
        (view.getUint16(frame - 4, true) !== ip + IPV4_HEADER_BYTES - frame ||
          view.getUint16(frame - 2, true) !== (isTcp ? TCP_CHECKSUM : UDP_CHECKSUM))
      )
        return false;
    }
    if (wireBytes > out.mtuBytes) return false;

    if (!isTcp) this.conntrack.touch(reference, length);
    else {
      const header = ip + IPV4_HEADER_BYTES;
      const inWindow = this.conntrack.touchTcp(
        reference,
        word & 0xff,
        view.getInt32(header + TCP_SEQ),
        view.getInt32(header + TCP_ACK),
        view.getUint16(header + TCP_WINDOW),
        this.arena,
        header,
        l4Bytes,
        length,
        length - IPV4_HEADER_BYTES - l4Bytes,
      );
      if (!inWindow) return false;
    }
    // Nothing speaks against it: from here on it is forwarded.
    let addresses = 0;
    if (translated) {
      const newSrc = words[other + Word.dst];
      const turned = words[other + Word.ports];
      const newPorts = (turned << 16) | (turned >>> 16);
      addresses = halves(~src) + halves(newSrc) + halves(~dst) + halves(newDst);
      view.setInt32(ip + SRC, newSrc);
      view.setInt32(ip + DST, newDst);
      view.setInt32(ip + PORTS, newPorts);
      const field = ip + (isTcp ? IPV4_HEADER_BYTES + TCP_CHECKSUM : IPV4_HEADER_BYTES + UDP_CHECKSUM);
      const before = view.getUint16(field);
      if ((offload & NEEDS_CSUM) !== 0) view.setUint16(field, fold(before + addresses));
      else if (isTcp || before !== 0) {
        const sum = fold((before ^ 0xffff) + addresses + halves(~ports) + halves(newPorts)) ^ 0xffff;
        view.setUint16(field, sum === 0 && !isTcp ? 0xffff : sum);
      }
    }
    if (bridged) {
      if (translated) view.setUint16(ip + TIME_WORD + 2, fold((~time & 0xffff) + addresses) ^ 0xffff);
      this.sink.send(out.id, frame, length + ETHERNET_HEADER_BYTES, 0);
      this.counters.count(Verdict.bridged);
      return true;
    }
    const left = (time >>> 16) - 0x100;
    view.setInt32(
      ip + TIME_WORD,
      (left << 16) | (fold((~time & 0xffff) + addresses + (~time >>> 16) + left) ^ 0xffff),
    );
    if (outKind === PortKind.pod || outKind === PortKind.host) {
      const start = ip - ETHERNET_HEADER_BYTES;
      if (start !== frame) moveVnet(view, frame, start, offload);
      const isPod = outKind === PortKind.pod;
      (isPod ? out.macWords : this.hostLink.macWords).write(view, start);
      (isPod ? this.bridgeMac : this.hostPortMac).write(view, start + 6);
      view.setUint16(start + 12, EtherType.ipv4);
      this.sink.send(out.id, start, length + ETHERNET_HEADER_BYTES, 0);
    } else {
      if (ip !== frame) moveVnet(view, frame, ip, offload);
      this.sink.send(out.id, ip, length, this.ways.nextHop(way));
    }
    this.counters.count(Verdict.forward);
    return true;
  }
}

/** Moves the virtio_net_hdr when a frame's start moves; what counts from the start moves along. */
function moveVnet(view: DataView, from: number, to: number, offload: number): void {
  if (offload === 0) {
    view.setInt32(to - 10, 0);
    view.setInt32(to - 6, 0);
    view.setUint16(to - 2, 0);
    return;
  }
  const headerLength = view.getUint16(from - 8, true);
  const size = view.getUint16(from - 6, true);
  const start = view.getUint16(from - 4, true);
  const offset = view.getUint16(from - 2, true);
  view.setUint16(to - VNET_HDR_BYTES, offload);
  view.setUint16(to - 8, headerLength === 0 ? 0 : headerLength + from - to, true);
  view.setUint16(to - 6, size, true);
  view.setUint16(to - 4, (offload & NEEDS_CSUM) === 0 ? start : start + from - to, true);
  view.setUint16(to - 2, offset, true);
}

/** Whether the frame is addressed to the pod behind the port. */
function isBehind(port: Port, view: DataView, frame: number): boolean {
  return port.kind === PortKind.pod && port.ip32 !== 0 && port.macWords.isAt(view, frame);
}

/** The two 16-bit words of a 32-bit word, added. */
function halves(word: number): number {
  return (word >>> 16) + (word & 0xffff);
}

/** Folds a sum of up to some thousand 16-bit words. */
function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}
