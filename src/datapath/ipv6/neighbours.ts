/**
 * Neighbour discovery (RFC 4861) at the node: it answers for its own addresses, and on the host port for what lies behind
 * it. Between pods it crosses the bridge, as ARP does, if the pod speaks for itself. Addresses are configured, so router
 * solicitations get no answer, and nobody but the node may be a router.
 */
import {
  ETHERNET_DST,
  ETHERNET_HEADER_BYTES,
  ETHERNET_SRC,
  EtherType,
  Icmpv6Type,
  IPV6_ADDRESS_BYTES,
  IPV6_ALL_NODES,
  IPV6_SRC,
  isFragment,
  isGroupMac,
  isMulticastIpv6,
  isNeighbourMessage,
  isUnspecifiedIpv6,
  macOfIpv6Group,
  macsEqual,
  NEIGHBOUR_BYTES,
  NEIGHBOUR_TARGET,
  NeighbourFlag,
  neighbourMac,
  transportChecksumIsValid,
  writeEthernet,
  writeIpv6Address,
  writeNeighbour,
} from "../../wire/index.js";
import type { Addresses } from "../addresses.js";
import type { Bridge } from "../bridge.js";
import type { HostLink } from "../host-link.js";
import type { Packet } from "../packet.js";
import type { Port } from "../ports.js";
import { NO_ROOM, type Scratch } from "../scratch.js";
import type { FrameSink } from "../types.js";
import { CONTINUE, Verdict } from "../verdicts.js";
import { checksumIsTrusted } from "../vnet.js";
import { type AddressBook, AddressClass } from "./address-book.js";

const FRAME_BYTES = ETHERNET_HEADER_BYTES + NEIGHBOUR_BYTES;
const ALL_NODES_MAC = macOfIpv6Group(IPV6_ALL_NODES);
const ALL_NODES = new Uint8Array(IPV6_ADDRESS_BYTES);
writeIpv6Address(ALL_NODES, 0, IPV6_ALL_NODES);

export class Neighbours {
  constructor(
    private readonly bytes: Uint8Array,
    private readonly book: AddressBook,
    private readonly scratch: Scratch,
    private readonly sink: FrameSink,
    private readonly addresses: Addresses,
    private readonly bridge: Bridge,
    private readonly hostLink: HostLink,
    private readonly bridgeMac: Uint8Array,
    private readonly hostPortMac: Uint8Array,
  ) {}

  /** A parsed message from a pod, in a frame of `length` bytes. */
  fromPod(packet: Packet, port: Port, length: number): number {
    const { bytes, bridge } = this;
    const { view, frame } = packet;
    if (view.icmpType === Icmpv6Type.routerSolicitation) return Verdict.deliver;
    const problem = this.check(packet);
    if (problem !== CONTINUE) return problem;
    const isSolicitation = view.icmpType === Icmpv6Type.neighbourSolicitation;
    const mac = neighbourMac(bytes, view);
    if (mac >= 0 && !macsEqual(bytes, mac, bytes, frame + ETHERNET_SRC)) return Verdict.spoofedMac;
    const target = view.l4Offset + NEIGHBOUR_TARGET;
    const source = view.l3Offset + IPV6_SRC;
    if (!this.maySpeakFor(port, source) && !(isSolicitation && isUnspecifiedIpv6(bytes, source)))
      return Verdict.spoofedIp;
    if (!isSolicitation && !this.maySpeakFor(port, target)) return Verdict.spoofedIp;
    if (isSolicitation && this.isOwn(target)) return this.answer(packet, port, this.bridgeMac);
    if (bridge.isForNode(frame)) return Verdict.deliver;
    const to = isGroupMac(bytes, frame + ETHERNET_DST) ? undefined : bridge.destination(frame, packet.nowMs);
    if (to === undefined) return bridge.flood(port, frame, length);
    if (to === port) return Verdict.otherMac;
    this.sink.send(to.id, frame, length, 0);
    return Verdict.bridged;
  }

  /** A parsed message from the machine. */
  fromHost(packet: Packet, port: Port): number {
    const { bytes, book, addresses } = this;
    const { view } = packet;
    const isSolicitation = view.icmpType === Icmpv6Type.neighbourSolicitation;
    // The machine may be a router to others; the node's routes are configured.
    if (!isSolicitation && view.icmpType !== Icmpv6Type.neighbourAdvertisement) return Verdict.deliver;
    const problem = this.check(packet);
    if (problem !== CONTINUE) return problem;
    const source = book.intern(bytes, view.l3Offset + IPV6_SRC);
    if (addresses.isOwn(source)) return Verdict.spoofedIp;
    const mac = neighbourMac(bytes, view);
    if (mac >= 0 && (addresses.isHost(source) || addresses.isLinkLocal(source)))
      this.hostLink.learn(port, mac, packet.nowMs);
    const target = view.l4Offset + NEIGHBOUR_TARGET;
    if (!isSolicitation || !this.isBehindNode(target)) return Verdict.deliver;
    return this.answer(packet, port, this.hostPortMac);
  }

  /** Whether a pod may send from an address, or say that it has it. */
  maySpeakFor(port: Port, offset: number): boolean {
    const { bytes, book } = this;
    if (port.ip6 === 0) return !this.isOwn(offset);
    return book.equals(port.ip6, bytes, offset) || book.equals(port.linkLocal, bytes, offset);
  }

  private check({ bytes, view, frame }: Packet): number {
    if (view.icmpType === Icmpv6Type.routerAdvertisement || view.icmpType === Icmpv6Type.redirect)
      return Verdict.rogueRouter;
    // In fragments it could be hidden from such checks (RFC 6980).
    if (isFragment(view) || !isNeighbourMessage(bytes, view)) return Verdict.malformed;
    const isRight = checksumIsTrusted(bytes, frame) || transportChecksumIsValid(bytes, view);
    return isRight ? CONTINUE : Verdict.badChecksum;
  }

  private isOwn(offset: number): boolean {
    const handle = this.book.find(this.bytes, offset);
    return handle !== 0 && this.addresses.isOwn(handle);
  }

  /** The node's own addresses, and as a proxy all that is routed through it, but not the machine's own. */
  private isBehindNode(offset: number): boolean {
    const { bytes, book, addresses } = this;
    if (isMulticastIpv6(bytes, offset)) return false;
    const handle = book.intern(bytes, offset);
    if (handle === 0 || addresses.isHost(handle)) return false;
    return book.has(handle, AddressClass.own | AddressClass.podNetwork | AddressClass.serviceNetwork);
  }

  /** Says that the target is at `mac`. Who asks without an address (RFC 4862 §5.4.3) is told along with all others. */
  private answer({ bytes, view, frame }: Packet, port: Port, mac: Uint8Array): number {
    const out = this.scratch.take(FRAME_BYTES);
    if (out === NO_ROOM) return Verdict.noScratch;
    const target = view.l4Offset + NEIGHBOUR_TARGET;
    const source = view.l3Offset + IPV6_SRC;
    const isNobody = isUnspecifiedIpv6(bytes, source);
    const ip = out + ETHERNET_HEADER_BYTES;
    if (isNobody) writeEthernet(bytes, out, ALL_NODES_MAC, 0, mac, 0, EtherType.ipv6);
    else writeEthernet(bytes, out, bytes, frame + ETHERNET_SRC, mac, 0, EtherType.ipv6);
    const flags = NeighbourFlag.router + NeighbourFlag.override + (isNobody ? 0 : NeighbourFlag.solicited);
    const to = isNobody ? ALL_NODES : bytes;
    const type = Icmpv6Type.neighbourAdvertisement;
    writeNeighbour(bytes, ip, type, flags, bytes, target, to, isNobody ? 0 : source, bytes, target, mac);
    this.sink.send(port.id, out, FRAME_BYTES, 0);
    return Verdict.deliver;
  }
}
