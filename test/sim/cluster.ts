/**
 * Whole clusters in one process, under virtual time: nodes with the real datapath and proxy, pods and a host as small
 * IP stations, and links between them. The same seed gives the same run, packet for packet.
 */
import { type DatapathOptions, type Observation, PortKind } from "../../src/datapath/index.js";
import type { ProxierOptions } from "../../src/proxy/index.js";
import { isIpv6 } from "./address.js";
import { seededRandom } from "./clock.js";
import { Leases } from "./leases.js";
import {
  HOST_IP,
  HOST_IP6,
  NODENET_PORT,
  networks6Of,
  networksOf,
  OVERLAY_PORT,
  POD_NETWORK,
  POD_NETWORK6,
  podAddress,
  SERVICE_NETWORK,
  SERVICE_NETWORK6,
} from "./networks.js";
import {
  ip,
  ip6,
  linkLocalOf,
  macOf,
  NODE_MTU,
  type NodeConfig,
  OVERLAY_MTU,
  type PortInfo,
  SimNode,
} from "./node.js";
import { ClusterObjects, type PodWords, qualified, split } from "./objects.js";
import { type Interface, Station, type StationRoute } from "./station.js";
import { bareCard, wrap } from "./tun.js";
import { type Link, Underlay } from "./underlay.js";

export * from "./networks.js";
export type { PodWords } from "./objects.js";
export type { Link } from "./underlay.js";

const HOST_PORT = 3;
const NODE_PORT = 4;
const FIRST_POD_PORT = 10;

export interface ClusterOptions {
  readonly nodes?: number;
  readonly seed?: number;
  /** Nodes, pods and the host have IPv6 addresses as well. */
  readonly dualStack?: boolean;
  readonly bridgeNetfilter?: boolean;
  /** Options of every node's proxy. */
  readonly proxy?: Partial<ProxierOptions>;
  /** Options of every node's datapath. */
  readonly datapath?: Partial<DatapathOptions>;
  /** Zones by node; none when not given. */
  readonly zones?: readonly string[];
  readonly trace?: boolean;
}

export class Cluster extends ClusterObjects {
  readonly random: () => number;
  readonly host: Station;
  readonly pods = new Map<string, Station>();
  readonly observations: Observation[] = [];
  readonly #podPorts = new Map<Station, { node: SimNode; port: number }>();
  /** Last address given to a pod, per node; addresses are not used twice. */
  readonly #lastHost = new Map<SimNode, number>();
  readonly #underlay: Underlay;
  readonly #leases: Leases;
  /** The host's card towards each node. */
  readonly #hostCards: Interface[] = [];
  readonly #options: ClusterOptions;
  #nextPort = FIRST_POD_PORT;

  constructor(options: ClusterOptions = {}) {
    super();
    this.#options = options;
    this.random = seededRandom(options.seed ?? 1);
    this.host = new Station("host", HOST_IP, this.clock, [], options.dualStack ? HOST_IP6 : "");
    this.#underlay = new Underlay(this.nodes, this.clock, this.random);
    for (let i = 1; i <= (options.nodes ?? 2); i++) this.#addNode(i);
    for (const node of this.nodes) this.#connect(node);
    this.#leases = new Leases(this.nodes, POD_NETWORK, OVERLAY_PORT, POD_NETWORK6);
    const [via] = this.#hostCards;
    const { nodeIp, ipv6 } = this.nodes[0].config;
    this.host.routes.push({ prefix: SERVICE_NETWORK, via, gateway: nodeIp });
    if (ipv6) this.host.routes.push({ prefix: SERVICE_NETWORK6, via, gateway: ipv6.nodeIp });
    for (const { proxier } of this.nodes) {
      proxier.onServicesSynced();
      proxier.onEndpointSlicesSynced();
    }
    this.sync();
  }

  /** Nodes count from 1, as their names do. */
  node(number: number): SimNode {
    const node = this.nodes[number - 1];
    if (node === undefined) throw new Error(`no node ${number}`);
    return node;
  }

  /** Lets time pass. */
  run(durationMs = 1000): void {
    this.clock.run(durationMs);
  }

  link(from: number, to: number): Link {
    return this.#underlay.link(this.node(from), this.node(to));
  }

  // Pods

  /** Adds a pod, `name` or `namespace/name`, with the next free address of the node's subnet, from .2 on. */
  addPod(name: string, nodeNumber: number, words: PodWords = {}): Station {
    const node = this.node(nodeNumber);
    const host = (this.#lastHost.get(node) ?? 1) + 1;
    this.#lastHost.set(node, host);
    const { podSubnet, bridgeIp, ipv6 } = node.config;
    const address = podAddress(podSubnet, host);
    const mac = macOf(address);
    const [address6, linkLocal] = ipv6 ? [podAddress(ipv6.podSubnet, host), linkLocalOf(mac)] : [];
    const pod = new Station(name, address, this.clock, [], address6, linkLocal);
    const port = this.#nextPort++;
    const card: Interface = {
      name: "eth0",
      mac,
      mtuBytes: OVERLAY_MTU,
      transmit: (frame, vnetHeader) => node.receive(port, frame, undefined, vnetHeader),
    };
    pod.routes.push({ prefix: podSubnet, via: card }, { prefix: "0.0.0.0/0", via: card, gateway: bridgeIp });
    if (ipv6)
      pod.routes.push(
        { prefix: ipv6.podSubnet, via: card },
        { prefix: "fe80::/10", via: card },
        { prefix: "::/0", via: card, gateway: ipv6.bridgeIp },
      );
    const deliver = (frame: Uint8Array, _peer: string, vnetHeader: Uint8Array) =>
      this.clock.after(0, () => pod.receive(card, frame, vnetHeader));
    node.addPort({
      id: port,
      name: qualified(name),
      kind: PortKind.pod,
      mtuBytes: OVERLAY_MTU,
      ip: pod.ip,
      ip6: pod.ip6,
      linkLocal: pod.linkLocal,
      mac,
      deliver,
    });
    this.pods.set(name, pod);
    this.#podPorts.set(pod, { node, port });
    const { namespace } = split(name);
    if (!this.oracle.namespaces.has(namespace)) this.applyNamespace(namespace);
    this.applyPod(pod, words);
    return pod;
  }

  removePod(pod: Station): void {
    this.forgetPod(pod);
    const { node, port } = this.#podPorts.get(pod)!;
    node.removePort(port);
    this.pods.delete(pod.name);
    this.#podPorts.delete(pod);
  }

  /** Gives a node an IP stack of its own, as its namespace has it: three addresses of a family, and a route for each network. */
  addNodeStack(number: number): Station {
    const node = this.node(number);
    const { name, nodeIp, bridgeIp, overlayIp, podSubnet, ipv6 } = node.config;
    const more = [bridgeIp, overlayIp, "127.0.0.1", ...(ipv6 ? [ipv6.bridgeIp, ipv6.overlayIp, "::1"] : [])];
    const stack = new Station(name, nodeIp, this.clock, more, ipv6?.nodeIp);
    const card = bareCard(stack, (packet) => node.receive(NODE_PORT, packet));
    stack.routes.push(
      { prefix: podSubnet, via: card, src: bridgeIp },
      { prefix: POD_NETWORK, via: card, src: overlayIp },
      { prefix: "127.0.0.0/8", via: card, src: "127.0.0.1" },
      { prefix: "0.0.0.0/0", via: card },
    );
    if (ipv6)
      stack.routes.push(
        { prefix: ipv6.podSubnet, via: card, src: ipv6.bridgeIp },
        { prefix: POD_NETWORK6, via: card, src: ipv6.overlayIp },
        { prefix: "::1/128", via: card, src: "::1" },
        { prefix: "::/0", via: card },
      );
    node.addPort({
      id: NODE_PORT,
      name: "node",
      kind: PortKind.node,
      mtuBytes: NODE_MTU,
      ip: nodeIp,
      mac: "",
      deliver: (packet) => this.clock.after(0, () => stack.receive(card, wrap(card, packet))),
    });
    this.#podPorts.set(stack, { node, port: NODE_PORT });
    return stack;
  }

  nodeOf(pod: Station): SimNode {
    return this.#podPorts.get(pod)!.node;
  }

  /** Routes an address of a Service (external, or a load balancer's) from the host to a node. */
  routeHost(prefix: string, nodeNumber: number): void {
    const { nodeIp, ipv6 } = this.node(nodeNumber).config;
    const gateway = isIpv6(prefix) ? ipv6!.nodeIp : nodeIp;
    this.host.routes.unshift({ prefix, via: this.#hostCards[nodeNumber - 1], gateway });
  }

  // Processes and leases

  /** The node's process ends; its pods run on. */
  killNode(number: number): void {
    this.node(number).isDown = true;
  }

  /** The node's process starts again, and is told all there is. */
  startNode(number: number): void {
    const node = this.node(number);
    node.restart();
    this.#connect(node);
    this.#leases.restart(node);
    this.tellAll(node);
  }

  /** The node's lease has ended: its peers forget its subnet. */
  leaseGone(number: number): void {
    this.#leases.gone(this.node(number));
  }

  /** The lease is there again. */
  leaseBack(number: number): void {
    this.#leases.back(this.node(number));
  }

  #addNode(number: number): void {
    const config: NodeConfig = {
      ...networksOf(number),
      name: `node-${number}`,
      underlay: `192.0.2.${number}`,
      ...(this.#options.dualStack && { ipv6: networks6Of(number) }),
      bridgeNetfilter: this.#options.bridgeNetfilter ?? true,
      proxy: { zone: this.#options.zones?.[number - 1], ...this.#options.proxy },
      datapath: this.#options.datapath ?? {},
    };
    const trace = {
      enabled: this.#options.trace ?? false,
      record: (observation: Observation) => void this.observations.push(observation),
    };
    const node = new SimNode(config, this.clock, trace, this.random, this.oracle);
    this.nodes.push(node);
    const bare = (id: number): Pick<PortInfo, "id" | "ip" | "mac" | "deliver"> => ({
      id,
      ip: "",
      mac: "",
      deliver: this.#underlay.carry(node, id),
    });
    const { overlay, nodenet } = PortKind;
    node.addPort({ ...bare(OVERLAY_PORT), name: "overlay", kind: overlay, mtuBytes: OVERLAY_MTU });
    node.addPort({ ...bare(NODENET_PORT), name: "nodenet", kind: nodenet, mtuBytes: NODE_MTU });
    const card = this.#hostCard(node, number);
    const deliver = (frame: Uint8Array, _peer: string, vnetHeader: Uint8Array) =>
      this.clock.after(0, () => this.host.receive(card, frame, vnetHeader));
    node.addPort({
      id: HOST_PORT,
      name: "host",
      kind: PortKind.host,
      mtuBytes: NODE_MTU,
      ip: HOST_IP,
      ip6: this.host.ip6,
      mac: card.mac,
      deliver,
    });
    this.host.routes.push(...routesTo(config, card));
    const tick = () => {
      node.tick();
      this.clock.after(1000, tick);
    };
    this.clock.after(1000, tick);
  }

  #hostCard(node: SimNode, number: number): Interface {
    const transmit = (frame: Uint8Array, vnetHeader?: Uint8Array) =>
      node.receive(HOST_PORT, frame, undefined, vnetHeader);
    const card = { name: `tap${number}`, mac: `02:00:00:00:00:0${number}`, mtuBytes: NODE_MTU, transmit };
    this.#hostCards.push(card);
    return card;
  }

  /** The node network; the overlay's routes come from the leases. */
  #connect(node: SimNode): void {
    for (const other of this.nodes) {
      if (other === node) continue;
      const [port, nextHop] = [NODENET_PORT, ip(other.config.underlay)];
      const { nodeIp, ipv6 } = other.config;
      node.datapath.routes.put({ prefix: { address: ip(nodeIp), length: 32 }, port, nextHop });
      if (ipv6)
        node.datapath.routes6?.put({ prefix: { address: ip6(ipv6.nodeIp), length: 128 }, port, nextHop });
    }
  }
}

/** The host's routes to a node and the pods behind it. */
function routesTo({ ipv6, ...ipv4 }: NodeConfig, via: Interface): StationRoute[] {
  return [ipv4, ...(ipv6 ? [ipv6] : [])].flatMap(({ nodeIp, podSubnet }) => [
    { prefix: `${nodeIp}/${isIpv6(nodeIp) ? 128 : 32}`, via },
    { prefix: podSubnet, via, gateway: nodeIp },
  ]);
}
