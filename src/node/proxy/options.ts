/** What a node's proxy is told at its start. */
import type { NodeAddresses } from "../../datapath/index.js";
import type { ProxierOptions } from "../../proxy/index.js";
import { parsePrefix } from "../../wire/index.js";
import type { NodeConfig } from "../config.js";

/** Where a node is, for endpoints that are meant for some zones only. */
export const ZONE_LABEL = "topology.kubernetes.io/zone";

/** What kube-proxy sets in the kernel at its start where Linux has 432,000 and 60 (KubeProxyConntrackConfiguration). */
export const CONNTRACK_TIMEOUTS = { tcpEstablished: 86_400, tcpCloseWait: 3600 } as const;

export function proxierOptions(
  { name, labels, proxy }: NodeConfig,
  addresses: NodeAddresses,
): Omit<ProxierOptions, "conntrack"> {
  return {
    nodeName: name,
    zone: labels[ZONE_LABEL],
    podNetwork: addresses.podNetwork,
    podSubnet: addresses.podSubnet,
    serviceNetwork: addresses.serviceNetwork,
    nodeIp: addresses.nodeIp,
    ...(proxy && {
      defaultScheduler: proxy.scheduler,
      masqueradeAll: proxy.masqueradeAll,
      detectLocalMode: proxy.detectLocalMode,
      nodePortAddresses:
        proxy.nodePortAddresses === "primary"
          ? "primary"
          : proxy.nodePortAddresses.map(parsePrefix).filter((prefix) => prefix !== undefined),
    }),
  };
}
