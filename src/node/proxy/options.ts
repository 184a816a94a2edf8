/** What a node's proxy is told at its start. */
import type { NodeAddresses, NodeAddresses6, Prefix } from "../../datapath/index.js";
import type { ProxierOptions } from "../../proxy/index.js";
import { type Ipv6Prefix, parseIpv6Cidr, parsePrefix } from "../../wire/index.js";
import type { NodeConfig } from "../config.js";

/** Where a node is, for endpoints that are meant for some zones only. */
export const ZONE_LABEL = "topology.kubernetes.io/zone";

/** What kube-proxy sets in the kernel at its start where Linux has 432,000 and 60 (KubeProxyConntrackConfiguration). */
export const CONNTRACK_TIMEOUTS = { tcpEstablished: 86_400, tcpCloseWait: 3600 } as const;

export function proxierOptions(
  config: NodeConfig,
  addresses: NodeAddresses,
): Omit<ProxierOptions, "conntrack"> {
  return {
    ...settings(config, parsePrefix),
    podNetwork: addresses.podNetwork,
    podSubnet: addresses.podSubnet,
    serviceNetwork: addresses.serviceNetwork,
    nodeIp: addresses.nodeIp,
  };
}

/** The same for the proxy of IPv6, but for the node's address, which the address book has to number. */
export function proxierOptions6(
  config: NodeConfig,
  { podNetwork, podSubnet, serviceNetwork }: NodeAddresses6,
): Omit<ProxierOptions, "conntrack"> {
  return { ...settings(config, parseIpv6Cidr), podNetwork, podSubnet, serviceNetwork };
}

/** What is the same for all nodes; of the node port addresses those of one family. */
function settings(
  { name, labels, proxy }: NodeConfig,
  parse: (text: string) => Prefix | Ipv6Prefix | undefined,
): Pick<
  ProxierOptions,
  "nodeName" | "zone" | "defaultScheduler" | "masqueradeAll" | "detectLocalMode" | "nodePortAddresses"
> {
  const { scheduler, masqueradeAll, detectLocalMode, nodePortAddresses = [] } = proxy ?? {};
  return {
    nodeName: name,
    zone: labels[ZONE_LABEL],
    defaultScheduler: scheduler,
    masqueradeAll,
    detectLocalMode,
    nodePortAddresses:
      nodePortAddresses === "primary"
        ? "primary"
        : nodePortAddresses.map(parse).filter((prefix) => prefix !== undefined),
  };
}
