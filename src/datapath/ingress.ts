/** The way in: link header, ARP, and whether the port may send such a packet at all. */
import {
  ETHERNET_DST,
  ETHERNET_HEADER_BYTES,
  EtherType,
  etherType,
  etherTypeOf,
  isGroupMac,
} from "../wire/index.js";
import type { Bridge } from "./bridge.js";
import type { HostLink } from "./host-link.js";
import type { Ingress6 } from "./ipv6/ingress.js";
import type { Packet } from "./packet.js";
import type { Port } from "./ports.js";
import type { Router } from "./router.js";
import { PortKind } from "./types.js";
import { CONTINUE, Verdict } from "./verdicts.js";

export class Ingress {
  constructor(
    private readonly bytes: Uint8Array,
    private readonly bridge: Bridge,
    private readonly hostLink: HostLink,
    private readonly router: Router,
    private readonly bridgeNetfilter: boolean,
    private readonly ipv6?: Ingress6,
  ) {}

  /** Reads a frame of `length` bytes. Returns CONTINUE when an IP packet is to go on, else the verdict. */
  accept(packet: Packet, port: Port, length: number): number {
    if (port.kind === PortKind.pod) return this.fromPod(packet, port, length);
    if (port.kind === PortKind.host) return this.fromHost(packet, port, length);
    if (this.ipv6 !== undefined && length > 0 && etherTypeOf(this.bytes, packet.frame) === EtherType.ipv6)
      return this.ipv6.bare(packet, port, length);
    if (!packet.parse(packet.frame, length)) return Verdict.malformed;
    return port.kind === PortKind.node ? this.router.admitOwn(packet) : this.router.admit(packet, port);
  }

  private fromHost(packet: Packet, port: Port, length: number): number {
    const { bytes } = this;
    const { frame } = packet;
    if (length < ETHERNET_HEADER_BYTES) return Verdict.malformed;
    if (!this.hostLink.isForNode(frame)) return Verdict.otherMac;
    packet.toGroupMac = isGroupMac(bytes, frame + ETHERNET_DST);
    const type = etherType(bytes, frame);
    if (type === EtherType.arp) return this.hostLink.arp(packet, port, length);
    if (type === EtherType.ipv6 && this.ipv6 !== undefined) return this.ipv6.fromHost(packet, port, length);
    if (type !== EtherType.ipv4) return Verdict.unsupportedL3;
    if (!packet.parse(frame + ETHERNET_HEADER_BYTES, length - ETHERNET_HEADER_BYTES))
      return Verdict.malformed;
    return this.router.admit(packet, port);
  }

  private fromPod(packet: Packet, port: Port, length: number): number {
    const { bytes, bridge } = this;
    const { frame } = packet;
    if (length < ETHERNET_HEADER_BYTES) return Verdict.malformed;
    if (!bridge.admit(port, frame, packet.nowMs)) return Verdict.spoofedMac;
    packet.toGroupMac = isGroupMac(bytes, frame + ETHERNET_DST);
    const type = etherType(bytes, frame);
    if (type === EtherType.arp) return bridge.arp(packet, port, length);
    if (type === EtherType.ipv6 && this.ipv6 !== undefined) {
      const accepted = this.ipv6.fromPod(packet, port, length);
      if (accepted !== CONTINUE) return accepted;
      return bridge.isForNode(frame) ? this.router.admit(packet, port) : this.across(packet, port, length);
    }
    if (type !== EtherType.ipv4) return Verdict.unsupportedL3;
    if (!packet.parse(frame + ETHERNET_HEADER_BYTES, length - ETHERNET_HEADER_BYTES))
      return Verdict.malformed;
    if (port.ip !== 0 && packet.src !== port.ip) return Verdict.spoofedIp;
    if (bridge.isForNode(frame)) return this.router.admit(packet, port);
    return this.across(packet, port, length);
  }

  /** A frame between pods of this node. */
  private across(packet: Packet, port: Port, length: number): number {
    const to = packet.toGroupMac ? undefined : this.bridge.destination(packet.frame, packet.nowMs);
    if (to === undefined) {
      // What IPv6 finds its neighbours by did not come this far: no policy may hinder it.
      return this.bridge.flood(port, packet.frame, length, this.bridgeNetfilter ? packet : undefined);
    }
    if (to === port) return Verdict.otherMac;
    this.router.bridge(packet, to);
    return this.bridgeNetfilter ? this.router.admit(packet, port) : CONTINUE;
  }
}
