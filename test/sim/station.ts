/**
 * A small IP host on Ethernet, for pods and for the machine beside the nodes: ARP, fragmentation and reassembly, echo,
 * UDP, and TCP from tcp.ts. It trusts nothing: every packet that comes in is checked by the slow codec.
 */

import { offload } from "../datapath/offload.js";
import type { VirtualClock } from "./clock.js";
import { complete } from "./device.js";
import { arp, ethernet, formatMac, inPrefix } from "./ethernet.js";
import {
  checkBody,
  decodeIcmp,
  decodePacket,
  decodeQuoted,
  decodeTcp,
  decodeUdp,
  encodeIcmp,
  encodePacket,
  encodeTcp,
  encodeUdp,
  fragment,
  ICMP,
  type IcmpMessage,
  isFragment,
  type Packet,
  type Quoted,
  TCP,
  type TcpSegment,
  UDP,
} from "./packet.js";
import { TcpEnd } from "./tcp.js";

const BROADCAST = "ff:ff:ff:ff:ff:ff";
const ARP_TYPE = 0x0806;
const IPV4_TYPE = 0x0800;
const EPHEMERAL_PORT = 40_000;
const ETHERNET_BYTES = 14;
/** TCP payload of a segment, and of a super-packet. */
const MAX_SEGMENT_BYTES = 1400;
const MAX_SUPER_BYTES = 3 * MAX_SEGMENT_BYTES;

/** One network card. */
export interface Interface {
  readonly name: string;
  readonly mac: string;
  readonly mtuBytes: number;
  /** The offload header is missing when the frame is plain. */
  transmit(frame: Uint8Array, vnetHeader?: Uint8Array): void;
}

/** Where packets to a prefix go: directly, or by a gateway. */
export interface StationRoute {
  readonly prefix: string;
  readonly via: Interface;
  readonly gateway?: string;
  /** Source of what the station sends that way; its first address when missing. */
  readonly src?: string;
}

export interface IcmpError {
  /** Who sent it. */
  readonly from: string;
  readonly type: number;
  readonly code: number;
  /** For fragmentation needed. */
  readonly mtuBytes: number;
  readonly quoted: Quoted;
}

export interface Datagram {
  readonly from: string;
  readonly sport: number;
  readonly to: string;
  readonly dport: number;
  readonly payload: Uint8Array;
}

export interface SendOptions {
  readonly sport?: number;
  readonly ttl?: number;
  readonly df?: boolean;
  /** Send UDP without checksum. */
  readonly plain?: boolean;
  /** Claim another source. */
  readonly src?: string;
}

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
  readonly #neighbours = new Map<string, string>();
  readonly #waiting = new Map<string, { via: Interface; packet: Packet }[]>();
  readonly #fragments = new Map<string, Packet[]>();
  #nextPort = EPHEMERAL_PORT;
  #nextId = 1;

  /** `more`: further addresses; a station that has any sends also to its own by its routes. */
  constructor(
    readonly name: string,
    readonly ip: string,
    readonly clock: VirtualClock,
    readonly more: readonly string[] = [],
  ) {}

  // Sending

  /** Sends echo requests; replies are collected in {@link echoReplies}. */
  ping(dst: string, sequence = 1, bytes = 56, options: SendOptions = {}): void {
    const rest = ((options.sport ?? 77) << 16) | sequence;
    const body = encodeIcmp({ type: 8, code: 0, rest, payload: new Uint8Array(bytes).fill(sequence) });
    this.send(dst, ICMP, body, options);
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
    this.sendPacket({ ...head, mf: false, fragmentOffset: 0, protocol, body });
  }

  sendPacket(packet: Packet): void {
    if (packet.dst === this.ip && this.more.length === 0) {
      this.clock.after(0, () => this.#deliver(packet));
      return;
    }
    const route = this.#route(packet.dst);
    if (route === undefined) throw new Error(`${this.name} has no route to ${packet.dst}`);
    if (this.offloads && packet.protocol === TCP) {
      this.#toNeighbour(route.via, route.gateway ?? packet.dst, packet);
      return;
    }
    if (packet.df && packet.body.length + 20 > route.via.mtuBytes)
      throw new Error(`${this.name}: message too long`);
    for (const piece of fragment(packet, route.via.mtuBytes))
      this.#toNeighbour(route.via, route.gateway ?? packet.dst, piece);
  }

  #sourceTo(dst: string): string {
    return this.#route(dst)?.src ?? this.ip;
  }

  #route(dst: string): StationRoute | undefined {
    const fits = this.routes.filter((route) => inPrefix(dst, route.prefix));
    return fits.sort((a, b) => Number(b.prefix.split("/")[1]) - Number(a.prefix.split("/")[1]))[0];
  }

  #toNeighbour(via: Interface, neighbour: string, packet: Packet): void {
    const mac = this.#neighbours.get(`${via.name} ${neighbour}`);
    if (mac !== undefined) {
      this.#transmit(via, mac, packet);
      return;
    }
    const waiting = this.#waiting.get(`${via.name} ${neighbour}`) ?? [];
    this.#waiting.set(`${via.name} ${neighbour}`, [...waiting, { via, packet }]);
    this.#askNeighbour(via, neighbour);
  }

  #transmit(via: Interface, mac: string, packet: Packet): void {
    const whole = encodePacket(packet);
    if (!this.offloads || isFragment(packet) || !hasPartialChecksum(whole)) {
      via.transmit(ethernet(mac, via.mac, IPV4_TYPE, whole));
      return;
    }
    const segmentBytes = whole.length > via.mtuBytes ? MAX_SEGMENT_BYTES : 0;
    const { packet: partial, vnet } = offload(whole, { link: ETHERNET_BYTES, segmentBytes });
    via.transmit(ethernet(mac, via.mac, IPV4_TYPE, partial), vnet);
  }

  /** Asks three times, one second apart, as Linux does; then the packets are given up. */
  #askNeighbour(via: Interface, neighbour: string, tries = 3): void {
    const key = `${via.name} ${neighbour}`;
    if (this.#neighbours.has(key)) return;
    if (tries === 0) return void this.#waiting.delete(key);
    via.transmit(
      ethernet(BROADCAST, via.mac, ARP_TYPE, arp(1, via.mac, this.ip, "00:00:00:00:00:00", neighbour)),
    );
    this.clock.after(1000, () => this.#askNeighbour(via, neighbour, tries - 1));
  }

  // Receiving

  receive(via: Interface, frame: Uint8Array, vnetHeader?: Uint8Array): void {
    const dst = formatMac(frame.slice(0, 6));
    if (dst !== via.mac && dst !== BROADCAST) return;
    const type = frame[12] * 256 + frame[13];
    if (type === ARP_TYPE) this.#receiveArp(via, frame.slice(14));
    if (type !== IPV4_TYPE) return;
    const end = ETHERNET_BYTES + frame[16] * 256 + frame[17];
    const packets =
      vnetHeader === undefined
        ? [frame.slice(ETHERNET_BYTES, end)]
        : complete(vnetHeader, frame, ETHERNET_BYTES);
    for (const bytes of packets) this.#receivePacket(decodePacket(bytes));
  }

  #receivePacket(packet: Packet): void {
    if (packet.dst !== this.ip && !this.more.includes(packet.dst))
      throw new Error(`${this.name} (${this.ip}) was given a packet to ${packet.dst}`);
    const whole = this.#reassemble(packet);
    if (whole !== undefined) this.#deliver(whole);
  }

  #receiveArp(via: Interface, body: Uint8Array): void {
    const senderMac = formatMac(body.slice(8, 14));
    const senderIp = body.slice(14, 18).join(".");
    const targetIp = body.slice(24, 28).join(".");
    if (body[7] === 1 && targetIp === this.ip) {
      via.transmit(ethernet(senderMac, via.mac, ARP_TYPE, arp(2, via.mac, this.ip, senderMac, senderIp)));
    }
    if (targetIp !== this.ip) return;
    const key = `${via.name} ${senderIp}`;
    this.#neighbours.set(key, senderMac);
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    for (const { packet } of waiting) this.#toNeighbour(via, senderIp, packet);
  }

  #reassemble(packet: Packet): Packet | undefined {
    if (!isFragment(packet)) return packet;
    const key = `${packet.src} ${packet.id} ${packet.protocol}`;
    const pieces = [...(this.#fragments.get(key) ?? []), packet].sort(
      (a, b) => a.fragmentOffset - b.fragmentOffset,
    );
    this.#fragments.set(key, pieces);
    let end = 0;
    for (const piece of pieces) if (piece.fragmentOffset === end) end += piece.body.length;
    const last = pieces[pieces.length - 1];
    if (last.mf || end !== last.fragmentOffset + last.body.length) return undefined;
    this.#fragments.delete(key);
    const body = Uint8Array.from(pieces.flatMap((piece) => [...piece.body]));
    const whole = { ...pieces[0], mf: false, body };
    checkBody(whole);
    return whole;
  }

  #deliver(packet: Packet): void {
    this.received.push(packet);
    if (packet.protocol === ICMP) this.#onIcmp(packet, decodeIcmp(packet.body));
    if (packet.protocol === UDP) this.#onUdp(packet);
    if (packet.protocol === TCP) this.#onTcp(packet, decodeTcp(packet.body));
    this.protocols.get(packet.protocol)?.(packet);
  }

  #onIcmp(packet: Packet, message: IcmpMessage): void {
    if (message.type === 8) {
      this.send(packet.src, ICMP, encodeIcmp({ ...message, type: 0 }), { src: packet.dst });
      return;
    }
    if (message.type === 0) {
      const { src: from, ttl } = packet;
      this.echoReplies.push({ from, sequence: message.rest & 0xffff, ttl, bytes: message.payload.length });
      return;
    }
    const quoted = decodeQuoted(message.payload);
    const { type, code, rest } = message;
    this.errors.push({ from: packet.src, type, code, mtuBytes: rest & 0xffff, quoted });
    if (quoted.protocol === TCP && type === 3 && code !== 4) {
      this.tcp
        .get(tcpKey(quoted.sport, quoted.dst, quoted.dport))
        ?.onRefused(`icmp ${type}/${code} from ${packet.src}`);
    }
  }

  #onUdp(packet: Packet): void {
    const { sport, dport, payload } = decodeUdp(packet.body);
    const datagram = { from: packet.src, sport, to: packet.dst, dport, payload };
    this.datagrams.push(datagram);
    const server = this.#udpServers.get(dport);
    const answer = server?.(datagram);
    if (answer !== undefined) this.sendUdp(packet.src, sport, answer, { sport: dport, src: packet.dst });
    // A port below the ephemeral ones that nobody serves is closed (RFC 1122 §4.1.3.1).
    if (server === undefined && dport < EPHEMERAL_PORT) this.#refuse(packet);
  }

  #refuse(packet: Packet): void {
    const payload = encodePacket(packet).slice(0, 28);
    this.send(packet.src, ICMP, encodeIcmp({ type: 3, code: 3, rest: 0, payload }), { src: packet.dst });
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
function hasPartialChecksum(packet: Uint8Array): boolean {
  return packet[9] === TCP || (packet[9] === UDP && (packet[26] | packet[27]) !== 0);
}

/** By what a station finds its connections. */
function tcpKey(port: number, peer: string, peerPort: number): string {
  return `${port} ${peer}:${peerPort}`;
}
