/**
 * The datapath on real devices: one PacketIo over all TAPs and the two sockets, one Datapath that decides, and the
 * names that tie the two together. JavaScript runs once per batch; what it queues is written when the batch ends.
 */

import { Field, FRAME_STRIDE, openTap, openUdp, PacketIo, type TapDevice, type UdpSocket } from "tun-tap-ts";
import {
  type AddressBook,
  Datapath,
  type FrameSink,
  type NodeAddresses,
  PortKind,
  type ServiceResolver,
  type TraceSink,
} from "../datapath/index.js";
import type { NetworkPolicies } from "../policy/index.js";
import { parseIpv4, parseIpv6, parseMac } from "../wire/index.js";
import type { NodeConfig } from "./config.js";
import { NODE_NETWORK_MTU } from "./hostLink.js";
import { LoopLag, type LoopLagReport } from "./loopLag.js";
import { HostPorts } from "./pods/hostPorts.js";
import { type PodAttacher, podMac, type SandboxRecord } from "./pods/sandbox.js";
import { CONNTRACK_TIMEOUTS } from "./proxy/options.js";

/** IPv4 and UDP header of the overlay's datagrams (flannel's udp backend). */
const UDP_OVERHEAD_BYTES = 28;
const TICK_MS = 1000;
/** Packets go ahead of what else runs on the machine, as the kernel's own do, but for a flood of small ones. */
const NICENESS = -15;
/** Socket buffers of the overlay: a burst of super-packets fits. */
const SOCKET_BUFFER_BYTES = 8 << 20;
/** MAC of the node's end of the host TAP, as of the bridge: 02:42 and the address. */
const macOf = (address: string): Uint8Array => parseMac(podMac(address)) ?? new Uint8Array(6);

export interface DataplaneOptions {
  readonly config: NodeConfig;
  readonly addresses: NodeAddresses;
  readonly bridgeIp: string;
  /** flannel's UDP port, from its config. */
  readonly overlayPort: number;
  readonly overlaySocket: UdpSocket;
  readonly nodenetSocket: UdpSocket;
  readonly services: ServiceResolver;
  /** Everything is allowed when missing. */
  readonly policies?: NetworkPolicies;
  readonly trace: TraceSink;
  /** Of a node with IPv6. */
  readonly addressBook?: AddressBook;
  /** Other host ports lead to pods than before. */
  readonly onHostPorts?: () => void;
  readonly log: (level: "info" | "warn", message: string) => void;
}

/** Binds an underlay socket; separate from the dataplane so that a taken port is found before anything is made. */
export function openUnderlay(config: NodeConfig, port: number): UdpSocket {
  return openUdp({
    address: config.underlay.address,
    port,
    gro: true,
    merge: true,
    sndbufBytes: SOCKET_BUFFER_BYTES,
    rcvbufBytes: SOCKET_BUFFER_BYTES,
  });
}

/** Wall clock that never runs backwards, in milliseconds since the epoch with fractions. */
export function monotonicNow(): number {
  return performance.timeOrigin + performance.now();
}

interface PodPort {
  readonly tap: TapDevice;
  readonly port: number;
}

export class Dataplane implements FrameSink, PodAttacher {
  readonly datapath: Datapath;
  readonly io: PacketIo;
  readonly overlayPort: number;
  readonly nodenetPort: number;
  readonly hostPorts: HostPorts;
  readonly #options: DataplaneOptions;
  readonly #mtuBytes: number;
  readonly #pods = new Map<string, PodPort>();
  readonly #names = new Map<number, string>();
  readonly #lag = new LoopLag();
  #queued = 0;
  #timer: NodeJS.Timeout | undefined;
  #hostTap: TapDevice | undefined;
  #nodeTun: TapDevice | undefined;

  constructor(options: DataplaneOptions) {
    this.#options = options;
    const { config, addresses } = options;
    this.#mtuBytes = config.underlay.mtuBytes - UDP_OVERHEAD_BYTES;
    this.io = new PacketIo({
      onBatch: (frames) => this.#onBatch(frames),
      onPortError: (port, error) => this.#portGone(port, error.message),
      niceness: NICENESS,
      // What is not known yet would be refused: pods that are not taken up, Services before the first sync.
      paused: true,
    });
    this.hostPorts = new HostPorts(
      options.services,
      addresses.podSubnet,
      {
        deleteByOriginalDst: (...tuple) => this.datapath.conntrack.deleteByOriginalDst(...tuple),
      },
      options.addressBook,
    );
    this.datapath = new Datapath({
      name: config.name,
      addresses,
      arena: this.io.arena,
      scratchStart: this.io.scratchStart,
      scratchEnd: this.io.scratchEnd,
      sink: this,
      services: this.hostPorts,
      policies: options.policies,
      trace: options.trace,
      addressBook: options.addressBook,
      random: Math.random,
      bridgeNetfilter: config.options.bridgeNetfilter,
      ipMasq: config.options.ipMasq,
      conntrackMax: config.conntrack?.max,
      conntrackTimeouts: { ...CONNTRACK_TIMEOUTS, ...config.conntrack?.timeoutSeconds },
      conntrackTcp: { tcpBeLiberal: config.conntrack?.tcpBeLiberal },
      bridgeMac: macOf(options.bridgeIp),
      hostPortMac: macOf(config.nodeIp),
      underlay: {
        address: parseIpv4(config.underlay.address) ?? 0,
        overlayPort: options.overlayPort,
        nodenetPort: config.nodenetPort,
      },
    });
    this.overlayPort = this.#addSocket("overlay", options.overlaySocket, PortKind.overlay, this.#mtuBytes);
    this.nodenetPort = this.#addSocket("nodenet", options.nodenetSocket, PortKind.nodenet, NODE_NETWORK_MTU);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Handles frames from now on; those that have come since the devices were opened have waited. */
  resume(): void {
    this.io.resume();
  }

  get podMtuBytes(): number {
    return this.#mtuBytes;
  }

  /** Opens (or takes up again) the host TAP in the namespace of this process. */
  attachHost(): void {
    const tap = openTap({ name: this.#options.config.hostTap, vnetHdr: true, persist: true });
    this.#hostTap = tap;
    const port = this.io.addTap(tap);
    this.#names.set(port, "host");
    this.datapath.addPort({ id: port, name: "host", kind: PortKind.host, mtuBytes: NODE_NETWORK_MTU });
    // The machine is the node network's gateway to everything else; whether it forwards is its own affair.
    this.datapath.routes.put({ prefix: { address: 0, length: 0 }, port, nextHop: 0 });
    this.datapath.routes6?.put({ prefix: { address: 0n, length: 0 }, port, nextHop: 0 });
  }

  /** Opens (or takes up again) the device by which the node's own namespace is reached. */
  attachNode(netns: string): void {
    const tun = openTap({ name: "eth0", mode: "tun", netns, vnetHdr: true, persist: true });
    this.#nodeTun = tun;
    const port = this.io.addTap(tun);
    this.#names.set(port, "node");
    this.datapath.addPort({ id: port, name: "node", kind: PortKind.node, mtuBytes: NODE_NETWORK_MTU });
  }

  attach(sandbox: SandboxRecord): void {
    if (this.#pods.has(sandbox.uid)) return;
    const tap = openTap({ name: "eth0", netns: `/run/netns/${sandbox.netns}`, vnetHdr: true, persist: true });
    const port = this.io.addTap(tap);
    const name = `${sandbox.namespace}/${sandbox.name}`;
    const ip = parseIpv4(sandbox.ip) ?? 0;
    this.#pods.set(sandbox.uid, { tap, port });
    this.#names.set(port, name);
    const ip6 = parseIpv6(sandbox.ip6 ?? "");
    this.#options.policies?.assign(sandbox.uid, ip, ip6);
    this.datapath.addPort({
      id: port,
      name,
      kind: PortKind.pod,
      mtuBytes: this.#mtuBytes,
      ip,
      ip6,
      mac: parseMac(sandbox.mac) ?? new Uint8Array(6),
    });
    this.#leadHostPorts(sandbox, name);
  }

  detach(sandbox: SandboxRecord): void {
    const pod = this.#pods.get(sandbox.uid);
    if (!pod) return;
    this.#pods.delete(sandbox.uid);
    if (sandbox.hostPorts) {
      this.hostPorts.delete(sandbox.uid);
      this.#options.onHostPorts?.();
    }
    this.#names.delete(pod.port);
    this.#options.policies?.assign(sandbox.uid, 0);
    this.datapath.removePort(pod.port);
    this.io.removePort(pod.port);
    pod.tap.close();
  }

  /** How late the event loop was in the last minute: what a packet may have waited for JavaScript. */
  eventLoopLag(): LoopLagReport {
    return this.#lag.report();
  }

  #leadHostPorts({ uid, ip, ip6, hostPorts }: SandboxRecord, target: string): void {
    if (!hostPorts) return;
    this.hostPorts.put(uid, target, ip6 ? [ip, ip6] : [ip], hostPorts);
    this.#options.onHostPorts?.();
  }

  /** Counters of each port by its name. */
  portStats(): Record<string, ReturnType<PacketIo["ioStats"]>> {
    return Object.fromEntries([...this.#names].map(([port, name]) => [name, this.io.ioStats(port)]));
  }

  close(): void {
    clearInterval(this.#timer);
    this.#lag.close();
    this.io.close();
    for (const { tap } of this.#pods.values()) tap.close();
    this.#hostTap?.close();
    this.#nodeTun?.close();
    this.#options.overlaySocket.close();
    this.#options.nodenetSocket.close();
  }

  send(port: number, offset: number, length: number, peer: number): void {
    const { tx } = this.io;
    const at = this.#queued * FRAME_STRIDE;
    if (at >= tx.length) return void this.datapath.countDrop("tx-queue-full");
    tx[at + Field.port] = port;
    tx[at + Field.offset] = offset;
    tx[at + Field.length] = length;
    tx[at + Field.peerAddress] = peer;
    tx[at + Field.peerPort] =
      port === this.overlayPort ? this.#options.overlayPort : this.#options.config.nodenetPort;
    this.#queued++;
  }

  #addSocket(name: string, socket: UdpSocket, kind: PortKind, mtuBytes: number): number {
    const port = this.io.addUdp(socket);
    this.#names.set(port, name);
    this.datapath.addPort({ id: port, name, kind, mtuBytes });
    return port;
  }

  #onBatch(frames: number): number {
    this.#queued = 0;
    this.datapath.beginBatch(monotonicNow());
    this.datapath.receiveAll(this.io.rx, FRAME_STRIDE, frames);
    const queued = this.#queued;
    this.#queued = 0;
    return queued;
  }

  #tick(): void {
    this.#queued = 0;
    this.datapath.beginBatch(monotonicNow());
    this.datapath.tick();
    if (this.#queued > 0) this.io.flush(this.#queued);
    this.#queued = 0;
  }

  #portGone(port: number, message: string): void {
    this.#options.log("warn", `${this.#names.get(port) ?? `port ${port}`}: ${message}`);
    this.datapath.removePort(port);
    this.#names.delete(port);
  }
}
