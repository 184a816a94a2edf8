/** The node's own addresses and networks, with masks made once. */
import { IPV4_BROADCAST, isMulticastIpv4, prefixMask } from "../wire/index.js";
import { type NodeAddresses, PortKind, type Prefix } from "./types.js";

export class Addresses {
  nodeIp = 0;
  hostIp = 0;
  bridgeIp = 0;
  overlayIp = 0;
  private readonly podSubnet = new Network();
  private readonly podNetwork = new Network();
  private readonly serviceNetwork = new Network();

  constructor(addresses: NodeAddresses) {
    this.set(addresses);
  }

  set(addresses: NodeAddresses): void {
    this.nodeIp = addresses.nodeIp;
    this.hostIp = addresses.hostIp;
    this.bridgeIp = addresses.bridgeIp;
    this.overlayIp = addresses.overlayIp;
    this.podSubnet.set(addresses.podSubnet);
    this.podNetwork.set(addresses.podNetwork);
    this.serviceNetwork.set(addresses.serviceNetwork);
  }

  isOwn(ip: number): boolean {
    return ip === this.nodeIp || ip === this.bridgeIp || ip === this.overlayIp;
  }

  inPodSubnet(ip: number): boolean {
    return this.podSubnet.has(ip);
  }

  inPodNetwork(ip: number): boolean {
    return this.podNetwork.has(ip);
  }

  inServiceNetwork(ip: number): boolean {
    return this.serviceNetwork.has(ip);
  }

  /** Multicast, limited broadcast, or the broadcast address of the pods' subnet. */
  isGroup(ip: number): boolean {
    return isMulticastIpv4(ip) || ip === IPV4_BROADCAST || ip === this.podSubnet.broadcast;
  }

  /** The node's address on the network behind a port of this kind, which it masquerades as and sends errors from. */
  towards(kind: PortKind): number {
    if (kind === PortKind.pod) return this.bridgeIp;
    return kind === PortKind.overlay ? this.overlayIp : this.nodeIp;
  }
}

/** A prefix as signed words, which comparisons on the packet path like best. */
class Network {
  broadcast = 0;
  private address = 0;
  private mask = 0;

  set(prefix: Prefix): void {
    this.mask = prefixMask(prefix.length) | 0;
    this.address = prefix.address | 0;
    this.broadcast = (this.address | ~this.mask) >>> 0;
  }

  has(ip: number): boolean {
    return (ip & this.mask) === this.address;
  }
}
