/**
 * What the datapath shares with the parts around it: frames in one arena, ports, services, traces.
 *
 * All packets live in one arena (`Uint8Array`). A frame is `(offset, length)` in it. Ten bytes directly before
 * every frame hold a `virtio_net_hdr` (all zero when the frame is plain); at least {@link HEADROOM_BYTES} bytes
 * before the frame may be overwritten, so that a link header can be put in front without a copy.
 * IPv4 addresses are unsigned 32-bit numbers, IPv6 addresses their handles (ipv6/address-book.ts), also 32-bit numbers;
 * ports are host-order numbers.
 */
import type { IpAddress, Ipv6Prefix } from "../wire/index.js";

/** Bytes before each frame that the datapath may use (virtio_net_hdr, Ethernet header, later an outer header). */
export const HEADROOM_BYTES = 128;
/** Length of `struct virtio_net_hdr` (linux/virtio_net.h) kept directly before each frame. */
export const VNET_HDR_BYTES = 10;

/**
 * What a port leads to. `pod` ports sit on the node's bridge; `overlay`, `nodenet` and `node` carry bare IP packets.
 * `node` is the node's own IP stack, which has its addresses; without such a port the datapath answers for them.
 */
export const PortKind = { pod: 0, host: 1, overlay: 2, nodenet: 3, local: 4, node: 5 } as const;
export type PortKind = (typeof PortKind)[keyof typeof PortKind];

/** One attachment of the node. `pod` and `host` ports carry Ethernet frames. */
export interface PortConfig {
  /** Small integer chosen by the caller (the I/O port id), unique on the node. */
  readonly id: number;
  /** Name in traces: `default/web-1`, `host`, `overlay`, `nodenet`. */
  readonly name: string;
  readonly kind: PortKind;
  readonly mtuBytes: number;
  /** Pod ports: the pod's addresses and MAC (frames with another source are dropped as spoofed). */
  readonly ip?: number;
  readonly ip6?: bigint;
  readonly mac?: Uint8Array;
}

/** Where the datapath puts frames that leave. Frames stay valid until the caller's flush at the end of the batch. */
export interface FrameSink {
  /**
   * Queue one frame. `peer` is the next hop for `overlay` and `nodenet` ports: the underlay IPv4 address of the peer
   * node as a 32-bit word of either sign, 0 elsewhere. The sink keeps offsets, not copies.
   */
  send(port: number, offset: number, length: number, peer: number): void;
}

/** A node's own addresses and networks. */
export interface NodeAddresses {
  /** Node IP, emulated in this process; ClusterIP/NodePort clients reach it through the host TAP. */
  readonly nodeIp: number;
  /** The machine at the other end of the host TAP. */
  readonly hostIp: number;
  /** This node's leased subnet, its bridge address (first of the subnet) and flannel address (the subnet's .0). */
  readonly podSubnet: Prefix;
  readonly bridgeIp: number;
  readonly overlayIp: number;
  /** flannel's whole network. */
  readonly podNetwork: Prefix;
  readonly serviceNetwork: Prefix;
  /** Missing: the node speaks IPv4 only. */
  readonly ipv6?: NodeAddresses6;
}

/** The same for IPv6. */
export interface NodeAddresses6 {
  readonly nodeIp: bigint;
  readonly hostIp: bigint;
  readonly podSubnet: Ipv6Prefix;
  readonly bridgeIp: bigint;
  readonly overlayIp: bigint;
  readonly podNetwork: Ipv6Prefix;
  readonly serviceNetwork: Ipv6Prefix;
}

/** An IPv4 prefix; `address` has its host bits clear. */
export interface Prefix {
  readonly address: number;
  readonly length: number;
}

/** Question to the proxy about the first packet of a connection. One object, refilled for each packet. */
export interface ServiceQuery {
  protocol: number;
  src: number;
  dst: number;
  sport: number;
  dport: number;
  /** Kind of the port that the packet came in by; `local` for what the node itself sends (OUTPUT). */
  inKind: PortKind;
  /** Whether dst is one of this node's own addresses (NodePort candidates). */
  dstIsLocal: boolean;
  nowMs: number;
}

export const ServiceAction = { dnat: 0, reject: 1, drop: 2 } as const;
export type ServiceAction = (typeof ServiceAction)[keyof typeof ServiceAction];

/** The proxy's answer. One object, refilled; the strings are references to strings made when the rules were built. */
export interface ServiceDecision {
  action: ServiceAction;
  /** For `dnat`: the endpoint. */
  ip: number;
  port: number;
  /** Whether POSTROUTING has to masquerade (kube-proxy's 0x4000 mark). Hairpin is found by the datapath itself. */
  masquerade: boolean;
  /** `namespace/name:portname`, and for traces the endpoint's target, `namespace/pod`. */
  service: string;
  endpoint: string;
  /** For `reject` and `drop`: reason for the verdict, such as `no-endpoints`. */
  reason: string;
}

/** What the datapath asks of the proxy; implemented in src/proxy. Called once per new connection. */
export interface ServiceResolver {
  /** Returns false when the destination is not a Service address; otherwise fills `out`. Allocates nothing. */
  resolve(query: ServiceQuery, out: ServiceDecision): boolean;
}

/** What the proxy asks of conntrack when endpoints change (kube-proxy conntrack/cleanup.go). Each returns the count. */
export interface ConntrackCleaner {
  /** Delete entries whose original destination is this address (0: any, for node ports) and port (0: any). */
  deleteByOriginalDst(protocol: number, ip: number, port: number): number;
  /** Delete entries to this original destination (ip 0: any address, for node ports) that were DNATed to the endpoint. */
  deleteByNat(
    protocol: number,
    originalIp: number,
    originalPort: number,
    endpointIp: number,
    endpointPort: number,
  ): number;
}

/**
 * Question to the network policies about a connection: its original direction, with the client's address before this node
 * masquerades it and the server's after Service DNAT. One object, refilled for each question.
 */
export interface PolicyQuery {
  protocol: number;
  src: number;
  dst: number;
  /** Destination port; without meaning for protocols that have none. */
  dport: number;
}

/** Why a connection is not allowed. One object, refilled; the string was made when the rules were built. */
export interface PolicyDecision {
  /** Direction and names of the policies that isolate the pod: `ingress:namespace/name,namespace/name`. */
  isolation: string;
}

/** What the datapath asks of the network policies; implemented in src/policy. */
export interface PolicyResolver {
  /** Whether any pod of this node is isolated; nothing is asked while it is false. */
  readonly active: boolean;
  /** Changes with the rules: an answer given under another generation may be out of date. */
  readonly generation: number;
  /** Whether the connection is allowed, called once per connection and generation; if not, fills `out`. Allocates nothing. */
  allows(query: PolicyQuery, out: PolicyDecision): boolean;
}

/** Addresses of one direction of a flow; for ICMP echo `sport` is the identifier and `dport` is type << 8 | code. */
export interface Tuple {
  readonly protocol: number;
  readonly src: IpAddress;
  readonly dst: IpAddress;
  readonly sport: number;
  readonly dport: number;
}

/** One stage of the pipeline as it judged one packet. */
export interface Stage {
  /** `ingress`, `conntrack`, `prerouting` (`output` for what the node itself sends), `route`, `forward`, `postrouting`, `egress`, `local`. */
  readonly hook: string;
  readonly verdict: string;
  /** Such as `no-endpoints`; Hubble's drop-reason names where they exist. */
  readonly reason?: string;
  readonly before?: Tuple;
  readonly after?: Tuple;
}

/** One packet at one node: built only while tracing is on. */
export interface Observation {
  readonly timeMs: number;
  readonly node: string;
  /** Eight hex digits; the same on each node the packet crosses (fingerprint of fields that no rewrite changes). */
  readonly packetId: string;
  readonly inPort: string;
  /** Missing when the packet did not leave. */
  readonly outPort?: string;
  readonly verdict: string;
  readonly reason?: string;
  /** The tuple as it came and as it left (equal when nothing was rewritten). */
  readonly before: Tuple;
  readonly after: Tuple;
  readonly service?: string;
  readonly endpoint?: string;
  /** Direction and names of the network policies that isolate the pod, when they deny the packet. */
  readonly policy?: string;
  /** Outer addresses when the packet came from, or left to, the overlay or the node network. */
  readonly outer?: {
    readonly src: number;
    readonly dst: number;
    readonly sport: number;
    readonly dport: number;
  };
  /** Conntrack state: `NEW`, `ESTABLISHED`, `RELATED`, `INVALID`, `UNTRACKED`. */
  readonly ctState: string;
  readonly reply: boolean;
  /** IP total length, TTL as it left, and a short text such as `S`, `F.`, `echo request seq 3`. */
  readonly lengthBytes: number;
  readonly ttl: number;
  readonly info: string;
  readonly stages: readonly Stage[];
}

/** Receives observations. `enabled` is read once per packet. */
export interface TraceSink {
  readonly enabled: boolean;
  record(observation: Observation): void;
}
