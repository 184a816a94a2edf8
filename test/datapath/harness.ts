/**
 * A datapath on an arena of its own with two pods, the host, the overlay and the node network, and a sink that collects.
 * Every frame that leaves is held against the slow checker, so that no test can pass with a wrong checksum.
 */
import {
  Datapath,
  type DatapathOptions,
  type NodeAddresses,
  type Observation,
  PortKind,
  type Prefix,
  ServiceAction,
  type ServiceDecision,
  type ServiceQuery,
  type ServiceResolver,
  type TraceSink,
} from "../../src/datapath/index.js";
import {
  buildEcho,
  buildSctp,
  buildTcp,
  buildUdp,
  type EchoFields,
  EtherType,
  formatIpv4,
  parseIpv4,
  parseMac,
  parsePrefix,
  type SctpFields,
  type TcpFields,
  type UdpFields,
  writeEthernet,
} from "../../src/wire/index.js";
import { readFrame, type SlowPacket } from "./slow-packet.js";

export const ETHERNET = 14;
export const VNET = 10;
const SLOT_BYTES = 70_000;
const ARENA_BYTES = 4 * SLOT_BYTES;
const FRAME_AT = 256;
const POISON = 0xa5;

export function ip(text: string): number {
  const address = parseIpv4(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
}

export function mac(text: string): Uint8Array {
  const bytes = parseMac(text);
  if (bytes === undefined) throw new Error(`not a MAC: ${text}`);
  return bytes;
}

export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(`not a prefix: ${text}`);
  return parsed;
}

/** Node 1 of a cluster 172.16.0.0/16; node 2 has 172.16.2.0/24 and underlay 192.0.2.2. */
export const ADDRESSES: NodeAddresses = {
  nodeIp: ip("10.0.0.1"),
  hostIp: ip("10.0.0.254"),
  podSubnet: prefix("172.16.1.0/24"),
  bridgeIp: ip("172.16.1.1"),
  overlayIp: ip("172.16.1.0"),
  podNetwork: prefix("172.16.0.0/16"),
  serviceNetwork: prefix("10.254.0.0/16"),
};

/** Port ids. `hostB` in names of tests is an address behind the host port. */
export const Id = { podA: 1, podB: 2, host: 10, overlay: 11, nodenet: 12 } as const;
export const POD_A = ip("172.16.1.2");
export const POD_B = ip("172.16.1.3");
export const REMOTE_POD = ip("172.16.2.9");
export const NODE_2 = ip("10.0.0.2");
export const PEER_2 = ip("192.0.2.2");
export const HOST = ADDRESSES.hostIp;
export const NODE = ADDRESSES.nodeIp;
export const VIP = ip("10.254.0.10");
export const MAC_A = mac("02:42:ac:10:01:02");
export const MAC_B = mac("02:42:ac:10:01:03");
export const BRIDGE_MAC = mac("02:42:ac:10:01:01");
export const HOST_PORT_MAC = mac("02:42:0a:00:00:01");
export const HOST_MAC = mac("02:00:00:00:00:fe");
export const MTU = 1472;

/** One frame that left. */
export interface Sent {
  readonly port: number;
  readonly peer: number;
  readonly vnet: Uint8Array;
  readonly frame: Uint8Array;
  /** The IP packet as the slow reader sees it; undefined for ARP. */
  readonly packet: SlowPacket | undefined;
}

/** Answers by exact (protocol, address, port); port 0 answers for every port. */
export class TableServices implements ServiceResolver {
  queries = 0;
  private readonly table = new Map<string, Partial<ServiceDecision>>();

  put(protocol: number, dst: number, port: number, decision: Partial<ServiceDecision>): this {
    this.table.set(`${protocol} ${dst} ${port}`, decision);
    return this;
  }

  resolve(query: ServiceQuery, out: ServiceDecision): boolean {
    this.queries++;
    const { protocol, dst, dport } = query;
    const found = this.table.get(`${protocol} ${dst} ${dport}`) ?? this.table.get(`${protocol} ${dst} 0`);
    if (found === undefined) return false;
    const plain = {
      action: ServiceAction.dnat,
      ip: 0,
      port: 0,
      masquerade: false,
      service: "",
      endpoint: "",
      reason: "",
    };
    Object.assign(out, plain, found);
    return true;
  }
}

export class Trace implements TraceSink {
  enabled = false;
  readonly seen: Observation[] = [];

  record(observation: Observation): void {
    this.seen.push(observation);
  }
}

export type HarnessOptions = Partial<DatapathOptions>;

export interface InjectOptions {
  readonly peer?: number;
  /** Ten bytes of virtio_net_hdr, all zero when left out. */
  readonly vnet?: Uint8Array;
  /** Destination MAC on pod and host ports: the node's when left out. */
  readonly to?: Uint8Array;
  readonly from?: Uint8Array;
}

export class Harness {
  readonly arena = new Uint8Array(ARENA_BYTES);
  readonly services: TableServices;
  readonly trace = new Trace();
  readonly datapath: Datapath;
  nowMs = 1_000_000;
  /** Frames whose checksum may be wrong, for tests that put in wrong ones. */
  lenient = false;
  private queued: { port: number; offset: number; length: number; peer: number }[] = [];

  constructor(options: HarnessOptions = {}, services = new TableServices()) {
    this.services = services;
    this.datapath = new Datapath({
      name: "node1",
      addresses: ADDRESSES,
      arena: this.arena,
      scratchStart: 2 * SLOT_BYTES,
      scratchEnd: ARENA_BYTES,
      sink: {
        send: (port, offset, length, peer) =>
          void this.queued.push({ port, offset, length, peer: peer >>> 0 }),
      },
      services,
      trace: this.trace,
      random: seededRandom(1),
      bridgeMac: BRIDGE_MAC,
      hostPortMac: HOST_PORT_MAC,
      underlay: { address: ip("192.0.2.1"), overlayPort: 8285, nodenetPort: 8286 },
      ...options,
    });
    const { datapath } = this;
    datapath.addPort({
      id: Id.podA,
      name: "default/a",
      kind: PortKind.pod,
      mtuBytes: MTU,
      ip: POD_A,
      mac: MAC_A,
    });
    datapath.addPort({
      id: Id.podB,
      name: "default/b",
      kind: PortKind.pod,
      mtuBytes: MTU,
      ip: POD_B,
      mac: MAC_B,
    });
    datapath.addPort({ id: Id.host, name: "host", kind: PortKind.host, mtuBytes: 1500 });
    datapath.addPort({ id: Id.overlay, name: "overlay", kind: PortKind.overlay, mtuBytes: MTU });
    datapath.addPort({ id: Id.nodenet, name: "nodenet", kind: PortKind.nodenet, mtuBytes: 1500 });
    datapath.routes.put({ prefix: prefix("0.0.0.0/0"), port: Id.host, nextHop: 0 });
    datapath.routes.put({ prefix: prefix("172.16.2.0/24"), port: Id.overlay, nextHop: PEER_2 });
    datapath.routes.put({ prefix: prefix("10.0.0.2/32"), port: Id.nodenet, nextHop: PEER_2 });
  }

  /** Lets the node learn the machine's MAC, as its first ARP request does. */
  learnHost(): void {
    this.raw(Id.host, arpFrame(1, HOST_MAC, HOST, NODE));
  }

  /** Puts one IP packet in by a port, with a link header where the port has one; returns what left. */
  inject(port: number, packet: Uint8Array, options: InjectOptions = {}): Sent[] {
    if (port !== Id.podA && port !== Id.podB && port !== Id.host) return this.raw(port, packet, options);
    const isHost = port === Id.host;
    const frame = new Uint8Array(ETHERNET + packet.length);
    const to = options.to ?? (isHost ? HOST_PORT_MAC : BRIDGE_MAC);
    const from = options.from ?? (isHost ? HOST_MAC : port === Id.podA ? MAC_A : MAC_B);
    writeEthernet(frame, 0, to, 0, from, 0, EtherType.ipv4);
    frame.set(packet, ETHERNET);
    return this.raw(port, frame, options);
  }

  /** Puts one frame in as it is. */
  raw(
    port: number,
    frame: Uint8Array,
    { peer = 0, vnet = new Uint8Array(VNET) }: InjectOptions = {},
  ): Sent[] {
    this.arena.fill(POISON, 0, SLOT_BYTES);
    this.arena.set(vnet, FRAME_AT - VNET);
    this.arena.set(frame, FRAME_AT);
    this.datapath.beginBatch(this.nowMs);
    this.datapath.receive(port, FRAME_AT, frame.length, peer);
    return this.flush();
  }

  /** Lets time pass, then ticks; returns what left. */
  tick(afterMs: number): Sent[] {
    this.nowMs += afterMs;
    this.datapath.beginBatch(this.nowMs);
    this.datapath.tick();
    return this.flush();
  }

  count(name: string): number {
    return this.datapath.counters.export()[name] ?? 0;
  }

  private flush(): Sent[] {
    const { queued } = this;
    this.queued = [];
    return queued.map(({ port, offset, length, peer }) => {
      const vnet = this.arena.slice(offset - VNET, offset);
      const frame = this.arena.slice(offset, offset + length);
      const isBare = port === Id.overlay || port === Id.nodenet;
      return { port, peer, vnet, frame, packet: readFrame(frame, isBare ? 0 : ETHERNET, vnet, this.lenient) };
    });
  }
}

/** Uniform in [0, 1), the same sequence for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function tcp(fields: TcpFields): Uint8Array {
  return sized((bytes) => buildTcp(bytes, 0, fields));
}

export function udp(fields: UdpFields): Uint8Array {
  return sized((bytes) => buildUdp(bytes, 0, fields));
}

export function sctp(fields: SctpFields): Uint8Array {
  return sized((bytes) => buildSctp(bytes, 0, fields));
}

export function echo(fields: EchoFields): Uint8Array {
  return sized((bytes) => buildEcho(bytes, 0, fields));
}

/** Runs a builder on a large buffer and keeps what it wrote. */
export function sized(build: (bytes: Uint8Array) => number): Uint8Array {
  const bytes = new Uint8Array(SLOT_BYTES);
  return bytes.slice(0, build(bytes));
}

/** A broadcast ARP frame (operation 1 request, 2 reply), written byte by byte. */
export function arpFrame(
  operation: number,
  sender: Uint8Array,
  senderIp: number,
  targetIp: number,
  to = mac("ff:ff:ff:ff:ff:ff"),
): Uint8Array {
  const ipBytes = (address: number) => formatIpv4(address).split(".").map(Number);
  const body = [
    0,
    1,
    8,
    0,
    6,
    4,
    0,
    operation,
    ...sender,
    ...ipBytes(senderIp),
    0,
    0,
    0,
    0,
    0,
    0,
    ...ipBytes(targetIp),
  ];
  return Uint8Array.from([...to, ...sender, 8, 6, ...body]);
}

/** The only frame that left, which must carry an IP packet. */
export function only(sent: readonly Sent[]): Sent & { readonly packet: SlowPacket } {
  const [first] = sent;
  if (sent.length !== 1 || first.packet === undefined) {
    throw new Error(`expected one IP packet, ${sent.length} frames left`);
  }
  return { ...first, packet: first.packet };
}
