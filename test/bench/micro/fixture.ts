/** A datapath on an arena of its own with real Services behind it, and frames of many connections to put through it. */
import type { Datapath as DatapathType } from "../../../src/datapath/index.js";
import type { Proxier as ProxierType } from "../../../src/proxy/index.js";
import { datapath, proxy, wire } from "../product.js";

/** A multiple of 4 that is no power of two, so that slots do not share cache sets. */
const SLOT_BYTES = 320;
/** Frames in use at a time: what one wake-up brings under load. */
const BATCH = 64;
/** Of PacketIo's tables. */
const FRAME_WORDS = 5;
/** Templates stand behind the slots, a multiple of 4 bytes each, so that words can be copied. */
const TEMPLATE_BYTES = 128;
const SCRATCH_BYTES = 1 << 20;
/** From the start of a slot; leaves the headroom that the datapath may use, and puts the vnet header on a word. */
const VNET_AT = 128;
const FRAME_AT = VNET_AT + 12;
const VNET_BYTES = 10;
/** virtio_net_hdr.flags: the checksum covers the pseudo-header only, as the kernel leaves it on a TAP. */
const NEEDS_CSUM = 1;
const ETHERNET_BYTES = 14;
/** Words from before the vnet header to the end of the longest frame here. */
const COPIED_WORDS = (12 + ETHERNET_BYTES + 40 + 2) >> 2;

export const Port = { pod: 1, overlay: 11 } as const;
const POD = ip("172.16.1.2");
const ENDPOINTS = ip("172.16.2.0");
const SERVICES = ip("10.254.0.0");
const PEER = ip("192.0.2.2");
const TARGET_PORT = 8080;
const SERVICE_PORT = 80;
const FIRST_SPORT = 1024;
/** Connections to one Service: its client is one pod, which has so many ports. */
export const FLOWS_PER_SERVICE = 62_500;

export function ip(text: string): number {
  const address = wire.parseIpv4(text);
  if (address === undefined) throw new Error(`${text} is not an IPv4 address`);
  return address;
}

function prefix(text: string) {
  const parsed = wire.parsePrefix(text);
  if (parsed === undefined) throw new Error(`${text} is not a prefix`);
  return parsed;
}

const ADDRESSES = {
  nodeIp: ip("10.0.0.1"),
  hostIp: ip("10.0.0.254"),
  podSubnet: prefix("172.16.1.0/24"),
  bridgeIp: ip("172.16.1.1"),
  overlayIp: ip("172.16.1.0"),
  podNetwork: prefix("172.16.0.0/16"),
  serviceNetwork: prefix("10.254.0.0/16"),
};
const POD_MAC = Uint8Array.of(2, 0x42, 172, 16, 1, 2);
const BRIDGE_MAC = Uint8Array.of(2, 0x42, 172, 16, 1, 1);

/** Address of a Service's endpoint, on the other node. */
const endpointOf = (service: number): number => ENDPOINTS + 2 + (service % 250);

/** The EndpointSlice of a Service: one endpoint, `version` lets it move. */
export function sliceOf(service: number, version = 0) {
  return {
    metadata: {
      name: `s${service}-1`,
      namespace: "bench",
      labels: { "kubernetes.io/service-name": `s${service}` },
    },
    addressType: "IPv4",
    ports: [{ name: "p", port: TARGET_PORT, protocol: "TCP" }],
    endpoints: [
      {
        addresses: [wire.formatIpv4(endpointOf(service + version))],
        conditions: { ready: true },
        nodeName: "n2",
      },
    ],
  };
}

/** Services `s0` … with cluster IPs in order, one endpoint each. */
export function makeProxier(serviceCount: number): ProxierType {
  const made = new proxy.Proxier({
    nodeName: "n1",
    podNetwork: ADDRESSES.podNetwork,
    serviceNetwork: ADDRESSES.serviceNetwork,
    conntrack: { deleteByOriginalDst: () => 0, deleteByNat: () => 0 },
  });
  for (let i = 0; i < serviceCount; i++) {
    made.onServiceUpsert({
      metadata: { name: `s${i}`, namespace: "bench" },
      spec: {
        type: "ClusterIP",
        clusterIP: wire.formatIpv4(SERVICES + 1 + i),
        ports: [{ name: "p", port: SERVICE_PORT, targetPort: TARGET_PORT, protocol: "TCP" }],
      },
    });
    made.onEndpointSliceUpsert(sliceOf(i));
  }
  made.onServicesSynced();
  made.onEndpointSlicesSynced();
  made.sync(0);
  return made;
}

/** CPU time of this process so far, in ns: on a busy machine it says more than the clock. */
export function cpuNs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

/** Kinds of frames; those of the pod are Ethernet, those of the overlay bare IP. */
export const Kind = { syn: 0, synAck: 1, request: 2, reply: 3 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];
const KINDS = 4;

/** Frames of connections from one pod to the Services from `firstService` on, through one datapath. */
export class Traffic {
  readonly datapath: DatapathType;
  /** Frames that left. */
  sent = 0;
  /** As of the real clock: with a fraction, and another with every batch. */
  nowMs = 1_000_000.5;
  readonly #arena: Uint8Array;
  readonly #words: Int32Array;
  readonly #templates: number;
  /** As PacketIo.rx has them. */
  readonly #frames: Int32Array;
  #slot = 0;

  constructor(
    services: ProxierType,
    readonly flows: number,
    conntrackMax: number,
    firstService = 0,
  ) {
    const serviceCount = Math.ceil(flows / FLOWS_PER_SERVICE);
    this.#templates = BATCH * SLOT_BYTES;
    this.#frames = new Int32Array(BATCH * FRAME_WORDS);
    const scratchStart = this.#templates + serviceCount * KINDS * TEMPLATE_BYTES;
    this.#arena = new Uint8Array(scratchStart + SCRATCH_BYTES);
    this.#words = new Int32Array(this.#arena.buffer);
    this.datapath = new datapath.Datapath({
      name: "n1",
      addresses: ADDRESSES,
      arena: this.#arena,
      scratchStart,
      scratchEnd: this.#arena.length,
      sink: { send: () => void this.sent++ },
      services,
      trace: { enabled: false, record: () => undefined },
      random: Math.random,
      bridgeMac: BRIDGE_MAC,
      hostPortMac: BRIDGE_MAC,
      conntrackMax,
    });
    this.datapath.addPort({
      id: Port.pod,
      name: "pod",
      kind: datapath.PortKind.pod,
      mtuBytes: 1472,
      ip: POD,
      mac: POD_MAC,
    });
    this.datapath.addPort({
      id: Port.overlay,
      name: "overlay",
      kind: datapath.PortKind.overlay,
      mtuBytes: 1472,
    });
    this.datapath.routes.put({ prefix: prefix("172.16.2.0/24"), port: Port.overlay, nextHop: PEER });
    this.datapath.beginBatch(this.nowMs);
    for (let i = 0; i < serviceCount; i++) this.#makeTemplates(i, firstService + i);
  }

  /** Puts the frame of a flow in the next slot; when all are full, the datapath gets them, as from one wake-up. */
  put(kind: Kind, flow: number): void {
    this.write(kind, flow);
    if (this.#slot === 0) this.#deliver(BATCH);
  }

  /** Only writes the frame; what this costs is taken off the cost of {@link put}. */
  write(kind: Kind, flow: number): void {
    const slot = this.#slot * SLOT_BYTES;
    const service = (flow / FLOWS_PER_SERVICE) | 0;
    const words = this.#words;
    const to = (slot + VNET_AT) >> 2;
    const from = (this.#templates + (service * KINDS + kind) * TEMPLATE_BYTES) >> 2;
    for (let i = 0; i < COPIED_WORDS; i++) words[to + i] = words[from + i]!;
    const isPod = kind === Kind.syn || kind === Kind.request;
    const entry = this.#slot * FRAME_WORDS;
    this.#frames[entry] = isPod ? Port.pod : Port.overlay;
    this.#frames[entry + 1] = slot + FRAME_AT;
    this.#frames[entry + 2] = isPod ? ETHERNET_BYTES + 40 : 40;
    this.#frames[entry + 3] = isPod ? 0 : PEER;
    const port = slot + FRAME_AT + 20 + (isPod ? ETHERNET_BYTES : 2);
    const sport = FIRST_SPORT + (flow - service * FLOWS_PER_SERVICE);
    this.#arena[port] = sport >>> 8;
    this.#arena[port + 1] = sport;
    this.#slot = this.#slot + 1 === BATCH ? 0 : this.#slot + 1;
  }

  /** Forgets frames that were only written. */
  discard(): void {
    this.#slot = 0;
  }

  /** Hands the rest over. */
  flush(): void {
    const frames = this.#slot;
    this.#slot = 0;
    this.#deliver(frames);
  }

  #deliver(frames: number): void {
    this.nowMs += 0.125;
    this.datapath.beginBatch(this.nowMs);
    this.datapath.receiveAll(this.#frames, FRAME_WORDS, frames);
  }

  /** Opens all connections by their first three packets. @throws Error when one is not forwarded */
  open(): void {
    const before = this.sent;
    for (let flow = 0; flow < this.flows; flow++) {
      this.put(Kind.syn, flow);
      this.put(Kind.synAck, flow);
      this.put(Kind.request, flow);
    }
    this.expectSent(before + 3 * this.flows);
  }

  /** @throws Error when the datapath has dropped something: then it was not the path that was measured */
  expectSent(count: number): void {
    this.flush();
    if (this.sent === count) return;
    throw new Error(
      `${this.sent} frames left instead of ${count}: ${JSON.stringify(this.datapath.counters.export())}`,
    );
  }

  #makeTemplates(index: number, service: number): void {
    const { syn, ack } = wire.TcpFlag;
    const request = { src: POD, dst: SERVICES + 1 + service, sport: 0, dport: SERVICE_PORT };
    const reply = { src: endpointOf(service), dst: POD, sport: TARGET_PORT, dport: 0 };
    const flags = { [Kind.syn]: syn, [Kind.synAck]: syn | ack, [Kind.request]: ack, [Kind.reply]: ack };
    for (const kind of [Kind.syn, Kind.synAck, Kind.request, Kind.reply]) {
      const isPod = kind === Kind.syn || kind === Kind.request;
      const at = this.#templates + (index * KINDS + kind) * TEMPLATE_BYTES + (FRAME_AT - VNET_AT);
      const packet = isPod ? at + ETHERNET_BYTES : at;
      if (isPod) wire.writeEthernet(this.#arena, at, BRIDGE_MAC, 0, POD_MAC, 0, wire.EtherType.ipv4);
      wire.buildTcp(this.#arena, packet, { ...(isPod ? request : reply), flags: flags[kind] });
      this.#leaveChecksum(at, packet, isPod ? request : reply);
    }
  }

  /** Makes the checksum partial: it then holds for every port. */
  #leaveChecksum(frame: number, packet: number, { src, dst }: { src: number; dst: number }): void {
    const vnet = frame - VNET_BYTES;
    const start = packet + 20 - frame;
    this.#arena[vnet] = NEEDS_CSUM;
    this.#arena.set([start & 0xff, start >>> 8, 16, 0], vnet + 6);
    wire.setU16(
      this.#arena,
      packet + 20 + 16,
      wire.foldSum(wire.pseudoHeaderSum(src, dst, wire.IpProtocol.tcp, 20)),
    );
  }
}
