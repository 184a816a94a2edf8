/**
 * A small IP host on Ethernet, for pods and for the machine beside the nodes: neighbours (neighbours.ts), fragments
 * (reassembly.ts), echo, UDP, and TCP from tcp.ts, over IPv4 and IPv6. It trusts nothing: every packet that comes in is
 * checked by the slow codec.
 */

import { offload } from "../datapath/offload.js";
import { inPrefix, isIpv6 } from "./address.js";
import type { VirtualClock } from "./clock.js";
import { complete } from "./device.js";
import {
  ARP_TYPE,
  ETHERNET_BYTES,
  ethernet,
  etherTypeOf,
  formatMac,
  IPV4_TYPE,
  IPV6_TYPE,
} from "./ethernet.js";
import type { Datagram, IcmpError, Interface, SendOptions, StationRoute } from "./host-types.js";
import { encodeMessage, icmpOf, isTooBig, portUnreachable } from "./icmp-family.js";
import { withOptions } from "./ipv6.js";
import { Neighbours } from "./neighbours.js";
import {
  decodeIcmp,
  decodePacket,
  decodeQuoted,
  decodeTcp,
  decodeUdp,
  encodePacket,
  encodeTcp,
  encodeUdp,
  fragment,
  ICMP,
  ICMPV6,
  type IcmpMessage,
  isFragment,
  type Packet,
  TCP,
  type TcpSegment,
  UDP,
} from "./packet.js";
import { Reassembly } from "./reassembly.js";
import { TcpEnd } from "./tcp.js";

export type { Datagram, IcmpError, Interface, StationRoute } from "./host-types.js";

const EPHEMERAL_PORT = 40_000;
/** TCP payload of a segment, and of a super-packet. */
const MAX_SEGMENT_BYTES = 1400;
const MAX_SUPER_BYTES = 3 * MAX_SEGMENT_BYTES;

export class Station {
  readonly routes: StationRoute[] = [];
  readonly errors: IcmpError[] = [];
  readonly echoReplies: {
    readonly from: string;
    readonly sequence: number;
    readonly ttl: number;
    readonly bytes: number;
  }[] = [];
  readonly datagrams: Datagram[] = [];
  /** Everything that came in and was for this station, after reassembly. */
  readonly received: Packet[] = [];
  /** TCP segments to a client's port that belong to no connection of that port. */
  readonly strays: string[] = [];
  readonly tcp = new Map<string, TcpEnd>();
  /** Further protocols by number. */
  readonly protocols = new Map<number, (packet: Packet) => void>();
  /** Leaves checksums, and the cutting of TCP, to the device, as Linux does where the device offers it. */
  offloads = false;
  readonly #udpServers = new Map<number, (datagram: Datagram) => Uint8Array | undefined>();
  readonly #tcpServers = new Map<number, (end: TcpEnd) => void>();
  readonly #neighbours: Neighbours;
  readonly #reassembly = new Reassembly();
  /** Most bytes that a path takes, where an ICMPv6 error said so. */
  readonly #pathMtu = new Map<string, number>();
  #nextPort = EPHEMERAL_PORT;
  #nextId = 1;

  /**
   * `more`: further addresses; a station that has any sends also to its own by its routes. `ip6` and `linkLocal` are the
   * IPv6 addresses of one that has any.
   */
  constructor(
    readonly name: string,
    readonly ip: string,
    readonly clock: VirtualClock,
    readonly more: readonly string[] = [],
    readonly ip6 = "",
    readonly linkLocal = "",
  ) {
    this.#neighbours = new Neighbours(
      clock,
      () => this.addresses,
      (address) => this.#sourceTo(address),
    );
  }

  get addresses(): readonly string[] {
    return [this.ip, this.ip6, this.linkLocal, ...this.more].filter((address) => address !== "");
  }

  // Sending

  /** Sends echo requests; replies are collected in {@link echoReplies}. */
  ping(dst: string, sequence = 1, bytes = 56, options: SendOptions = {}): void {
    const { protocol, echoRequest: type } = icmpOf(dst);
    const rest = ((options.sport ?? 77) << 16) | sequence;
    const request = { type, code: 0, rest, payload: new Uint8Array(bytes).fill(sequence) };
    this.send(dst, protocol, encodeMessage(options.src ?? this.#sourceTo(dst), dst, request), options);
  }

  /** Sends one datagram. Returns its source port. */
  sendUdp(dst: string, dport: number, payload: Uint8Array, options: SendOptions = {}): number {
    const sport = options.sport ?? this.#nextPort++;
    const datagram = { sport, dport, payload };
    this.send(dst, UDP, encodeUdp(options.src ?? this.#sourceTo(dst), dst, datagram, options.plain), options);
    return sport;
  }

  /** Opens a TCP connection. */
  connect(dst: string, dport: number, sport = this.#nextPort++): TcpEnd {
    const end = this.#tcpEnd(this.#sourceTo(dst), dst, dport, sport);
    end.open();
    return end;
  }

  /** Answers datagrams to the port with what the handler gives. */
  serveUdp(port: number, handler: (datagram: Datagram) => Uint8Array | undefined): void {
    this.#udpServers.set(port, handler);
  }

  /** Accepts connections. */
  serveTcp(port: number, onConnection: (end: TcpEnd) => void): void {
    this.#tcpServers.set(port, onConnection);
  }

  send(dst: string, protocol: number, body: Uint8Array, options: SendOptions = {}): void {
    const id = this.#nextId++ & 0xffff;
    const head = {
      src: options.src ?? this.#sourceTo(dst),
      dst,
      ttl: options.ttl ?? 64,
      id,
      df: options.df ?? false,
    };
    const packet = { ...head, mf: false, fragmentOffset: 0, protocol, body };
    const { optionUnits = 0 } = options;
    this.sendPacket(optionUnits > 0 && isIpv6(dst) ? withOptions(packet, optionUnits) : packet);
  }

  sendPacket(packet: Packet): void {
    if ([this.ip, this.ip6, this.linkLocal].includes(packet.dst) && this.more.length === 0) {
      this.clock.after(0, () => this.#deliver(packet));
      return;
    }
    const route = this.#route(packet.dst);
    if (route === undefined) throw new Error(`${this.name} has no route to ${packet.dst}`);
    if (this.offloads && packet.protocol === TCP) {
      this.#toNeighbour(route.via, route.gateway ?? packet.dst, packet);
      return;
    }
    const mtuBytes = Math.min(route.via.mtuBytes, this.#pathMtu.get(packet.dst) ?? route.via.mtuBytes);
    const headerBytes = isIpv6(packet.dst) ? 40 : 20;
    if (packet.df && packet.body.length + headerBytes > mtuBytes)
      throw new Error(`${this.name}: message too long`);
    for (const piece of fragment(packet, mtuBytes))
      this.#toNeighbour(route.via, route.gateway ?? packet.dst, piece);
  }

  #sourceTo(dst: string): string {
    if (dst.startsWith("fe80:")) return this.linkLocal;
    return this.#route(dst)?.src ?? (isIpv6(dst) ? this.ip6 : this.ip);
  }

  #route(dst: string): StationRoute | undefined {
    const fits = this.routes.filter((route) => inPrefix(dst, route.prefix));
    return fits.sort((a, b) => Number(b.prefix.split("/")[1]) - Number(a.prefix.split("/")[1]))[0];
  }

  #toNeighbour(via: Interface, neighbour: string, packet: Packet): void {
    this.#neighbours.resolve(via, neighbour, (mac) => this.#transmit(via, mac, packet));
  }

  #transmit(via: Interface, mac: string, packet: Packet): void {
    const whole = encodePacket(packet);
    const type = isIpv6(packet.src) ? IPV6_TYPE : IPV4_TYPE;
    if (!this.offloads || isFragment(packet) || !hasPartialChecksum(packet)) {
      via.transmit(ethernet(mac, via.mac, type, whole));
      return;
    }
    const segmentBytes = whole.length > via.mtuBytes ? MAX_SEGMENT_BYTES : 0;
    const { packet: partial, vnet } = offload(whole, { link: ETHERNET_BYTES, segmentBytes });
    via.transmit(ethernet(mac, via.mac, type, partial), vnet);
  }

  // Receiving

  receive(via: Interface, frame: Uint8Array, vnetHeader?: Uint8Array): void {
    if (!this.#neighbours.listensTo(via, formatMac(frame.slice(0, 6)))) return;
    const type = etherTypeOf(frame);
    if (type === ARP_TYPE) this.#neighbours.receiveArp(via, frame.slice(ETHERNET_BYTES));
    if (type !== IPV4_TYPE && type !== IPV6_TYPE) return;
    const length = type === IPV6_TYPE ? 40 + frame[18] * 256 + frame[19] : frame[16] * 256 + frame[17];
    const packets =
      vnetHeader === undefined
        ? [frame.slice(ETHERNET_BYTES, ETHERNET_BYTES + length)]
        : complete(vnetHeader, frame, ETHERNET_BYTES);
    for (const bytes of packets) this.#receivePacket(via, decodePacket(bytes));
  }

  #receivePacket(via: Interface, packet: Packet): void {
    if (this.#neighbours.receiveDiscovery(via, packet)) return;
    if (!this.addresses.includes(packet.dst))
      throw new Error(`${this.name} (${this.addresses}) was given a packet to ${packet.dst}`);
    const whole = this.#reassembly.take(packet);
    if (whole !== undefined) this.#deliver(whole);
  }

  #deliver(packet: Packet): void {
    this.received.push(packet);
    if (packet.protocol === ICMP || packet.protocol === ICMPV6) this.#onIcmp(packet, decodeIcmp(packet.body));
    if (packet.protocol === UDP) this.#onUdp(packet);
    if (packet.protocol === TCP) this.#onTcp(packet, decodeTcp(packet.body));
    this.protocols.get(packet.protocol)?.(packet);
  }

  #onIcmp(packet: Packet, message: IcmpMessage): void {
    const { echoRequest, echoReply, unreachable } = icmpOf(packet.src);
    if (message.type === echoRequest) {
      this.#sendMessage(packet, { ...message, type: echoReply });
      return;
    }
    if (message.type === echoReply) {
      const { src: from, ttl } = packet;
      this.echoReplies.push({ from, sequence: message.rest & 0xffff, ttl, bytes: message.payload.length });
      return;
    }
    const quoted = decodeQuoted(message.payload);
    const { type, code, rest } = message;
    const error = { from: packet.src, type, code, mtuBytes: rest & 0xffff, quoted };
    this.errors.push(error);
    if (isTooBig(error) && isIpv6(packet.src)) this.#pathMtu.set(quoted.dst, error.mtuBytes);
    if (quoted.protocol === TCP && type === unreachable && !isTooBig(error)) {
      this.tcp
        .get(tcpKey(quoted.sport, quoted.dst, quoted.dport))
        ?.onRefused(`icmp ${type}/${code} from ${packet.src}`);
    }
  }

  /** Answers a packet. */
  #sendMessage({ src, dst }: Packet, message: IcmpMessage): void {
    this.send(src, icmpOf(src).protocol, encodeMessage(dst, src, message), { src: dst });
  }

  #onUdp(packet: Packet): void {
    const { sport, dport, payload } = decodeUdp(packet.body);
    const datagram = { from: packet.src, sport, to: packet.dst, dport, payload };
    this.datagrams.push(datagram);
    const server = this.#udpServers.get(dport);
    const answer = server?.(datagram);
    if (answer !== undefined) this.sendUdp(packet.src, sport, answer, { sport: dport, src: packet.dst });
    // A port below the ephemeral ones that nobody serves is closed (RFC 1122 §4.1.3.1).
    if (server === undefined && dport < EPHEMERAL_PORT) this.#sendMessage(packet, portUnreachable(packet));
  }

  #onTcp(packet: Packet, segment: TcpSegment): void {
    const known = this.tcp.get(tcpKey(segment.dport, packet.src, segment.sport));
    if (known !== undefined) {
      known.receive(segment);
      return;
    }
    if (segment.dport >= EPHEMERAL_PORT)
      this.strays.push(`${packet.src}:${segment.sport} to port ${segment.dport}`);
    const accept = this.#tcpServers.get(segment.dport);
    const end = this.#tcpEnd(packet.dst, packet.src, segment.sport, segment.dport, accept === undefined);
    if (accept !== undefined) accept(end);
    end.receive(segment);
  }

  /** `passing`: only to answer with a reset, not kept. */
  #tcpEnd(ip: string, peer: string, peerPort: number, port: number, passing = false): TcpEnd {
    const send = (segment: TcpSegment) =>
      this.send(peer, TCP, encodeTcp(ip, peer, segment), { df: true, src: ip });
    const end = new TcpEnd({ ip, port, peer, peerPort, clock: this.clock, refuses: passing, send });
    end.maxSegmentBytes = this.offloads ? MAX_SUPER_BYTES : MAX_SEGMENT_BYTES;
    if (!passing) this.tcp.set(tcpKey(port, peer, peerPort), end);
    return end;
  }
}

/** UDP without a checksum stays without. */
function hasPartialChecksum({ protocol, body }: Packet): boolean {
  return protocol === TCP || (protocol === UDP && (body[6] | body[7]) !== 0);
}

/** By what a station finds its connections. */
function tcpKey(port: number, peer: string, peerPort: number): string {
  return `${port} ${peer}:${peerPort}`;
}
