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
const TCP_OFFSET = 32;
const TCP_FLAGS = 33;
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
const TCP_HEADER = 20;
const UDP_HEADER = 8;
/** A TCP header with nothing but a timestamp in its options, and how those begin. */
const TIMESTAMP_HEADER = 32;
const TIMESTAMP_ONLY = 0x0101080a;
const NEEDS_CSUM = 0x100;
const GSO_TYPE_MASK = 0x7f;
const STATE_FLAGS = TcpFlag.syn | TcpFlag.fin | TcpFlag.rst | TcpFlag.ack;
// V8 compiles a module's own constants into the code, but looks up imported ones each time.
const { pod: POD, host: HOST, overlay: OVERLAY, nodenet: NODENET } = PortKind;
const { tcp: TCP, udp: UDP } = IpProtocol;
const { src: WORD_SRC, dst: WORD_DST, ports: WORD_PORTS, meta: META } = Word;
const NAT = Meta.srcNat | Meta.dstNat;
const TUPLE = REPLY_TUPLE;
const ENTRY_WORDS = WORDS_PER_ENTRY;
const ACK = TcpFlag.ack;
const ETHERNET_BYTES = ETHERNET_HEADER_BYTES;
const VNET_BYTES = VNET_HDR_BYTES;
const IPV4_TYPE = EtherType.ipv4;
const IP_HEADER = IPV4_HEADER_BYTES;
/** IP header and as much of the next as is read at once. */
const LEAST_BYTES = IP_HEADER + 14;
/** Offsets and lengths in the arena. */
const OFFSET = 0x3fffffff;
/** References of a flow table: see MAX_CAPACITY. */
const REFERENCE = 0x1ffffff;
const { forward: FORWARDED, bridged: BRIDGED } = Verdict;

// Arrow functions in constants, for V8 would check each time that a function declaration still is what it was.

/** The two 16-bit words of a 32-bit word, added. */
const halves = (word: number): number => (word >>> 16) + (word & 0xffff);

/** Adds the carry of a sum of 16-bit words; twice for up to some thousand words. */
const carry = (sum: number): number => (sum & 0xffff) + (sum >>> 16);

/** The lower half of a word moves by `distance`. */
const movedLow = (word: number, distance: number): number => (word & ~0xffff) | ((word + distance) & 0xffff);

/** Whether the frame is addressed to the pod behind the port. */
const isBehind = (port: Port, view: DataView, frame: number): boolean =>
  port.kind === POD && port.ip32 !== 0 && port.macWords.isAt(view, frame);

/** What a packet's way depends on. */
export interface FastPathParts {
  readonly arena: Uint8Array;
  readonly conntrack: Conntrack;
  readonly policies: PolicyGate;
  readonly hostLink: HostLink;
  readonly counters: Counters;
  readonly sink: FrameSink;
  readonly bridgeNetfilter: boolean;
  readonly bridgeMac: Uint8Array;
  readonly hostPortMac: Uint8Array;
}

/** Whether the frame was forwarded; if not, nothing has changed. */
type Forward = (port: Port, frame: number, length: number, peer: number, hint: number) => boolean;

export class FastPath {
  /** What {@link makeForward} reads while packets pass. */
  private readonly state = { hostIsReachable: false };
  private readonly ways = new WayCache();
  private readonly carry: Forward;
  private routesVersion = 0;

  constructor(parts: FastPathParts) {
    this.carry = makeForward(parts, this.ways, this.state);
  }

  /** Begins a batch; what was learned under another version of the routes is forgotten. */
  begin(routesVersion: number, hostIsReachable: boolean): void {
    this.state.hostIsReachable = hostIsReachable;
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
   * Forwards the frame if it can. `peer` is signed; `hint` is the reference of the connection that the packet is likely to
   * belong to, or 0. Returns whether it did; if not, nothing has changed.
   */
  forward(port: Port, frame: number, length: number, peer: number, hint: number): boolean {
    return this.carry(port, frame, length, peer, hint);
  }
}

/**
 * The way of one frame. One function on purpose, for calls are what a packet costs most; and one that is made once and
 * closes over what it works on, for V8 then compiles the addresses and lengths of its arrays into the code. Masks tell it
 * that sums of offsets stay in 32 bits.
 */
function makeForward(
  parts: FastPathParts,
  ways: WayCache,
  state: { readonly hostIsReachable: boolean },
): Forward {
  const { arena, conntrack, policies, hostLink, counters, sink, bridgeNetfilter } = parts;
  const { words, settled } = conntrack;
  const { find, isAt, touchUdp, touchAck } = settled;
  const view = new DataView(arena.buffer, arena.byteOffset, arena.byteLength);
  const bridgeMac = MacWords.of(parts.bridgeMac);
  const hostPortMac = MacWords.of(parts.hostPortMac);

  return (port, anyFrame, frameBytes, peer, hint) => {
    // The link.
    const frame = anyFrame & OFFSET;
    const kind = port.kind;
    let ip = frame;
    let length = frameBytes & OFFSET;
    let bridged = false;
    if (kind === POD || kind === HOST) {
      ip = frame + ETHERNET_BYTES;
      length -= ETHERNET_BYTES;
      if (length < LEAST_BYTES || view.getUint16(frame + 12) !== IPV4_TYPE) return false;
      const dstHead = view.getInt32(frame);
      const middle = view.getInt32(frame + 4);
      if (kind === HOST) {
        if (dstHead !== hostPortMac.head || middle >>> 16 !== hostPortMac.tail) return false;
      } else {
        const mac = port.macWords;
        const srcTail = view.getInt32(frame + 8);
        if (
          port.ip32 === 0 ||
          ((middle << 16) | (srcTail >>> 16)) !== mac.head ||
          (srcTail & 0xffff) !== mac.tail
        )
          return false;
        bridged = dstHead !== bridgeMac.head || middle >>> 16 !== bridgeMac.tail;
        if (bridged && !bridgeNetfilter) return false;
      }
    } else if (length < LEAST_BYTES || (kind !== OVERLAY && kind !== NODENET)) return false;

    // An IPv4 header without options or fragments.
    const first = view.getInt32(ip);
    const second = view.getInt32(ip + 4);
    const time = view.getInt32(ip + TIME_WORD);
    const src = view.getInt32(ip + SRC);
    const dst = view.getInt32(ip + DST);
    if (first >>> 24 !== PLAIN_HEADER || (first & 0xffff) !== length || (second & FRAGMENT) !== 0)
      return false;
    const sum = halves(first) + halves(second) + halves(time) + halves(src) + halves(dst);
    if (carry(carry(sum)) !== 0xffff) return false;

    // A segment or datagram that changes no state.
    const protocol = (time >>> 16) & 0xff;
    const isTcp = protocol === TCP;
    const l4Bytes = isTcp ? (view.getUint8(ip + TCP_OFFSET) >>> 4) << 2 : view.getUint16(ip + UDP_LENGTH);
    if (isTcp) {
      if (l4Bytes < TCP_HEADER || (view.getUint8(ip + TCP_FLAGS) & STATE_FLAGS) !== ACK) return false;
    } else if (protocol !== UDP || l4Bytes < UDP_HEADER) return false;
    if (l4Bytes > length - IP_HEADER) return false;

    // Of a settled connection, from where its packets come.
    const portId = port.id;
    if (port.ip32 !== 0 ? src !== port.ip32 : ways.isAdmitted(portId, src, peer) !== true) return false;
    const ports = view.getInt32(ip + PORTS);
    const reference =
      (isAt(hint, protocol, src, dst, ports) ? hint : find(protocol, src, dst, ports)) & REFERENCE;
    if (reference === 0 || !policies.isSettled(reference)) return false;
    const at = (reference >>> 1) * ENTRY_WORDS;
    const translated = (words[at + META] & NAT) !== 0;
    const other = at + TUPLE - (reference & 1) * TUPLE;
    const newDst = translated ? words[other + WORD_SRC] : dst;

    // Where it goes.
    const way = ways.find(portId, newDst);
    if (way < 0) return false;
    const out = ways.port(way);
    const outKind = out.kind;
    if (bridged ? newDst !== dst || !isBehind(out, view, frame) : time >>> 24 <= 1) return false;
    if (outKind === HOST && !state.hostIsReachable) return false;
    const offload = view.getUint16(frame - VNET_BYTES);
    let wireBytes = length;
    if (offload !== 0) {
      if ((offload & GSO_TYPE_MASK) !== 0)
        wireBytes = IP_HEADER + (isTcp ? l4Bytes : UDP_HEADER) + view.getUint16(frame - 6, true);
      const sumAt = ip + IP_HEADER - frame + (isTcp ? TCP_CHECKSUM << 16 : UDP_CHECKSUM << 16);
      if ((offload & NEEDS_CSUM) !== 0 && view.getInt32(frame - 4, true) !== sumAt) return false;
    }
    if (wireBytes > out.mtuBytes) return false;

    if (!isTcp) touchUdp(reference, length);
    else {
      const header = ip + IP_HEADER;
      const seq = view.getInt32(header + TCP_SEQ);
      const ack = view.getInt32(header + TCP_ACK);
      const window = view.getUint16(header + TCP_WINDOW);
      const payload = length - IP_HEADER - l4Bytes;
      const hasNoSack =
        l4Bytes === TCP_HEADER ||
        (l4Bytes === TIMESTAMP_HEADER && view.getInt32(header + TCP_HEADER) === TIMESTAMP_ONLY);
      if (!hasNoSack || touchAck(reference, seq, ack, window, length, payload) !== true) {
        const flags = view.getUint8(ip + TCP_FLAGS);
        if (!conntrack.touchTcp(reference, flags, seq, ack, window, arena, header, l4Bytes, length, payload))
          return false;
      }
    }

    // Nothing speaks against it: from here on it is forwarded.
    let addresses = 0;
    if (translated) {
      const newSrc = words[other + WORD_DST];
      const turned = words[other + WORD_PORTS];
      const newPorts = (turned << 16) | (turned >>> 16);
      addresses = halves(~src) + halves(newSrc) + halves(~dst) + halves(newDst);
      view.setInt32(ip + SRC, newSrc);
      view.setInt32(ip + DST, newDst);
      view.setInt32(ip + PORTS, newPorts);
      const field = ip + (isTcp ? IP_HEADER + TCP_CHECKSUM : IP_HEADER + UDP_CHECKSUM);
      const before = view.getUint16(field);
      if ((offload & NEEDS_CSUM) !== 0) view.setUint16(field, carry(carry(before + addresses)));
      else if (isTcp || before !== 0) {
        const changed = (before ^ 0xffff) + addresses + halves(~ports) + halves(newPorts);
        const after = carry(carry(changed)) ^ 0xffff;
        view.setUint16(field, after === 0 && !isTcp ? 0xffff : after);
      }
    }
    if (bridged) {
      if (translated) view.setUint16(ip + TIME_WORD + 2, carry(carry((~time & 0xffff) + addresses)) ^ 0xffff);
      sink.send(out.id, frame, length + ETHERNET_BYTES, 0);
      counters.count(BRIDGED);
      return true;
    }
    const left = (time >>> 16) - 0x100;
    const headerSum = carry(carry((~time & 0xffff) + addresses + (~time >>> 16) + left)) ^ 0xffff;
    view.setInt32(ip + TIME_WORD, (left << 16) | headerSum);
    const hasLink = outKind === POD || outKind === HOST;
    const start = hasLink ? ip - ETHERNET_BYTES : ip;
    // The virtio_net_hdr moves along, and what in it counts from the frame's start.
    if (start !== frame && offload === 0) {
      view.setInt32(start - 10, 0);
      view.setInt32(start - 6, 0);
      view.setUint16(start - 2, 0);
    } else if (start !== frame) {
      const lengths = view.getInt32(frame - 8, true);
      const partial = view.getInt32(frame - 4, true);
      const moved = frame - start;
      view.setUint16(start - VNET_BYTES, offload);
      view.setInt32(start - 8, (lengths & 0xffff) === 0 ? lengths : movedLow(lengths, moved), true);
      view.setInt32(start - 4, (offload & NEEDS_CSUM) === 0 ? partial : movedLow(partial, moved), true);
    }
    if (hasLink) {
      const isPod = outKind === POD;
      const to = isPod ? out.macWords : hostLink.macWords;
      const from = isPod ? bridgeMac : hostPortMac;
      view.setInt32(start, to.head);
      view.setInt32(start + 4, (to.tail << 16) | (from.head >>> 16));
      view.setInt32(start + 8, (from.head << 16) | from.tail);
      view.setUint16(start + 12, IPV4_TYPE);
    }
    sink.send(out.id, start, (length + ip - start) | 0, hasLink ? 0 : ways.nextHop(way));
    counters.count(FORWARDED);
    return true;
  };
}
