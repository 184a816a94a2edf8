/**
 * The node's bridge: pods reach each other by their real MACs, and the node, their gateway, by the bridge's. ARP between
 * pods crosses it as any broadcast does; only requests for the bridge's own address are answered here.
 */
import {
  ARP_BYTES,
  ARP_SENDER_MAC,
  ArpOperation,
  arpOperation,
  arpSenderIp,
  arpTargetIp,
  ETHERNET_DST,
  ETHERNET_HEADER_BYTES,
  ETHERNET_SRC,
  EtherType,
  isArp,
  isGroupMac,
  macsEqual,
  writeArp,
  writeEthernet,
} from "../wire/index.js";
import type { Addresses } from "./addresses.js";
import { MacTable } from "./mac-table.js";
import type { Packet } from "./packet.js";
import type { PolicyGate } from "./policy-gate.js";
import type { Port, Ports } from "./ports.js";
import { NO_ROOM, type Scratch } from "./scratch.js";
import type { FrameSink } from "./types.js";
import { Verdict } from "./verdicts.js";

const ARP_FRAME_BYTES = ETHERNET_HEADER_BYTES + ARP_BYTES;

export class Bridge {
  readonly macs = new MacTable();

  constructor(
    private readonly bytes: Uint8Array,
    private readonly scratch: Scratch,
    private readonly sink: FrameSink,
    private readonly ports: Ports,
    private readonly addresses: Addresses,
    private readonly mac: Uint8Array,
    private readonly policies: PolicyGate,
  ) {}

  addPort(port: Port): void {
    if (port.mac !== undefined) this.macs.assign(port.mac, port);
  }

  removePort(port: Port): void {
    this.macs.removePort(port);
  }

  /** Whether the frame's source MAC may come from the port; learns it where the port's is not given. */
  admit(port: Port, frame: number, nowMs: number): boolean {
    const source = frame + ETHERNET_SRC;
    if (port.mac !== undefined) return macsEqual(this.bytes, source, port.mac, 0);
    if (isGroupMac(this.bytes, source) || macsEqual(this.bytes, source, this.mac, 0)) return false;
    this.macs.learn(this.bytes, source, port, nowMs);
    return true;
  }

  isForNode(frame: number): boolean {
    return macsEqual(this.bytes, frame + ETHERNET_DST, this.mac, 0);
  }

  /** The port of the frame's destination MAC. */
  destination(frame: number, nowMs: number): Port | undefined {
    return this.macs.lookup(this.bytes, frame + ETHERNET_DST, nowMs);
  }

  /**
   * Copies a frame to every pod port that it did not come from and whose MTU it fits; with the IP packet in it, to those
   * that network policies let it reach.
   */
  flood(from: Port, frame: number, length: number, packet?: Packet): number {
    for (const port of this.ports.pods) {
      if (port === from || length - ETHERNET_HEADER_BYTES > port.mtuBytes) continue;
      if (packet !== undefined && !this.policies.mayReach(packet, port)) continue;
      this.sink.send(port.id, frame, length, 0);
    }
    return Verdict.flooded;
  }

  /** An ARP frame of `length` bytes from a pod. */
  arp({ frame, nowMs }: Packet, port: Port, length: number): number {
    const { bytes } = this;
    const arp = frame + ETHERNET_HEADER_BYTES;
    if (!isArp(bytes, arp, length - ETHERNET_HEADER_BYTES)) return Verdict.malformed;
    if (!macsEqual(bytes, arp + ARP_SENDER_MAC, bytes, frame + ETHERNET_SRC)) return Verdict.spoofedMac;
    const sender = arpSenderIp(bytes, arp);
    if (sender !== 0 && port.ip !== 0 && sender !== port.ip) return Verdict.spoofedIp;
    if (this.addresses.isOwn(sender)) return Verdict.spoofedIp;
    if (
      arpOperation(bytes, arp) === ArpOperation.request &&
      arpTargetIp(bytes, arp) === this.addresses.bridgeIp
    ) {
      return answerArp(bytes, this.scratch, this.sink, port, arp, this.mac);
    }
    if (this.isForNode(frame)) return Verdict.deliver;
    const to = isGroupMac(bytes, frame + ETHERNET_DST) ? undefined : this.destination(frame, nowMs);
    if (to === undefined) return this.flood(port, frame, length);
    if (to === port) return Verdict.otherMac;
    this.sink.send(to.id, frame, length, 0);
    return Verdict.bridged;
  }
}

/** Answers the ARP request at `arp`: its target is at `mac`. */
export function answerArp(
  bytes: Uint8Array,
  scratch: Scratch,
  sink: FrameSink,
  port: Port,
  arp: number,
  mac: Uint8Array,
): number {
  const out = scratch.take(ARP_FRAME_BYTES);
  if (out === NO_ROOM) return Verdict.noScratch;
  const asker = arp + ARP_SENDER_MAC;
  const body = out + ETHERNET_HEADER_BYTES;
  const target = arpTargetIp(bytes, arp);
  writeEthernet(bytes, out, bytes, asker, mac, 0, EtherType.arp);
  writeArp(bytes, body, ArpOperation.reply, mac, 0, target, bytes, asker, arpSenderIp(bytes, arp));
  sink.send(port.id, out, ARP_FRAME_BYTES, 0);
  return Verdict.deliver;
}
