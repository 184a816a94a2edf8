/** The way in for IPv6: what belongs to the link is handled here, of the rest the source is checked before it is believed. */
import {
  ETHERNET_HEADER_BYTES,
  Icmpv6Type,
  IPV6_DST,
  IPV6_SRC,
  IpProtocol,
  isMulticastIpv6,
  isNeighbourDiscovery,
  isUnspecifiedIpv6,
  type PacketView,
} from "../../wire/index.js";
import type { Packet } from "../packet.js";
import type { Port } from "../ports.js";
import type { Router } from "../router.js";
import { PortKind } from "../types.js";
import { CONTINUE, Verdict } from "../verdicts.js";
import type { Neighbours } from "./neighbours.js";

export class Ingress6 {
  constructor(
    private readonly bytes: Uint8Array,
    private readonly neighbours: Neighbours,
    private readonly router: Router,
  ) {}

  /** An IPv6 frame of `length` bytes from a pod. CONTINUE: it is the pod's own and goes on, to the node or across. */
  fromPod(packet: Packet, port: Port, length: number): number {
    const { bytes } = this;
    const { view } = packet;
    if (!packet.parse6(packet.frame + ETHERNET_HEADER_BYTES, length - ETHERNET_HEADER_BYTES))
      return Verdict.malformed;
    if (isDiscovery(view)) return this.neighbours.fromPod(packet, port, length);
    if (isListener(view)) return Verdict.deliver;
    if (isUnspecifiedIpv6(bytes, view.l3Offset + IPV6_SRC)) return Verdict.martian;
    if (!this.neighbours.maySpeakFor(port, view.l3Offset + IPV6_SRC)) return Verdict.spoofedIp;
    return packet.intern() ? CONTINUE : Verdict.addressesFull;
  }

  fromHost(packet: Packet, port: Port, length: number): number {
    const { bytes } = this;
    const { view } = packet;
    if (!packet.parse6(packet.frame + ETHERNET_HEADER_BYTES, length - ETHERNET_HEADER_BYTES))
      return Verdict.malformed;
    if (isDiscovery(view)) return this.neighbours.fromHost(packet, port);
    if (isListener(view)) return Verdict.deliver;
    if (isMulticastIpv6(bytes, view.l3Offset + IPV6_DST)) return Verdict.multicast;
    return packet.intern() ? this.router.admit(packet, port) : Verdict.addressesFull;
  }

  /** A bare packet: from the overlay or the node network, where nothing of a link may come, or from the node's stack. */
  bare(packet: Packet, port: Port, length: number): number {
    const isOwn = port.kind === PortKind.node;
    if (!packet.parse6(packet.frame, length)) return Verdict.malformed;
    // Linux looks for routers and tells of its groups on every interface; nobody is there.
    if (isDiscovery(packet.view) || isListener(packet.view)) return isOwn ? Verdict.deliver : Verdict.martian;
    if (!packet.intern()) return Verdict.addressesFull;
    return isOwn ? this.router.admitOwn(packet) : this.router.admit(packet, port);
  }
}

function isDiscovery({ protocol, icmpType, fragmentOffset }: PacketView): boolean {
  return protocol === IpProtocol.icmpv6 && fragmentOffset === 0 && isNeighbourDiscovery(icmpType);
}

/** Multicast listener discovery (RFC 3810): the node asks nobody and takes notice of nothing. */
function isListener({ protocol, icmpType, fragmentOffset }: PacketView): boolean {
  return (
    protocol === IpProtocol.icmpv6 &&
    fragmentOffset === 0 &&
    ((icmpType >= Icmpv6Type.listenerQuery && icmpType <= Icmpv6Type.listenerDone) ||
      icmpType === Icmpv6Type.listenerReport2)
  );
}
