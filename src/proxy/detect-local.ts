import { PortKind, type ServiceQuery } from "../datapath/index.js";
import type { AddressRange } from "./family.js";

/** How a proxy knows the pods of the cluster, or of its node, by their packets (apis/config/types.go `LocalMode`). */
export const LOCAL_MODES = ["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"] as const;
export type LocalMode = (typeof LOCAL_MODES)[number];

/** Whether a connection comes from a pod. Allocates nothing. */
export type LocalDetector = (query: ServiceQuery) => boolean;

export interface LocalNetworks {
  readonly podNetwork: AddressRange;
  /** The node's part of the pod network. */
  readonly podSubnet?: AddressRange;
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

function inPrefix(range: AddressRange): LocalDetector {
  return (query) => range.contains(query.src | 0);
}
