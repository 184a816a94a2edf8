/**
 * The link to the machine: one neighbour. The node answers ARP for its own address and, as a proxy, for everything
 * that lies behind it (RFC 1027); it asks for the machine's MAC when it must, and keeps a few packets meanwhile. The
 * machine has one MAC for both families: it is asked for by ARP, and learned from neighbour discovery too.
 */
import {
  ARP_BYTES,
  ARP_SENDER_MAC,
  ArpOperation,
  arpOperation,
  arpSenderIp,
  arpTargetIp,
  BROADCAST_MAC,
  copyBytes,
  copyMac,
  ETHERNET_DST,
  ETHERNET_HEADER_BYTES,
  EtherType,
  etherTypeOf,
  isArp,
  isGroupMac,
  MAC_BYTES,
  macsEqual,
  writeArp,
  writeEthernet,
} from "../wire/index.js";
import type { Addresses } from "./addresses.js";
import { answerArp } from "./bridge.js";
import type { Counters } from "./counters.js";
import { MacWords } from "./mac-words.js";
import type { Packet } from "./packet.js";
import type { Port, Ports } from "./ports.js";
import { NO_ROOM, type Scratch } from "./scratch.js";
import { type FrameSink, VNET_HDR_BYTES } from "./types.js";
import { Verdict } from "./verdicts.js";
import { moveVnet } from "./vnet.js";

/** After this long without an answer the MAC is asked for again while it stays in use. */
const REACHABLE_MS = 60_000;
const RETRY_MS = 1000;
const MAX_REQUESTS = 3;
const MAX_HELD = 16;
const HELD_BYTES = 128 * 1024;
const UNKNOWN_MAC = new Uint8Array(MAC_BYTES);

export class HostLink {
  /** The machine's MAC, once it is known, as words. */
  readonly macWords = new MacWords();
  private readonly hostMac = new Uint8Array(MAC_BYTES);
  private isKnown = false;
  private confirmedMs = 0;
  private askedMs = Number.NEGATIVE_INFINITY;
  /** Requests without an answer. */
  private asked = 0;
  /** Packets that wait, each behind its virtio_net_hdr; made when the first one has to. */
  private held = new Uint8Array(0);
  private readonly heldLengths = new Int32Array(MAX_HELD);
  private heldCount = 0;
  private heldBytes = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly scratch: Scratch,
    private readonly sink: FrameSink,
    private readonly ports: Ports,
    private readonly addresses: Addresses,
    private readonly counters: Counters,
    private readonly mac: Uint8Array,
  ) {}

  /** Whether a frame is for the node: to its MAC, or to a group. */
  isForNode(frame: number): boolean {
    const to = frame + ETHERNET_DST;
    return macsEqual(this.bytes, to, this.mac, 0) || isGroupMac(this.bytes, to);
  }

  /** An ARP frame of `length` bytes from the machine. */
  arp({ frame, nowMs }: Packet, port: Port, length: number): number {
    const { bytes, addresses } = this;
    const arp = frame + ETHERNET_HEADER_BYTES;
    if (!isArp(bytes, arp, length - ETHERNET_HEADER_BYTES)) return Verdict.malformed;
    const sender = arpSenderIp(bytes, arp);
    const target = arpTargetIp(bytes, arp);
    if (addresses.isOwn(sender)) return Verdict.spoofedIp;
    if (sender === addresses.hostIp) this.learn(port, arp + ARP_SENDER_MAC, nowMs);
    const isRequest = arpOperation(bytes, arp) === ArpOperation.request;
    if (!isRequest || target === sender || !this.answersFor(target)) return Verdict.deliver;
    return answerArp(bytes, this.scratch, this.sink, port, arp, this.mac);
  }

  /** Whether a packet can be sent at once, with nothing to ask. */
  isReachable(nowMs: number): boolean {
    return this.isKnown && nowMs - this.confirmedMs < REACHABLE_MS;
  }

  /** Sends the IP packet at `ip` (frame start `frame`) to the machine, or keeps it until the MAC is known. */
  send(port: Port, frame: number, ip: number, length: number, nowMs: number): number {
    if (!this.isReachable(nowMs)) this.ask(port, nowMs);
    if (!this.isKnown) return this.hold(frame, ip, length);
    this.emit(port, frame, ip, length);
    return Verdict.forward;
  }

  /** Repeats requests, and gives up on packets that waited for too many of them. */
  tick(nowMs: number): void {
    if (this.isKnown || this.heldCount === 0) return;
    if (this.ports.host !== undefined && this.asked < MAX_REQUESTS) {
      this.ask(this.ports.host, nowMs);
    } else if (nowMs - this.askedMs >= RETRY_MS) {
      for (let i = 0; i < this.heldCount; i++) this.counters.count(Verdict.neighbourUnresolved);
      this.forgetHeld();
      this.asked = 0;
    }
  }

  /** Forgets the machine's MAC and what waits for it: the port is gone. */
  reset(): void {
    this.isKnown = false;
    this.asked = 0;
    this.askedMs = Number.NEGATIVE_INFINITY;
    this.forgetHeld();
  }

  private answersFor(target: number): boolean {
    const { addresses } = this;
    if (target === addresses.hostIp) return false;
    return (
      target === addresses.nodeIp || addresses.inPodNetwork(target) || addresses.inServiceNetwork(target)
    );
  }

  private ask(port: Port, nowMs: number): void {
    if (nowMs - this.askedMs < RETRY_MS) return;
    if (this.isKnown && this.asked >= MAX_REQUESTS) {
      this.isKnown = false;
      this.asked = 0;
    }
    const frame = this.scratch.take(ETHERNET_HEADER_BYTES + ARP_BYTES);
    if (frame === NO_ROOM) return;
    this.askedMs = nowMs;
    this.asked++;
    const { bytes, mac, addresses } = this;
    const arp = frame + ETHERNET_HEADER_BYTES;
    writeEthernet(bytes, frame, BROADCAST_MAC, 0, mac, 0, EtherType.arp);
    writeArp(bytes, arp, ArpOperation.request, mac, 0, addresses.nodeIp, UNKNOWN_MAC, 0, addresses.hostIp);
    this.sink.send(port.id, frame, ETHERNET_HEADER_BYTES + ARP_BYTES, 0);
  }

  /** Notes the machine's MAC, at an offset in the arena, and sends what waited for it. */
  learn(port: Port, macOffset: number, nowMs: number): void {
    copyMac(this.hostMac, 0, this.bytes, macOffset);
    this.macWords.set(this.hostMac);
    this.isKnown = true;
    this.confirmedMs = nowMs;
    this.asked = 0;
    this.sendHeld(port);
  }

  private emit(port: Port, frame: number, ip: number, length: number): void {
    const out = ip - ETHERNET_HEADER_BYTES;
    moveVnet(this.bytes, frame, out);
    writeEthernet(this.bytes, out, this.hostMac, 0, this.mac, 0, etherTypeOf(this.bytes, ip));
    this.sink.send(port.id, out, length + ETHERNET_HEADER_BYTES, 0);
  }

  private hold(frame: number, ip: number, length: number): number {
    if (this.held.length === 0) this.held = new Uint8Array(HELD_BYTES);
    const record = VNET_HDR_BYTES + length;
    if (this.heldCount === MAX_HELD || this.heldBytes + record > HELD_BYTES)
      return Verdict.neighbourQueueFull;
    moveVnet(this.bytes, frame, ip);
    copyBytes(this.held, this.heldBytes, this.bytes, ip - VNET_HDR_BYTES, record);
    this.heldLengths[this.heldCount++] = length;
    this.heldBytes += record;
    return Verdict.pending;
  }

  private sendHeld(port: Port): void {
    let at = 0;
    for (let i = 0; i < this.heldCount; i++) {
      const length = this.heldLengths[i];
      const frame = this.scratch.take(ETHERNET_HEADER_BYTES + length);
      if (frame === NO_ROOM) this.counters.count(Verdict.noScratch);
      else {
        const ip = frame + ETHERNET_HEADER_BYTES;
        copyBytes(this.bytes, ip - VNET_HDR_BYTES, this.held, at, VNET_HDR_BYTES + length);
        this.emit(port, ip, ip, length);
      }
      at += VNET_HDR_BYTES + length;
    }
    this.forgetHeld();
  }

  private forgetHeld(): void {
    this.heldCount = 0;
    this.heldBytes = 0;
  }
}
