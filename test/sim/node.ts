/**
 * One node: the real Datapath and Proxier on an arena of its own, and ports that lead to stations and other nodes.
 * Frames that arrive at one moment are one batch; what the datapath queues is read when the batch ends, not before,
 * as the real I/O does.
 */
import {
  AddressBook,
  type ConntrackRecord,
  Datapath,
  type FrameSink,
  HEADROOM_BYTES,
  isIpv6Handle,
  PortKind,
  type ServiceDecision,
  type ServiceQuery,
  type TraceSink,
  VNET_HDR_BYTES,
} from "../../src/datapath/index.js";
import { HostPorts } from "../../src/node/pods/hostPorts.js";
import { NetworkPolicies } from "../../src/policy/index.js";
import {
  DualStackProxier,
  ipv6Family,
  type NodeProxier,
  Proxier,
  type ProxierOptions,
} from "../../src/proxy/index.js";
import type { PolicyOracle } from "../policy/oracle.js";
import type { VirtualClock } from "./clock.js";
import { ETHERNET_BYTES, etherTypeOf, formatMac, IPV4_TYPE, IPV6_TYPE } from "./ethernet.js";
import { checkFrame } from "./invariants.js";
import {
  ip,
  ip6,
  ipText,
  mac,
  macOf,
  type NodeConfig,
  nodeAddresses,
  type PortInfo,
  prefix,
} from "./node-config.js";
import { checkPolicy } from "./policy-invariant.js";

export * from "./node-config.js";

/** Room for a super-packet. */
const SLOT_BYTES = 8192;
const SLOTS = 64;
const ARENA_BYTES = SLOTS * SLOT_BYTES * 2;
const POISON = 0xa5;
/** Addresses that a node's book begins with, and at most. */
const BOOK_ADDRESSES = 64;
const MAX_BOOK_ADDRESSES = 4096;
const PLAIN = new Uint8Array(VNET_HDR_BYTES);
export class SimNode implements FrameSink {
  datapath: Datapath;
  proxier: NodeProxier;
  /** The handles of IPv6 addresses; undefined on a node of IPv4 only. */
  book: AddressBook | undefined;
  policies: NetworkPolicies;
  hostPorts: HostPorts;
  /** Its process has ended: nothing that comes in is heard. */
  isDown = false;
  readonly ports = new Map<number, PortInfo>();
  /** Frames that left, by all ports, since the start. */
  framesSent = 0;
  readonly #arena = new Uint8Array(ARENA_BYTES).fill(POISON);
  #arrived: {
    readonly port: number;
    readonly frame: Uint8Array;
    readonly peer: string;
    readonly vnetHeader: Uint8Array;
  }[] = [];
  #queued: {
    readonly port: number;
    readonly offset: number;
    readonly length: number;
    readonly peer: number;
  }[] = [];

  constructor(
    readonly config: NodeConfig,
    readonly clock: VirtualClock,
    private readonly trace: TraceSink,
    private readonly random: () => number,
    readonly oracle: PolicyOracle,
  ) {
    this.book = this.#newBook();
    this.proxier = this.#newProxier();
    this.policies = this.#newPolicies();
    this.policies.onSynced();
    this.hostPorts = this.#newHostPorts();
    this.datapath = this.#newDatapath();
  }

  /** A new process: it knows its ports, and nothing else of before. */
  restart(): void {
    this.isDown = false;
    this.book = this.#newBook();
    this.proxier = this.#newProxier();
    this.policies = this.#newPolicies();
    this.hostPorts = this.#newHostPorts();
    this.datapath = this.#newDatapath();
    for (const port of this.ports.values()) this.#plug(port);
  }

  /** Small, so that it has to collect and to grow all the time. */
  #newBook(): AddressBook | undefined {
    return this.config.ipv6 && new AddressBook(this.random, BOOK_ADDRESSES, MAX_BOOK_ADDRESSES);
  }

  /** One for each family. */
  #newProxier(): NodeProxier {
    const { config, random, book } = this;
    const { ipv6: addresses6, ...addresses } = nodeAddresses(config);
    const conntrack = {
      deleteByOriginalDst: (...tuple: [number, number, number]) =>
        this.datapath.conntrack.deleteByOriginalDst(...tuple),
      deleteByNat: (...tuple: [number, number, number, number, number]) =>
        this.datapath.conntrack.deleteByNat(...tuple),
    };
    const common: Omit<ProxierOptions, "podNetwork" | "serviceNetwork"> = {
      nodeName: config.name,
      conntrack,
      connections: { openConnections: (...endpoint) => this.#openConnections(...endpoint) },
      random,
      onInvalid: (message) => {
        throw new Error(message);
      },
    };
    const ipv4 = new Proxier({ ...common, ...addresses, ...config.proxy });
    if (book === undefined || addresses6 === undefined) return ipv4;
    const { podNetwork, podSubnet, serviceNetwork } = addresses6;
    const networks = { podNetwork, podSubnet, serviceNetwork, nodeIp: book.pin(addresses6.nodeIp) };
    const ipv6 = new Proxier({ ...common, ...networks, family: ipv6Family(book), ...config.proxy });
    book.addRoot((mark) => ipv6.markAddresses(mark));
    return new DualStackProxier(ipv4, ipv6, isIpv6Handle);
  }

  #newHostPorts(): HostPorts {
    const resolve = (...question: [ServiceQuery, ServiceDecision]) => this.proxier.resolve(...question);
    const deleteByOriginalDst = (...tuple: [number, number, number]) =>
      this.datapath.conntrack.deleteByOriginalDst(...tuple);
    return new HostPorts({ resolve }, prefix(this.config.podSubnet), { deleteByOriginalDst }, this.book);
  }

  #newPolicies(): NetworkPolicies {
    return new NetworkPolicies({
      nodeName: this.config.name,
      addressOf6: (handle) => this.book!.address(handle),
      onInvalid: (message) => {
        throw new Error(message);
      },
    });
  }

  #newDatapath(): Datapath {
    const { config, random, trace } = this;
    return new Datapath({
      name: config.name,
      addresses: nodeAddresses(config),
      addressBook: this.book,
      arena: this.#arena,
      scratchStart: ARENA_BYTES / 2,
      scratchEnd: ARENA_BYTES,
      sink: this,
      services: this.hostPorts,
      policies: this.policies,
      trace,
      random,
      bridgeNetfilter: config.bridgeNetfilter,
      ipMasq: true,
      bridgeMac: mac(macOf(config.bridgeIp)),
      hostPortMac: mac(macOf(config.nodeIp)),
      underlay: { address: ip(config.underlay), overlayPort: 8285, nodenetPort: 8286 },
      ...config.datapath,
    });
  }

  addPort(port: PortInfo): void {
    this.ports.set(port.id, port);
    this.#plug(port);
  }

  #plug(port: PortInfo): void {
    const { id, name, kind, mtuBytes } = port;
    const pod =
      kind === PortKind.pod
        ? { ip: ip(port.ip), mac: mac(port.mac), ...(port.ip6 && { ip6: ip6(port.ip6) }) }
        : {};
    this.datapath.addPort({ id, name, kind, mtuBytes, ...pod });
  }

  removePort(id: number): void {
    this.ports.delete(id);
    this.datapath.removePort(id);
  }

  /** A frame comes in; it is worked on together with all others of this moment. */
  receive(port: number, frame: Uint8Array, peer = "0.0.0.0", vnetHeader: Uint8Array = PLAIN): void {
    if (this.isDown) return;
    this.#arrived.push({ port, frame, peer, vnetHeader });
    if (this.#arrived.length === 1) this.clock.after(0, () => this.#batch());
  }

  /** The datapath's time-outs. */
  tick(): void {
    if (this.isDown) return;
    this.datapath.beginBatch(this.clock.nowMs);
    this.datapath.tick();
    this.#flush();
  }

  send(port: number, offset: number, length: number, peer: number): void {
    this.#queued.push({ port, offset, length, peer: peer >>> 0 });
  }

  /** The slow way: a connection is open until both sides have closed it, a UDP flow while it is remembered. */
  #openConnections(protocol: number, address: number, port: number): number {
    const name = this.book?.name(address) ?? address;
    return this.datapath
      .conntrackRecords({ protocol })
      .filter(({ reply }) => reply.src === name && reply.sport === port)
      .filter(({ state }) => state !== "TIME_WAIT" && state !== "CLOSE").length;
  }

  #batch(): void {
    const arrived = this.#arrived;
    this.#arrived = [];
    for (let at = 0; at < arrived.length; at += SLOTS) {
      this.datapath.beginBatch(this.clock.nowMs);
      for (const [slot, { port, frame, peer, vnetHeader }] of arrived.slice(at, at + SLOTS).entries()) {
        if (!this.ports.has(port)) continue;
        const offset = slot * SLOT_BYTES + HEADROOM_BYTES;
        this.#arena.fill(POISON, slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES);
        this.#arena.set(vnetHeader, offset - VNET_HDR_BYTES);
        this.#arena.set(frame, offset);
        this.datapath.receive(port, offset, frame.length, ip(peer));
      }
      this.#flush();
    }
  }

  /** Frames that the bridge keeps from netfilter pass no policy either, nor those that it floods for a pod that is gone. */
  #checkPolicy({ kind, mac }: PortInfo, records: ConntrackRecord[] | undefined, frame: Uint8Array): void {
    if (records === undefined) return;
    const isEthernet = kind === PortKind.pod || kind === PortKind.host;
    const isIp = [IPV4_TYPE, IPV6_TYPE].includes(etherTypeOf(frame));
    if (isEthernet && (!isIp || formatMac(frame.slice(0, 6)) !== mac)) return;
    const podAt = (address: string) =>
      [...this.ports.values()].find(({ linkLocal }) => linkLocal === address)?.ip6 ?? address;
    checkPolicy(this.config, this.oracle, records, isEthernet ? frame.slice(ETHERNET_BYTES) : frame, podAt);
  }

  #flush(): void {
    const queued = this.#queued;
    this.#queued = [];
    const frames = queued.map(({ offset, length }) => ({
      header: this.#arena.slice(offset - VNET_HDR_BYTES, offset),
      frame: this.#arena.slice(offset, offset + length),
    }));
    const macs = new Set([...this.ports.values()].map((port) => port.mac));
    const isJudged = this.oracle.policies.size > 0 && this.config.bridgeNetfilter && queued.length > 0;
    const records = isJudged ? this.datapath.conntrackRecords() : undefined;
    for (const [i, { port: id, peer }] of queued.entries()) {
      const port = this.ports.get(id);
      if (port === undefined)
        throw new Error(`${this.config.name} sends to port ${id}, which does not exist`);
      const peerText = ipText(peer);
      const { header, frame } = frames[i];
      checkFrame(this.config, port, macs, header, frame, peerText);
      this.#checkPolicy(port, records, frame);
      this.framesSent++;
      port.deliver(frame, peerText, header);
    }
  }
}
