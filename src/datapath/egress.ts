/** The way out: what an accepted packet becomes on the link of its port. */
import {
  decrementHopLimit,
  decrementTtl,
  ETHERNET_HEADER_BYTES,
  etherTypeOf,
  writeEthernet,
} from "../wire/index.js";
import { type SendPiece, sendInPieces } from "./fragmenter.js";
import type { HostLink } from "./host-link.js";
import type { Packet } from "./packet.js";
import { rewrite } from "./rewrite.js";
import type { Scratch } from "./scratch.js";
import { type FrameSink, PortKind } from "./types.js";
import { Verdict } from "./verdicts.js";
import { moveVnet } from "./vnet.js";

export class Egress {
  private readonly piece: SendPiece = (packet, frame, ip, length) => this.send(packet, frame, ip, length);

  constructor(
    private readonly bytes: Uint8Array,
    private readonly scratch: Scratch,
    private readonly sink: FrameSink,
    private readonly hostLink: HostLink,
    private readonly bridgeMac: Uint8Array,
  ) {}

  /** Writes the translation, takes a hop off the TTL of what others sent, and sends. Returns the verdict. */
  transmit(packet: Packet): number {
    const { view, outPort } = packet;
    if (outPort === undefined) return Verdict.noRoute;
    if (packet.isTranslated()) rewrite(packet);
    if (packet.isBridged) {
      this.sink.send(outPort.id, packet.frame, view.l3Length + ETHERNET_HEADER_BYTES, 0);
      return Verdict.bridged;
    }
    if (!packet.isFromNode()) {
      if (packet.isIpv6) decrementHopLimit(this.bytes, packet.ip);
      else decrementTtl(this.bytes, packet.ip);
    }
    if (packet.wireBytes() <= outPort.mtuBytes)
      return this.send(packet, packet.frame, packet.ip, view.l3Length);
    return sendInPieces(packet, outPort.mtuBytes, this.scratch, this.piece)
      ? Verdict.forward
      : Verdict.noScratch;
  }

  /** Hands a packet to the node's own IP stack, as it is: that is no hop, and it takes any size. */
  deliver(packet: Packet): number {
    const { view, outPort } = packet;
    if (outPort === undefined) return Verdict.noRoute;
    if (packet.isTranslated()) rewrite(packet);
    moveVnet(this.bytes, packet.frame, packet.ip);
    this.sink.send(outPort.id, packet.ip, view.l3Length, 0);
    return Verdict.deliver;
  }

  /** Puts one IP packet on the link of the packet's port. */
  private send({ outPort, nextHop, nowMs }: Packet, frame: number, ip: number, length: number): number {
    if (outPort === undefined) return Verdict.noRoute;
    if (outPort.kind === PortKind.host) return this.hostLink.send(outPort, frame, ip, length, nowMs);
    if (outPort.kind === PortKind.pod) {
      if (outPort.mac === undefined) return Verdict.hostUnreachable;
      const out = ip - ETHERNET_HEADER_BYTES;
      moveVnet(this.bytes, frame, out);
      writeEthernet(this.bytes, out, outPort.mac, 0, this.bridgeMac, 0, etherTypeOf(this.bytes, ip));
      this.sink.send(outPort.id, out, length + ETHERNET_HEADER_BYTES, 0);
    } else {
      moveVnet(this.bytes, frame, ip);
      this.sink.send(outPort.id, ip, length, nextHop);
    }
    return Verdict.forward;
  }
}
