import type { ConntrackCleaner, Prefix } from "../datapath/index.js";
import type { Ipv6Prefix } from "../wire/index.js";
import type { LocalMode } from "./detect-local.js";
import type { AddressFamily } from "./family.js";
import type { ConnectionCounter, SchedulerName } from "./schedulers/index.js";
import type { InvalidHandler } from "./types.js";

export interface ProxierOptions {
  /** IPv4 when it is missing. Networks and addresses are of this family; there is one proxy for each. */
  readonly family?: AddressFamily;
  /** Endpoints on the node of this name are local. */
  readonly nodeName: string;
  /** The node's own address: its connections are node-sourced, and source ranges may hold it. */
  readonly nodeIp?: number;
  /** Label `topology.kubernetes.io/zone` of the node; without it zone hints are of no use. */
  readonly zone?: string;
  /** Sources in it are pods, which reach cluster IPs with their own address (detect-local mode ClusterCIDR). */
  readonly podNetwork: Prefix | Ipv6Prefix;
  /** The node's part of it; for detect-local mode NodeCIDR. */
  readonly podSubnet?: Prefix | Ipv6Prefix;
  /** How pods are told from others (kube-proxy `--detect-local-mode`). */
  readonly detectLocalMode?: LocalMode;
  /** Addresses in it that no Service has are dropped. */
  readonly serviceNetwork: Prefix | Ipv6Prefix;
  /** Masquerade whatever goes to a cluster IP (kube-proxy `--masquerade-all`). */
  readonly masqueradeAll?: boolean;
  /** Which of the node's addresses have the node ports (`--nodeport-addresses`): `primary` is the node IP; empty: all. */
  readonly nodePortAddresses?: readonly (Prefix | Ipv6Prefix)[] | "primary";
  /** For Services that name none; `rr` when it is missing. */
  readonly defaultScheduler?: SchedulerName;
  /** For least-connection; without it that scheduler goes round. */
  readonly connections?: ConnectionCounter;
  /** In [0, 1); for the scheduler `random`. */
  readonly random?: () => number;
  readonly conntrack: ConntrackCleaner;
  /** Told about parts of objects that make no sense and are ignored. */
  readonly onInvalid?: InvalidHandler;
}
