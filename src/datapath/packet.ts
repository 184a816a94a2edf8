/** The packet in hand: where it is, what it is, and what the stages have decided about it so far. One object, refilled. */
import {
  IPV6_DST,
  IPV6_SRC,
  IpProtocol,
  isFragment,
  isIcmpError,
  isIcmpv6Error,
  PacketView,
  ParseError,
  parseIpv4Packet,
  parseIpv6Packet,
  parseQuotedIpv6,
  parseQuotedPacket,
  SCTP_CHECKSUM,
  TCP_CHECKSUM,
  transportChecksumIsValid,
  UDP_CHECKSUM,
  UDP_HEADER_BYTES,
  writeSctpChecksum,
} from "../wire/index.js";
import { type AddressBook, isIpv6Handle, NO_HANDLE } from "./ipv6/address-book.js";
import type { Port } from "./ports.js";
import { PortKind } from "./types.js";
import {
  checksumField,
  checksumIsTrusted,
  checksumStart,
  clearVnet,
  isPlain,
  needsChecksum,
  segmentBytes,
} from "./vnet.js";

/** What conntrack says of a packet (ctstate). */
export const CtState = { untracked: 0, new: 1, established: 2, related: 3, invalid: 4 } as const;
export type CtState = (typeof CtState)[keyof typeof CtState];

/** Stages in the order that a packet passes them; a packet's `hook` is the last it reached. */
export const Hook = {
  ingress: 0,
  conntrack: 1,
  prerouting: 2,
  route: 3,
  local: 4,
  forward: 5,
  postrouting: 6,
  egress: 7,
} as const;
export type Hook = (typeof Hook)[keyof typeof Hook];

/** The packet that an ICMP error quotes: as it is quoted, and as its sender has to see it. */
export class Embedded {
  readonly view = new PacketView();
  ports = 0;
  newSrc = 0;
  newDst = 0;
  newPorts = 0;
}

/** Ports are one word, `sport << 16 | dport`, signed; for ICMP queries `identifier << 16 | type << 8 | code`. */
export class Packet {
  readonly view = new PacketView();
  readonly embedded = new Embedded();

  /** Undefined for a packet that the node itself made. */
  inPort: Port | undefined = undefined;
  /** Where it came from by the underlay, for overlay and nodenet ports. */
  peer = 0;
  nowMs = 0;
  /** Start of the frame, and of the IP packet in it. */
  frame = 0;
  ip = 0;
  /** Sent to a broadcast or multicast MAC. */
  toGroupMac = false;
  /** Whether the fields from here on are of this frame. */
  isParsed = false;

  /** Whether it is TCP or UDP whose checksum field holds only the pseudo-header's sum. */
  isPartial = false;
  /** Payload bytes of each segment of a super-packet, else 0. */
  segmentBytes = 0;
  isIcmpError = false;
  /** The packet that an ICMP error quotes has to be translated. */
  translatesEmbedded = false;
  /** Neither alone nor the first: without an L4 header. */
  isLaterFragment = false;

  protocol = 0;
  /** The tuple as it came. */
  src = 0;
  dst = 0;
  ports = 0;
  /** The tuple as it will leave. */
  newSrc = 0;
  newDst = 0;
  newPorts = 0;

  hook: Hook = Hook.ingress;
  ctState: CtState = CtState.untracked;
  /** Reference into the flow table, 0 while the connection is not in it. */
  flow = 0;
  /** State to enter the connection with; 0 when there is nothing to enter. */
  initialState = 0;

  service = "";
  endpoint = "";
  /** The proxy's reason for a refusal. */
  reason = "";
  /** The policies that deny it. */
  policy = "";
  masquerade = false;

  /** Switched by MAC between pods: no routing, TTL and MACs stay. */
  isBridged = false;
  outKind: PortKind = PortKind.local;
  outPort: Port | undefined = undefined;
  nextHop = 0;
  /** Of a packet that the node itself made: the port whose link its link-local destination is on. */
  linkPort: Port | undefined = undefined;
  /** The node's own address towards where it goes. */
  sourceIp = 0;
  /** MTU to announce in fragmentation-needed. */
  mtuBytes = 0;

  /** @param book missing on a node without IPv6: its packets are not well formed then */
  constructor(
    readonly bytes: Uint8Array,
    readonly book?: AddressBook,
  ) {}

  get isIpv6(): boolean {
    return this.view.version === 6;
  }

  /** Starts on a frame. Its IP packet is read by {@link parse}. */
  begin(port: Port | undefined, frame: number, peer: number, nowMs: number): void {
    this.inPort = port;
    this.frame = frame;
    this.ip = frame;
    this.peer = peer;
    this.nowMs = nowMs;
    this.toGroupMac = false;
    this.isParsed = false;
    this.protocol = 0;
    this.hook = Hook.ingress;
    this.ctState = CtState.untracked;
    this.flow = 0;
    this.initialState = 0;
    this.translatesEmbedded = false;
    this.service = "";
    this.endpoint = "";
    this.reason = "";
    this.policy = "";
    this.masquerade = false;
    this.isBridged = false;
    this.outPort = undefined;
    this.nextHop = 0;
    this.linkPort = undefined;
  }

  /** Reads the IPv4 packet of up to `length` bytes at `ip`. False when it, or its virtio_net_hdr, is not well formed. */
  parse(ip: number, length: number): boolean {
    const { view } = this;
    this.ip = ip;
    if (parseIpv4Packet(this.bytes, ip, length, view) !== ParseError.ok) return false;
    this.isIcmpError = view.protocol === IpProtocol.icmp && isIcmpError(view.icmpType);
    return this.take();
  }

  /** The same for IPv6. Its addresses have no handles yet: {@link intern} comes next, when the source is believed. */
  parse6(ip: number, length: number): boolean {
    const { view } = this;
    this.ip = ip;
    if (this.book === undefined || parseIpv6Packet(this.bytes, ip, length, view) !== ParseError.ok)
      return false;
    this.isIcmpError = view.protocol === IpProtocol.icmpv6 && isIcmpv6Error(view.icmpType);
    return this.take();
  }

  /** Gives the addresses of an IPv6 packet their handles; false when the book is full. */
  intern(): boolean {
    const { bytes, book, view } = this;
    if (book === undefined) return false;
    // Each is in a field before the next is asked for, where a collection finds it.
    this.src = book.intern(bytes, view.l3Offset + IPV6_SRC);
    this.dst = book.intern(bytes, view.l3Offset + IPV6_DST);
    this.newSrc = view.src = this.src;
    this.newDst = view.dst = this.dst;
    return this.src !== NO_HANDLE && this.dst !== NO_HANDLE;
  }

  /** Marks the addresses that the packet keeps in the book. */
  markAddresses(mark: (address: number) => void): void {
    for (const address of [this.src, this.dst, this.newSrc, this.newDst, this.sourceIp]) mark(address);
  }

  private take(): boolean {
    const { view } = this;
    this.protocol = view.protocol;
    this.isLaterFragment = view.fragmentOffset !== 0;
    this.ports = portsOf(view);
    this.src = view.src;
    this.dst = view.dst;
    this.newSrc = view.src;
    this.newDst = view.dst;
    this.newPorts = this.ports;
    this.isPartial = false;
    this.segmentBytes = 0;
    this.isParsed = isPlain(this.bytes, this.frame) || this.readOffload();
    return this.isParsed;
  }

  /** Whether the transport checksum is right, as far as it can be verified here. */
  l4ChecksumHolds(): boolean {
    if (isFragment(this.view) || checksumIsTrusted(this.bytes, this.frame)) return true;
    return transportChecksumIsValid(this.bytes, this.view);
  }

  /** Reads the packet that this ICMP error quotes; false when it is not enough to find a connection by. */
  readEmbedded(): boolean {
    const { bytes, view, embedded } = this;
    if (isFragment(view)) return false;
    const parse = this.isIpv6 ? parseQuotedIpv6 : parseQuotedPacket;
    if (parse(bytes, view, embedded.view) !== ParseError.ok) return false;
    embedded.ports = portsOf(embedded.view);
    return embedded.view.fragmentOffset === 0 && this.readEmbeddedAddresses();
  }

  /** An address without a handle belongs to no connection; no IPv4 address may pass for a handle. */
  private readEmbeddedAddresses(): boolean {
    const { bytes, book } = this;
    const { view } = this.embedded;
    if (!this.isIpv6) return !isIpv6Handle(view.src) && !isIpv6Handle(view.dst);
    if (book === undefined) return false;
    view.src = book.find(bytes, view.l3Offset + IPV6_SRC);
    view.dst = book.find(bytes, view.l3Offset + IPV6_DST);
    return view.src !== NO_HANDLE && view.dst !== NO_HANDLE;
  }

  /** Length of the IP packet on the wire: of one segment when it is a super-packet. */
  wireBytes(): number {
    const { view, segmentBytes } = this;
    if (segmentBytes === 0) return view.l3Length;
    const l4Header = view.protocol === IpProtocol.tcp ? view.tcpHeaderLength : UDP_HEADER_BYTES;
    return view.headerLength + l4Header + segmentBytes;
  }

  /** Whether the node itself sent it: its IP stack, or the datapath on its own. */
  isFromNode(): boolean {
    return this.inPort === undefined || this.inPort.kind === PortKind.node;
  }

  isTranslated(): boolean {
    if (this.newSrc !== this.src || this.newDst !== this.dst) return true;
    return this.newPorts !== this.ports || this.translatesEmbedded;
  }

  private readOffload(): boolean {
    const { bytes, frame, view } = this;
    this.segmentBytes = segmentBytes(bytes, frame);
    if (!needsChecksum(bytes, frame)) return true;
    const field = checksumField(bytes, frame);
    const start = checksumStart(bytes, frame);
    if (field < start || field + 2 > view.l3Offset + view.l3Length) return false;
    const offset = field - start;
    if (view.protocol === IpProtocol.sctp && start === view.l4Offset && offset === SCTP_CHECKSUM) {
      // A CRC32c has no partial form that a rewrite could adjust, and the devices behind would add up 16-bit words.
      writeSctpChecksum(bytes, view.l4Offset, view.l4Length);
      clearVnet(bytes, frame);
      return true;
    }
    const expected = view.protocol === IpProtocol.tcp ? TCP_CHECKSUM : UDP_CHECKSUM;
    const hasPseudoHeader = view.protocol === IpProtocol.tcp || view.protocol === IpProtocol.udp;
    // Otherwise it is a tunnel's inner checksum, which no rewrite here touches.
    this.isPartial =
      hasPseudoHeader && start === view.l4Offset && offset === expected && !this.isLaterFragment;
    return true;
  }
}

function portsOf(view: PacketView): number {
  const { protocol } = view;
  if (protocol !== IpProtocol.icmp && protocol !== IpProtocol.icmpv6) return (view.sport << 16) | view.dport;
  return (view.icmpId << 16) | (view.icmpType << 8) | view.icmpCode;
}
