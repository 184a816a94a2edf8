/** A node's addresses: those of its configuration, and those that flannel's lease gives. */
import type { NodeAddresses, NodeAddresses6 } from "../datapath/index.js";
import type { OverlayNetwork } from "../overlay/index.js";
import { parseIpv4, parseIpv6, parseIpv6Prefix, parsePrefix } from "../wire/index.js";
import type { NodeConfig } from "./config.js";
import { NodeSetupError } from "./errors.js";

/** @throws NodeSetupError on what is no address, and when the store's network has no IPv6 but the node has */
export function nodeAddresses(config: NodeConfig, network: OverlayNetwork): NodeAddresses {
  const address = (text: string) => {
    const ip = parseIpv4(text);
    if (ip === undefined) throw new NodeSetupError(`${text} is not an IPv4 address`);
    return ip;
  };
  const services = parsePrefix(config.serviceNetwork);
  if (!services)
    throw new NodeSetupError(
      `service network ${config.serviceNetwork} is not a prefix such as 10.254.0.0/16`,
    );
  return {
    nodeIp: address(config.nodeIp),
    hostIp: address(config.hostIp),
    podSubnet: network.subnet,
    bridgeIp: network.subnet.address + 1,
    overlayIp: network.subnet.address,
    podNetwork: network.config.network,
    serviceNetwork: services,
    ...(config.ipv6 ? { ipv6: nodeAddresses6(config.ipv6, network) } : {}),
  };
}

function nodeAddresses6(
  { nodeIp, hostIp, serviceNetwork }: NonNullable<NodeConfig["ipv6"]>,
  { subnet6, config }: OverlayNetwork,
): NodeAddresses6 {
  const address = (text: string) => {
    const ip = parseIpv6(text);
    if (ip === undefined) throw new NodeSetupError(`${text} is not an IPv6 address`);
    return ip;
  };
  const services = parseIpv6Prefix(serviceNetwork);
  if (!services)
    throw new NodeSetupError(`service network ${serviceNetwork} is not a prefix such as fd00:10:96::/112`);
  if (!subnet6 || !config.ipv6)
    throw new NodeSetupError(
      "this node has IPv6, but flannel's network configuration in the store has not; set EnableIPv6 and IPv6Network there",
    );
  return {
    nodeIp: address(nodeIp),
    hostIp: address(hostIp),
    podSubnet: subnet6,
    bridgeIp: subnet6.address + 1n,
    overlayIp: subnet6.address,
    podNetwork: config.ipv6.network,
    serviceNetwork: services,
  };
}
