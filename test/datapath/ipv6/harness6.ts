/** The harness' node with IPv6 beside IPv4: the same ports, and every IPv6 packet that leaves is held against the slow reader. */
import {
  AddressBook,
  Datapath,
  type DatapathOptions,
  type NodeAddresses,
  PortKind,
  type ServiceDecision,
} from "../../../src/datapath/index.js";
import {
  buildEcho6,
  buildTcp6,
  buildUdp6,
  type EchoFields6,
  EtherType,
  type Icmpv6Type,
  linkLocalOfMac,
  macOfIpv6Group,
  NEIGHBOUR_BYTES,
  type PacketFields6,
  parseIpv6,
  parseIpv6Prefix,
  type TcpFields6,
  type UdpFields6,
  writeEthernet,
  writeIpv6Address,
  writeNeighbour,
} from "../../../src/wire/index.js";
import * as h from "../harness.js";
import { readPacket6, type SlowPacket6 } from "./slow-packet6.js";

export function ip6(text: string): bigint {
  const address = parseIpv6(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
}

export function prefix6(text: string) {
  const parsed = parseIpv6Prefix(text);
  if (parsed === undefined) throw new Error(`not a prefix: ${text}`);
  return parsed;
}

/** Node 1 of a cluster fd00:10:244::/56; node 2 has fd00:10:244:2::/64. */
export const ADDRESSES: NodeAddresses = {
  ...h.ADDRESSES,
  ipv6: {
    nodeIp: ip6("fd00:10::11"),
    hostIp: ip6("fd00:10::1"),
    podSubnet: prefix6("fd00:10:244:1::/64"),
    bridgeIp: ip6("fd00:10:244:1::1"),
    overlayIp: ip6("fd00:10:244:1::"),
    podNetwork: prefix6("fd00:10:244::/56"),
    serviceNetwork: prefix6("fd00:10:96::/112"),
  },
};
export const POD_A = ip6("fd00:10:244:1::2");
export const POD_B = ip6("fd00:10:244:1::3");
export const GATEWAY = ip6("fd00:10:244:1::1");
export const REMOTE_POD = ip6("fd00:10:244:2::9");
export const NODE = ip6("fd00:10::11");
export const NODE_2 = ip6("fd00:10::12");
export const HOST = ip6("fd00:10::1");
export const OUTSIDE = ip6("2001:db8::1");
export const VIP = ip6("fd00:10:96::a");
export const LINK_A = linkLocalOfMac(h.MAC_A);
export const LINK_B = linkLocalOfMac(h.MAC_B);

/** One frame that left, with its IPv6 packet unless it is something else. */
export interface Sent6 {
  readonly port: number;
  readonly peer: number;
  readonly vnet: Uint8Array;
  readonly frame: Uint8Array;
  readonly packet: SlowPacket6;
}

const SLOT_BYTES = 70_000;
const AT = 256;

export class Harness6 {
  readonly arena = new Uint8Array(4 * SLOT_BYTES);
  readonly services = new h.TableServices();
  readonly trace = new h.Trace();
  readonly book: AddressBook;
  readonly datapath: Datapath;
  nowMs = 1_000_000;
  /** Questions for the machine's MAC: it has one for both families, and is asked by ARP. */
  arpRequests = 0;
  private queued: { port: number; offset: number; length: number; peer: number }[] = [];

  constructor(options: Partial<DatapathOptions> = {}) {
    this.book = options.addressBook ?? new AddressBook(h.seededRandom(2));
    this.datapath = new Datapath({
      name: "node1",
      addresses: ADDRESSES,
      arena: this.arena,
      scratchStart: 2 * SLOT_BYTES,
      scratchEnd: 4 * SLOT_BYTES,
      sink: { send: (port, offset, length, peer) => void this.queued.push({ port, offset, length, peer }) },
      services: this.services,
      trace: this.trace,
      random: h.seededRandom(1),
      bridgeMac: h.BRIDGE_MAC,
      hostPortMac: h.HOST_PORT_MAC,
      underlay: { address: h.ip("192.0.2.1"), overlayPort: 8285, nodenetPort: 8286 },
      ...options,
      addressBook: this.book,
    });
    const { datapath } = this;
    const pod = { kind: PortKind.pod, mtuBytes: h.MTU };
    datapath.addPort({ id: h.Id.podA, name: "default/a", ...pod, ip: h.POD_A, ip6: POD_A, mac: h.MAC_A });
    datapath.addPort({ id: h.Id.podB, name: "default/b", ...pod, ip: h.POD_B, ip6: POD_B, mac: h.MAC_B });
    datapath.addPort({ id: h.Id.host, name: "host", kind: PortKind.host, mtuBytes: 1500 });
    datapath.addPort({ id: h.Id.overlay, name: "overlay", kind: PortKind.overlay, mtuBytes: h.MTU });
    datapath.addPort({ id: h.Id.nodenet, name: "nodenet", kind: PortKind.nodenet, mtuBytes: 1500 });
    const put = (text: string, port: number, nextHop = 0) =>
      datapath.routes6?.put({ prefix: prefix6(text), port, nextHop });
    put("::/0", h.Id.host);
    put("fd00:10:244:2::/64", h.Id.overlay, h.PEER_2);
    put("fd00:10::12/128", h.Id.nodenet, h.PEER_2);
  }

  /** A Service at the address and port (0: any). */
  service(
    protocol: number,
    dst: bigint,
    port: number,
    to: bigint,
    decision: Partial<ServiceDecision> = {},
  ): void {
    this.services.put(protocol, this.book.pin(dst), port, { ip: this.book.pin(to), ...decision });
  }

  /** Lets the node learn the machine's MAC, as its first solicitation does. */
  learnHost(): void {
    this.frame(h.Id.host, solicit(h.HOST_MAC, HOST, NODE));
  }

  /** Puts one IPv6 packet in by a port, with a link header where the port has one; returns what left. */
  inject(port: number, packet: Uint8Array, options: h.InjectOptions = {}): Sent6[] {
    if (port !== h.Id.podA && port !== h.Id.podB && port !== h.Id.host)
      return this.frame(port, packet, options);
    const isHost = port === h.Id.host;
    const frame = new Uint8Array(h.ETHERNET + packet.length);
    const to = options.to ?? (isHost ? h.HOST_PORT_MAC : h.BRIDGE_MAC);
    const from = options.from ?? (isHost ? h.HOST_MAC : port === h.Id.podA ? h.MAC_A : h.MAC_B);
    writeEthernet(frame, 0, to, 0, from, 0, EtherType.ipv6);
    frame.set(packet, h.ETHERNET);
    return this.frame(port, frame, options);
  }

  /** Puts one frame in as it is. */
  frame(
    port: number,
    frame: Uint8Array,
    { peer = 0, vnet = new Uint8Array(h.VNET) }: h.InjectOptions = {},
  ): Sent6[] {
    this.arena.fill(0xa5, 0, SLOT_BYTES);
    this.arena.set(vnet, AT - h.VNET);
    this.arena.set(frame, AT);
    this.datapath.beginBatch(this.nowMs);
    this.datapath.receive(port, AT, frame.length, peer);
    return this.flush();
  }

  count(name: string): number {
    return this.datapath.counters.export()[name] ?? 0;
  }

  private flush(): Sent6[] {
    const { queued } = this;
    this.queued = [];
    return queued.flatMap(({ port, offset, length, peer }) => {
      const vnet = this.arena.slice(offset - h.VNET, offset);
      const frame = this.arena.slice(offset, offset + length);
      const link = port === h.Id.overlay || port === h.Id.nodenet ? 0 : h.ETHERNET;
      const type = link > 0 ? frame[12] * 256 + frame[13] : EtherType.ipv6;
      if (type === EtherType.arp) this.arpRequests++;
      if (type === EtherType.arp) return [];
      if (type !== EtherType.ipv6) throw new Error(`a frame of type ${type}`);
      const start = (vnet[0] & 1) === 0 ? -1 : vnet[6] + vnet[7] * 256 - link;
      return { port, peer, vnet, frame, packet: readPacket6(frame.slice(link), start) };
    });
  }
}

export function tcp6(fields: TcpFields6): Uint8Array {
  return h.sized((bytes) => buildTcp6(bytes, 0, fields));
}

export function udp6(fields: UdpFields6): Uint8Array {
  return h.sized((bytes) => buildUdp6(bytes, 0, fields));
}

export function echo6(fields: EchoFields6): Uint8Array {
  return h.sized((bytes) => buildEcho6(bytes, 0, fields));
}

/** A packet to 128-bit ends, quickly. */
export const ends = (src: bigint, dst: bigint): PacketFields6 => ({ src, dst });

/** A frame that asks for a neighbour, to its solicited-node group. */
export function solicit(mac: Uint8Array, src: bigint, target: bigint, to?: bigint): Uint8Array {
  const group = to ?? ip6("ff02::1:ff00:0") | (target & 0xffffffn);
  return neighbour(135, mac, src, group, target, 0);
}

/** A frame that says where a neighbour is. */
export function advertise(mac: Uint8Array, src: bigint, dst: bigint, target: bigint): Uint8Array {
  return neighbour(136, mac, src, dst, target, 0x20000000);
}

function neighbour(
  type: typeof Icmpv6Type.neighbourSolicitation | typeof Icmpv6Type.neighbourAdvertisement,
  mac: Uint8Array,
  src: bigint,
  dst: bigint,
  target: bigint,
  flags: number,
): Uint8Array {
  const addresses = new Uint8Array(48);
  for (const [i, address] of [src, dst, target].entries()) writeIpv6Address(addresses, 16 * i, address);
  const frame = new Uint8Array(h.ETHERNET + NEIGHBOUR_BYTES);
  writeEthernet(frame, 0, macOfIpv6Group(dst), 0, mac, 0, EtherType.ipv6);
  writeNeighbour(frame, h.ETHERNET, type, flags, addresses, 0, addresses, 16, addresses, 32, mac);
  return frame;
}

/** The only packet that left. */
export function only6(sent: readonly Sent6[]): Sent6 {
  if (sent.length !== 1) throw new Error(`expected one packet, ${sent.length} frames left`);
  return sent[0];
}
