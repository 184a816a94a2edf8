/** What a checked topology is: plain data, every default filled in, addresses in canonical text. */
import type { ConntrackInput } from "./schema.js";

/** Where something stands in a file; line and column count from 1. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface NodePlan {
  readonly name: string;
  /** Place in the topology, from 0. */
  readonly index: number;
  /** The emulated node address, in the node network. */
  readonly ip: string;
  /** The second address of a dual-stack lab. */
  readonly ipv6?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Loopback address that the overlay's socket is bound to; flannel's PublicIP. */
  readonly underlay: string;
}

/** flannel's network configuration and how leases are kept. */
export interface PodNetworkPlan {
  /** CIDR. */
  readonly network: string;
  readonly subnetLen: number;
  /** First and last subnet that may be leased; flannel's own default when missing. */
  readonly subnetMin?: string;
  readonly subnetMax?: string;
  /** Store key prefix; the configuration is at `<prefix>/config`. */
  readonly prefix: string;
  readonly backend: { readonly type: "udp"; readonly port: number };
  readonly leaseTtlSeconds?: number;
  readonly leaseRenewMarginSeconds?: number;
}

/** The networks of the second family, and who has which address in them. */
export interface DualStackPlan {
  /** CIDR of the node network, the host's address in it, and the nodes' in their order. */
  readonly nodes: string;
  readonly host: string;
  readonly nodeIps: readonly string[];
  /** flannel's `IPv6Network` and `IPv6SubnetLen`. */
  readonly pods: { readonly network: string; readonly subnetLen: number };
  /** CIDR of the service network. */
  readonly services: string;
}

export interface NetworkPlan {
  /** CIDR of the node network, and the host's (gateway's) address in it. */
  readonly nodes: string;
  readonly host: string;
  readonly pods: PodNetworkPlan;
  /** CIDR of the service network. */
  readonly services: string;
  /** Inclusive range. */
  readonly nodePorts: { readonly min: number; readonly max: number };
  readonly underlayMtuBytes: number;
  /** Missing in a lab with IPv4 only. */
  readonly ipv6?: DualStackPlan;
  /** Addresses for Services of type LoadBalancer, as CIDRs; empty: such a Service waits for an address for ever. */
  readonly loadBalancerPool: readonly string[];
}

/** kube-proxy's settings on all nodes. */
export interface ProxyPlan {
  /** For Services without the annotation `podwire.dev/scheduler`. */
  readonly scheduler: "rr" | "wrr" | "random" | "lc" | "sh" | "maglev";
  /** Which of a node's addresses have the node ports; empty: all. */
  readonly nodePortAddresses: "primary" | readonly string[];
  readonly masqueradeAll: boolean;
  readonly detectLocalMode: "ClusterCIDR" | "NodeCIDR" | "BridgeInterface" | "InterfaceNamePrefix";
}

/** Connection tracking on all nodes; Linux' defaults where a value is missing. */
export interface ConntrackPlan {
  readonly max?: number;
  /** net.netfilter.nf_conntrack_tcp_be_liberal. */
  readonly tcpBeLiberal: boolean;
  /** By state: `tcpEstablished`, `udpStream` … */
  readonly timeoutSeconds: ConntrackInput["timeoutSeconds"];
}

/** A local command that an image name stands for. */
export interface ImagePlan {
  readonly command: readonly string[];
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A Kubernetes object as written; `metadata.namespace` is filled in for namespaced kinds. */
export interface ManifestObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
  };
  readonly [field: string]: unknown;
}

export interface ManifestPlan {
  readonly object: ManifestObject;
  /** Where the object begins; for errors that only the API server finds. */
  readonly position: Position;
}

/** The three networks of a lab; the fields of `network:` that name them. */
export type NetworkName = "nodes" | "pods" | "services";

export interface LabPlan {
  readonly name: string;
  /** The topology file. */
  readonly file: string;
  readonly network: NetworkPlan;
  readonly nodes: readonly NodePlan[];
  readonly images: Readonly<Record<string, ImagePlan>>;
  /** In the order to create them: Namespaces first, then as written. */
  readonly manifests: readonly ManifestPlan[];
  readonly options: {
    readonly ipMasq: boolean;
    readonly bridgeNetfilter: boolean;
    readonly dns: boolean;
    readonly trace: boolean;
    readonly proxy: ProxyPlan;
    readonly conntrack: ConntrackPlan;
  };
  /** Where each network was set; the top of the file for a default. */
  readonly positions: Readonly<Record<NetworkName, Position>>;
  /** Of a dual-stack lab: where its IPv6 networks were set. */
  readonly positions6?: Readonly<Record<NetworkName, Position>>;
}
