/** Where a packet goes, and whether it may have come the way it came. */
import { isLoopbackIpv4 } from "../wire/index.js";
import type { Addresses } from "./addresses.js";
import { isIpv6Handle } from "./ipv6/address-book.js";
import type { Route6, RouteTable6 } from "./ipv6/routes.js";
import type { Packet } from "./packet.js";
import type { Port, Ports } from "./ports.js";
import type { Route, RouteTable } from "./routes.js";
import { PortKind } from "./types.js";
import { CONTINUE, Verdict } from "./verdicts.js";

export class Router {
  constructor(
    private readonly addresses: Addresses,
    private readonly ports: Ports,
    private readonly routes: RouteTable,
    private readonly routes6?: RouteTable6,
  ) {}

  /**
   * Martian and spoof checks (RFC 1812 §5.3.7, §5.3.8) of a routed packet: its source must lie where packets to it would
   * go. For peers this is design law: an inner source outside the sender's lease is dropped.
   */
  admit(packet: Packet, port: Port): number {
    const { src, dst } = packet;
    const { addresses } = this;
    // No IPv4 packet may pass for an IPv6 address' handle.
    if (!packet.isIpv6 && (isIpv6Handle(src) || isIpv6Handle(dst))) return Verdict.martian;
    if (!addresses.isUnicastHost(src) || addresses.isOwn(src) || addresses.isGroup(src))
      return Verdict.martian;
    if (!addresses.isUnicastHost(dst) && !addresses.isGroup(dst)) return Verdict.martian;
    if (packet.isIpv6 && this.leavesLink(packet, port)) return Verdict.martian;
    if (port.kind === PortKind.pod || addresses.isHost(src)) return this.admitDirect(packet, port);
    const route = this.lookup(src);
    if (port.kind === PortKind.host) {
      return route?.port === port.id && !this.addresses.inPodNetwork(src) ? CONTINUE : Verdict.spoofedIp;
    }
    if (route?.port === port.id && route.nextHop === packet.peer) return CONTINUE;
    const known = (packet.isIpv6 ? this.routes6 : this.routes)?.hasPeer(port.id, packet.peer) === true;
    return known ? Verdict.spoofedIp : Verdict.unknownPeer;
  }

  /** What the node itself sends has one of its own addresses as source. */
  admitOwn({ src, dst, isIpv6 }: Packet): number {
    const { addresses } = this;
    if (!isIpv6 && (isIpv6Handle(src) || isIpv6Handle(dst))) return Verdict.martian;
    if (!addresses.isUnicastHost(dst) && !addresses.isGroup(dst) && !isLoopbackIpv4(dst))
      return Verdict.martian;
    if (isLoopbackIpv4(src) && !isLoopbackIpv4(dst)) return Verdict.martian;
    return addresses.isOwn(src) ? CONTINUE : Verdict.spoofedIp;
  }

  /** Sets the way out for `newDst`. Returns CONTINUE or a verdict. */
  route(packet: Packet): number {
    const { addresses } = this;
    const dst = packet.newDst;
    if (addresses.isOwn(dst)) {
      packet.outKind = PortKind.local;
      // Its link-local addresses are the datapath's alone: the stack would not know which link an answer is for.
      packet.outPort = addresses.isLinkLocal(dst) ? undefined : this.ports.node;
      return CONTINUE;
    }
    if (addresses.isGroup(dst)) return Verdict.multicast;
    if (addresses.inPodSubnet(dst))
      return this.leaveBy(packet, this.ports.pod(dst), 0, Verdict.hostUnreachable);
    if (addresses.isHost(dst)) return this.leaveBy(packet, this.ports.host, 0, Verdict.noRoute);
    if (addresses.inServiceNetwork(dst)) return Verdict.unknownService;
    if (addresses.isLinkLocal(dst)) return this.leaveBy(packet, packet.linkPort, 0, Verdict.noRoute);
    const route = this.lookup(dst);
    if (route === undefined) return Verdict.noRoute;
    const port = this.ports.get(route.port);
    // The machine must not get back what it sent, nor what belongs to a pod network that no node leases.
    if (port?.kind === PortKind.host && (packet.inPort === port || addresses.inPodNetwork(dst)))
      return Verdict.noRoute;
    const verdict = this.leaveBy(packet, port, route.nextHop, Verdict.noRoute);
    if ("source" in route && route.source !== undefined) packet.sourceIp = route.source;
    return verdict;
  }

  /** Sets the way out of a frame that is switched by its MAC address. */
  bridge(packet: Packet, port: Port): void {
    packet.isBridged = true;
    this.leaveBy(packet, port, 0, CONTINUE);
  }

  /** The connected checks: pods were checked against their port, the machine is at the host port only. */
  private admitDirect({ src }: Packet, port: Port): number {
    return this.addresses.isHost(src) && port.kind !== PortKind.host ? Verdict.spoofedIp : CONTINUE;
  }

  /** Whether a link-local address would leave its link (RFC 4291 §2.5.6): it talks to pods and the node beside it only. */
  private leavesLink({ src, dst, isBridged }: Packet, { kind }: Port): boolean {
    const { addresses } = this;
    if (!addresses.isLinkLocal(src) && !addresses.isLinkLocal(dst)) return false;
    const isOnLink = kind === PortKind.pod || kind === PortKind.host;
    return !isOnLink || !(isBridged || addresses.isOwn(dst) || addresses.isGroup(dst));
  }

  private lookup(ip: number): Route | Route6 | undefined {
    return isIpv6Handle(ip) ? this.routes6?.lookup(ip) : this.routes.lookup(ip);
  }

  private leaveBy(packet: Packet, port: Port | undefined, nextHop: number, otherwise: number): number {
    if (port === undefined) return otherwise;
    packet.outKind = port.kind;
    packet.outPort = port;
    packet.nextHop = nextHop;
    packet.sourceIp = this.addresses.towards(port.kind, packet.isIpv6);
    return CONTINUE;
  }
}
