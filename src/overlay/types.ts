/** Types that the overlay's files share, and the edges where the node process plugs in time, routes and a log. */
import type { Ipv6Prefix, Prefix } from "../wire/index.js";

/** Where the overlay's routes go; the node process wires it to the datapath's route table. */
export interface RouteSink {
  /** Packets to the prefix go to the peer with this underlay IPv4 address. Replaces what was there. */
  put(prefix: Prefix, peer: number): void;
  delete(prefix: Prefix): void;
  /** The same for IPv6 prefixes, carried between the same IPv4 underlay addresses. */
  put6(prefix: Ipv6Prefix, peer: number): void;
  delete6(prefix: Ipv6Prefix): void;
}

/** What one node holds: a subnet of IPv4, and in a dual-stack network one of IPv6. */
export interface NodeSubnets {
  readonly subnet: Prefix;
  readonly subnet6?: Ipv6Prefix;
}

export type LogLevel = "info" | "warn" | "error";
export type Log = (level: LogLevel, message: string) => void;

/** What a node says about itself in its lease (flannel pkg/lease/lease.go, LeaseAttrs). */
export interface LeaseAttributes {
  /** Underlay IPv4 address. */
  readonly publicIp: number;
  /** `udp`, `vxlan`, `host-gw`; empty when the writer left it out, as flannel's udp backend does. */
  readonly backendType: string;
  /** Belongs to the backend, kept as it was read. */
  readonly backendData?: unknown;
}

/** One subnet key of the store. */
export interface SubnetLease extends LeaseAttributes, NodeSubnets {
  /** etcd lease id; "0": a reservation, which never expires. */
  readonly leaseId: string;
  readonly createRevision: number;
  readonly modRevision: number;
}

/** A change among the peers' leases. An `added` lease replaces an earlier one of the same subnet. */
export interface LeaseEvent {
  readonly type: "added" | "removed";
  readonly lease: SubnetLease;
}
