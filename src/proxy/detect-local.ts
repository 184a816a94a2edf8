import { PortKind, type Prefix, type ServiceQuery } from "../datapath/index.js";

/** How a proxy knows the pods of the cluster, or of its node, by their packets (apis/config/types.go `LocalMode`). */
export const LOCAL_MODES = ["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"] as const;
export type LocalMode = (typeof LOCAL_MODES)[number];

/** Whether a connection comes from a pod. Allocates nothing. */
export type LocalDetector = (query: ServiceQuery) => boolean;

export interface LocalNetworks {
  readonly podNetwork: Prefix;
  /** The node's part of the pod network. */
  readonly podSubnet?: Prefix;
}

/**
 * Makes the detector of a mode. The two interface modes are one here: the ports of a node's pods are the bridge.
 * @throws Error when the mode is NodeCIDR and the node's subnet is not given
 */
export function localDetector(mode: LocalMode, { podNetwork, podSubnet }: LocalNetworks): LocalDetector {
  if (mode === "ClusterCIDR") return inPrefix(podNetwork);
  if (mode !== "NodeCIDR") return (query) => query.inKind === PortKind.pod;
  if (podSubnet === undefined) throw new Error("Detecting pods by NodeCIDR needs the node's pod subnet.");
  return inPrefix(podSubnet);
}

function inPrefix({ address, length }: Prefix): LocalDetector {
  const mask = length === 0 ? 0 : -1 << (32 - length);
  const network = address | 0;
  return (query) => (query.src & mask) === network;
}
