/** Where a packet goes, and whether it may have come the way it came. */
import { isUnicastHostIpv4 } from "../wire/index.js";
import type { Addresses } from "./addresses.js";
import type { Packet } from "./packet.js";
import type { Port, Ports } from "./ports.js";
import type { RouteTable } from "./routes.js";
import { PortKind } from "./types.js";
import { CONTINUE, Verdict } from "./verdicts.js";

export class Router {
  constructor(
    private readonly addresses: Addresses,
    private readonly ports: Ports,
    private readonly routes: RouteTable,
  ) {}

  /**
   * Martian and spoof checks (RFC 1812 §5.3.7, §5.3.8) of a routed packet: its source must lie where packets to it would
   * go. For peers this is design law: an inner source outside the sender's lease is dropped.
   */
  admit(packet: Packet, port: Port): number {
    const { src, dst } = packet;
    if (!isUnicastHostIpv4(src) || this.addresses.isOwn(src) || this.addresses.isGroup(src))
      return Verdict.martian;
    if (!isUnicastHostIpv4(dst) && !this.addresses.isGroup(dst)) return Verdict.martian;
    if (port.kind === PortKind.pod || src === this.addresses.hostIp) return this.admitDirect(packet, port);
    const route = this.routes.lookup(src);
    if (port.kind === PortKind.host) {
      return route?.port === port.id && !this.addresses.inPodNetwork(src) ? CONTINUE : Verdict.spoofedIp;
    }
    if (route?.port === port.id && route.nextHop === packet.peer) return CONTINUE;
    return this.routes.hasPeer(port.id, packet.peer) ? Verdict.spoofedIp : Verdict.unknownPeer;
  }

  /** What the node itself sends has one of its own addresses as source. */
  admitOwn({ src, dst }: Packet): number {
    if (!isUnicastHostIpv4(dst) && !this.addresses.isGroup(dst)) return Verdict.martian;
    return this.addresses.isOwn(src) ? CONTINUE : Verdict.spoofedIp;
  }

  /** Sets the way out for `newDst`. Returns CONTINUE or a verdict. */
  route(packet: Packet): number {
    const { addresses } = this;
    const dst = packet.newDst;
    if (addresses.isOwn(dst)) {
      packet.outKind = PortKind.local;
      packet.outPort = this.ports.node;
      return CONTINUE;
    }
    if (addresses.isGroup(dst)) return Verdict.multicast;
    if (addresses.inPodSubnet(dst))
      return this.leaveBy(packet, this.ports.pod(dst), 0, Verdict.hostUnreachable);
    if (dst === addresses.hostIp) return this.leaveBy(packet, this.ports.host, 0, Verdict.noRoute);
    if (addresses.inServiceNetwork(dst)) return Verdict.unknownService;
    const route = this.routes.lookup(dst);
    if (route === undefined) return Verdict.noRoute;
    const port = this.ports.get(route.port);
    // The machine must not get back what it sent, nor what belongs to a pod network that no node leases.
    if (port?.kind === PortKind.host && (packet.inPort === port || addresses.inPodNetwork(dst)))
      return Verdict.noRoute;
    const verdict = this.leaveBy(packet, port, route.nextHop, Verdict.noRoute);
    if (route.source !== undefined) packet.sourceIp = route.source;
    return verdict;
  }

  /** Sets the way out of a frame that is switched by its MAC address. */
  bridge(packet: Packet, port: Port): void {
    packet.isBridged = true;
    this.leaveBy(packet, port, 0, CONTINUE);
  }

  /** The connected checks: pods were checked against their port, the machine is at the host port only. */
  private admitDirect({ src }: Packet, port: Port): number {
    return src === this.addresses.hostIp && port.kind !== PortKind.host ? Verdict.spoofedIp : CONTINUE;
  }

  private leaveBy(packet: Packet, port: Port | undefined, nextHop: number, otherwise: number): number {
    if (port === undefined) return otherwise;
    packet.outKind = port.kind;
    packet.outPort = port;
    packet.nextHop = nextHop;
    packet.sourceIp = this.addresses.towards(port.kind);
    return CONTINUE;
  }
}
