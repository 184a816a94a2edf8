/** The node's own addresses and networks: of IPv4 with masks made once, of IPv6 as classes in the address book. */
import { IPV4_BROADCAST, isMulticastIpv4, isUnicastHostIpv4, prefixMask } from "../wire/index.js";
import { type AddressBook, AddressClass, isIpv6Handle, NO_HANDLE } from "./ipv6/address-book.js";
import { type NodeAddresses, type NodeAddresses6, PortKind, type Prefix } from "./types.js";

export class Addresses {
  nodeIp = 0;
  hostIp = 0;
  bridgeIp = 0;
  overlayIp = 0;
  /** Handles; all 0 on a node without IPv6. */
  nodeIp6 = NO_HANDLE;
  hostIp6 = NO_HANDLE;
  bridgeIp6 = NO_HANDLE;
  overlayIp6 = NO_HANDLE;
  private readonly podSubnet = new Network();
  private readonly podNetwork = new Network();
  private readonly serviceNetwork = new Network();

  /** @param linkLocals the node's own addresses on its links. @throws RangeError when IPv6 lacks an address book */
  constructor(
    addresses: NodeAddresses,
    private readonly book?: AddressBook,
    private readonly linkLocals: readonly bigint[] = [],
  ) {
    this.set(addresses);
    for (const address of linkLocals) book?.pin(address);
  }

  set(addresses: NodeAddresses): void {
    this.nodeIp = addresses.nodeIp;
    this.hostIp = addresses.hostIp;
    this.bridgeIp = addresses.bridgeIp;
    this.overlayIp = addresses.overlayIp;
    this.podSubnet.set(addresses.podSubnet);
    this.podNetwork.set(addresses.podNetwork);
    this.serviceNetwork.set(addresses.serviceNetwork);
    if (addresses.ipv6 !== undefined) this.set6(addresses.ipv6);
  }

  /** Whether the node speaks IPv6. */
  get hasIpv6(): boolean {
    return this.nodeIp6 !== NO_HANDLE;
  }

  /** Whether the node has the address; loopback's as well, which nothing but the node's own packets can have. */
  isOwn(ip: number): boolean {
    if (isIpv6Handle(ip)) return this.is(ip, AddressClass.own);
    return ip === this.nodeIp || ip === this.bridgeIp || ip === this.overlayIp || ip >>> 24 === 127;
  }

  /** Whether it is the machine's at the other end of the host TAP. */
  isHost(ip: number): boolean {
    return ip === this.hostIp || (ip === this.hostIp6 && ip !== NO_HANDLE);
  }

  /** Whether it may be the source of a packet from one host. */
  isUnicastHost(ip: number): boolean {
    return isIpv6Handle(ip) ? this.is(ip, AddressClass.host) : isUnicastHostIpv4(ip);
  }

  /** fe80::/10, which no router passes on (RFC 4291 §2.5.6). IPv4's has no such meaning here. */
  isLinkLocal(ip: number): boolean {
    return isIpv6Handle(ip) && this.is(ip, AddressClass.linkLocal);
  }

  inPodSubnet(ip: number): boolean {
    if (isIpv6Handle(ip)) return this.is(ip, AddressClass.podSubnet);
    return this.podSubnet.has(ip);
  }

  inPodNetwork(ip: number): boolean {
    if (isIpv6Handle(ip)) return this.is(ip, AddressClass.podNetwork);
    return this.podNetwork.has(ip);
  }

  inServiceNetwork(ip: number): boolean {
    if (isIpv6Handle(ip)) return this.is(ip, AddressClass.serviceNetwork);
    return this.serviceNetwork.has(ip);
  }

  /** Multicast, limited broadcast, or the broadcast address of the pods' subnet. */
  isGroup(ip: number): boolean {
    if (isIpv6Handle(ip)) return this.is(ip, AddressClass.group);
    return isMulticastIpv4(ip) || ip === IPV4_BROADCAST || ip === this.podSubnet.broadcast;
  }

  /** The node's address on the network behind a port of this kind, which it masquerades as and sends errors from. */
  towards(kind: PortKind, isIpv6: boolean): number {
    if (kind === PortKind.pod) return isIpv6 ? this.bridgeIp6 : this.bridgeIp;
    if (kind === PortKind.overlay) return isIpv6 ? this.overlayIp6 : this.overlayIp;
    return isIpv6 ? this.nodeIp6 : this.nodeIp;
  }

  private is(handle: number, classes: number): boolean {
    return this.book?.has(handle, classes) === true;
  }

  private set6(addresses: NodeAddresses6): void {
    const { book } = this;
    if (book === undefined) throw new RangeError("a node with IPv6 addresses needs an address book");
    const { nodeIp, hostIp, bridgeIp, overlayIp } = addresses;
    book.setNetworks({ ...addresses, own: [nodeIp, bridgeIp, overlayIp, ...this.linkLocals] });
    const before = [this.nodeIp6, this.hostIp6, this.bridgeIp6, this.overlayIp6];
    [this.nodeIp6, this.hostIp6, this.bridgeIp6, this.overlayIp6] = [nodeIp, hostIp, bridgeIp, overlayIp].map(
      (address) => book.pin(address),
    );
    for (const handle of before) book.unpin(handle);
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
