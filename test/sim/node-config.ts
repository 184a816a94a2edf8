/** What a simulated node is told: its networks as text, and as its datapath takes them. */
import type { DatapathOptions, NodeAddresses, NodeAddresses6, PortKind } from "../../src/datapath/index.js";
import type { ProxierOptions } from "../../src/proxy/index.js";
import {
  formatIpv6,
  type Ipv6Prefix,
  linkLocalOfMac,
  parseIpv4,
  parseIpv6,
  parseIpv6Prefix,
  parseMac,
  parsePrefix,
} from "../../src/wire/index.js";

export const OVERLAY_MTU = 1472;
export const NODE_MTU = 1500;

/** Of one family. */
export interface NodeNetworks {
  readonly nodeIp: string;
  readonly hostIp: string;
  readonly podSubnet: string;
  readonly podNetwork: string;
  readonly serviceNetwork: string;
  readonly bridgeIp: string;
  readonly overlayIp: string;
}

export interface NodeConfig extends NodeNetworks {
  readonly name: string;
  readonly underlay: string;
  /** Missing on a node of IPv4 only. */
  readonly ipv6?: NodeNetworks;
  readonly bridgeNetfilter: boolean;
  readonly proxy: Partial<ProxierOptions>;
  readonly datapath: Partial<DatapathOptions>;
}

/** What a port of the node leads to. */
export interface PortInfo {
  readonly id: number;
  readonly name: string;
  readonly kind: PortKind;
  readonly mtuBytes: number;
  /** The addresses behind a pod or host port. */
  readonly ip: string;
  readonly ip6?: string;
  readonly linkLocal?: string;
  readonly mac: string;
  /** Takes a frame that left by this port; `peer` as the datapath named it, and the frame's offload header. */
  deliver(frame: Uint8Array, peer: string, vnetHeader: Uint8Array): void;
}

export function nodeAddresses(config: NodeConfig): NodeAddresses {
  return {
    nodeIp: ip(config.nodeIp),
    hostIp: ip(config.hostIp),
    podSubnet: prefix(config.podSubnet),
    bridgeIp: ip(config.bridgeIp),
    overlayIp: ip(config.overlayIp),
    podNetwork: prefix(config.podNetwork),
    serviceNetwork: prefix(config.serviceNetwork),
    ...(config.ipv6 && { ipv6: addresses6(config.ipv6) }),
  };
}

function addresses6(networks: NodeNetworks): NodeAddresses6 {
  return {
    nodeIp: ip6(networks.nodeIp),
    hostIp: ip6(networks.hostIp),
    podSubnet: prefix6(networks.podSubnet),
    bridgeIp: ip6(networks.bridgeIp),
    overlayIp: ip6(networks.overlayIp),
    podNetwork: prefix6(networks.podNetwork),
    serviceNetwork: prefix6(networks.serviceNetwork),
  };
}

export function ip6(text: string): bigint {
  const value = parseIpv6(text);
  if (value === undefined) throw new Error(`not an IPv6 address: ${text}`);
  return value;
}

export function prefix6(text: string): Ipv6Prefix {
  const value = parseIpv6Prefix(text);
  if (value === undefined) throw new Error(`not an IPv6 prefix: ${text}`);
  return value;
}

export function ip(text: string): number {
  const value = parseIpv4(text);
  if (value === undefined) throw new Error(`not an address: ${text}`);
  return value;
}

export function prefix(text: string): { address: number; length: number } {
  const value = parsePrefix(text);
  if (value === undefined) throw new Error(`not a prefix: ${text}`);
  return value;
}

export function ipText(address: number): string {
  return [address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255].join(".");
}

export function mac(text: string): Uint8Array {
  const value = parseMac(text);
  if (value === undefined) throw new Error(`not a MAC: ${text}`);
  return value;
}

/** The address that a MAC gives its interface (RFC 4291 appendix A). */
export function linkLocalOf(text: string): string {
  return formatIpv6(linkLocalOfMac(mac(text)));
}

/** 02:42 and the address, as Docker makes them. */
export function macOf(address: string): string {
  const octets = address.split(".").map((octet) => Number(octet).toString(16).padStart(2, "0"));
  return `02:42:${octets.join(":")}`;
}
