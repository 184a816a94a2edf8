/** The networks of a simulated cluster, and each node's part of them. */
import type { NodeNetworks } from "./node-config.js";

export const HOST_IP = "10.0.0.1";
export const POD_NETWORK = "172.16.0.0/16";
export const SERVICE_NETWORK = "10.254.0.0/16";
export const HOST_IP6 = "fd00:10::1";
export const POD_NETWORK6 = "fd00:10:244::/56";
export const SERVICE_NETWORK6 = "fd00:10:96::/112";

/** Ids of the ports that every node has. */
export const OVERLAY_PORT = 1;
export const NODENET_PORT = 2;

/** Of the node with this number, from 1. */
export function networksOf(number: number): NodeNetworks {
  return {
    nodeIp: `10.0.0.${10 + number}`,
    hostIp: HOST_IP,
    podSubnet: `172.16.${number}.0/24`,
    podNetwork: POD_NETWORK,
    serviceNetwork: SERVICE_NETWORK,
    bridgeIp: `172.16.${number}.1`,
    overlayIp: `172.16.${number}.0`,
  };
}

export function networks6Of(number: number): NodeNetworks {
  return {
    nodeIp: `fd00:10::1${number}`,
    hostIp: HOST_IP6,
    podSubnet: `fd00:10:244:${number}::/64`,
    podNetwork: POD_NETWORK6,
    serviceNetwork: SERVICE_NETWORK6,
    bridgeIp: `fd00:10:244:${number}::1`,
    overlayIp: `fd00:10:244:${number}::`,
  };
}

/** The IPv6 address that stands where an IPv4 address of these networks stands; of hosts and Services with the same number. */
export function sixOf(address: string): string {
  const [a, , c, d] = address.split(".");
  if (a === "172") return `fd00:10:244:${c}::${d === "0" ? "" : Number(d).toString(16)}`;
  const low = address.startsWith("10.254.") ? (Number(c) * 256 + Number(d)).toString(16) : d;
  return address.startsWith("10.254.") ? `fd00:10:96::${low}` : `fd00:10::${low}`;
}

/** Of the pod with this number on a node, from 2: the same in both families. */
export function podAddress(podSubnet: string, number: number): string {
  return podSubnet.includes(":")
    ? podSubnet.replace(/\/\d+$/, number.toString(16))
    : podSubnet.replace(/0\/\d+$/, String(number));
}
