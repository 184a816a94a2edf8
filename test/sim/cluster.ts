/**
 * Whole clusters in one process, under virtual time: nodes with the real datapath and proxy, pods and a host as small
 * IP stations, and links between them. The same seed gives the same run, packet for packet.
 */
import type { ContainerPort, Pod, Service, ServiceSpec } from "kubernetes-types/core/v1.d.ts";
import type { Endpoint, EndpointPort, EndpointSlice } from "kubernetes-types/discovery/v1.d.ts";
import type { NetworkPolicySpec } from "kubernetes-types/networking/v1.d.ts";
import { type DatapathOptions, type Observation, PortKind } from "../../src/datapath/index.js";
import type { ProxierOptions } from "../../src/proxy/index.js";
import { PolicyOracle } from "../policy/oracle.js";
import { seededRandom, VirtualClock } from "./clock.js";
import { complete } from "./device.js";
import { Leases } from "./leases.js";
import { ip, macOf, NODE_MTU, type NodeConfig, OVERLAY_MTU, SimNode } from "./node.js";
import type { EndpointSpec, ExposedPort, ServiceExtras } from "./service-spec.js";
import { type Interface, Station } from "./station.js";
import { bareCard, wrap } from "./tun.js";

export const HOST_IP = "10.0.0.1";
export const POD_NETWORK = "172.16.0.0/16";
export const SERVICE_NETWORK = "10.254.0.0/16";
export const OVERLAY_PORT = 1;
export const NODENET_PORT = 2;
const HOST_PORT = 3;
const NODE_PORT = 4;
const FIRST_POD_PORT = 10;

export interface ClusterOptions {
  readonly nodes?: number;
  readonly seed?: number;
  readonly bridgeNetfilter?: boolean;
  /** Options of every node's proxy. */
  readonly proxy?: Partial<ProxierOptions>;
  /** Options of every node's datapath. */
  readonly datapath?: Partial<DatapathOptions>;
  /** Zones by node; none when not given. */
  readonly zones?: readonly string[];
  readonly trace?: boolean;
}

/** What an API object says of a pod, as far as policies ask. */
export interface PodWords {
  readonly labels?: Record<string, string>;
  readonly ports?: ContainerPort[];
}

/** The path from one node to another, for overlay and node network alike. */
export interface Link {
  delayMs: number;
  /** Added at random, so packets may overtake each other. */
  jitterMs: number;
  /** Probability. */
  loss: number;
  up: boolean;
}

export class Cluster {
  readonly clock = new VirtualClock();
  readonly random: () => number;
  readonly nodes: SimNode[] = [];
  readonly host: Station;
  readonly pods = new Map<string, Station>();
  readonly observations: Observation[] = [];
  /** Policies, pods and namespaces as objects, read the slow way. */
  readonly oracle = new PolicyOracle();
  readonly #podPorts = new Map<Station, { node: SimNode; port: number }>();
  /** Last address given to a pod, per node; addresses are not used twice. */
  readonly #lastHost = new Map<SimNode, number>();
  readonly #links = new Map<string, Link>();
  readonly #services = new Map<string, Service>();
  readonly #slices = new Map<string, EndpointSlice>();
  readonly #leases: Leases;
  /** The host's card towards each node. */
  readonly #hostCards: Interface[] = [];
  readonly #options: ClusterOptions;
  #nextPort = FIRST_POD_PORT;

  constructor(options: ClusterOptions = {}) {
    this.#options = options;
    this.random = seededRandom(options.seed ?? 1);
    this.host = new Station("host", HOST_IP, this.clock);
    for (let i = 1; i <= (options.nodes ?? 2); i++) this.#addNode(i);
    this.#addLinks();
    for (const node of this.nodes) this.#connect(node);
    this.#leases = new Leases(this.nodes, POD_NETWORK, OVERLAY_PORT);
    this.host.routes.push({
      prefix: SERVICE_NETWORK,
      via: this.#hostCards[0],
      gateway: this.nodes[0].config.nodeIp,
    });
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
    return this.#links.get(`${this.node(from).config.name} ${this.node(to).config.name}`)!;
  }

  // Pods

  /** Adds a pod, `name` or `namespace/name`, with the next free address of the node's subnet, from .2 on. */
  addPod(name: string, nodeNumber: number, words: PodWords = {}): Station {
    const node = this.node(nodeNumber);
    const host = (this.#lastHost.get(node) ?? 1) + 1;
    this.#lastHost.set(node, host);
    const pod = new Station(name, node.config.podSubnet.replace(/0\/\d+$/, String(host)), this.clock);
    const port = this.#nextPort++;
    const card: Interface = {
      name: "eth0",
      mac: macOf(pod.ip),
      mtuBytes: OVERLAY_MTU,
      transmit: (frame, vnetHeader) => node.receive(port, frame, undefined, vnetHeader),
    };
    pod.routes.push(
      { prefix: node.config.podSubnet, via: card },
      { prefix: "0.0.0.0/0", via: card, gateway: node.config.bridgeIp },
    );
    const deliver = (frame: Uint8Array, _peer: string, vnetHeader: Uint8Array) =>
      this.clock.after(0, () => pod.receive(card, frame, vnetHeader));
    node.addPort({
      id: port,
      name: qualified(name),
      kind: PortKind.pod,
      mtuBytes: OVERLAY_MTU,
      ip: pod.ip,
      mac: card.mac,
      deliver,
    });
    this.pods.set(name, pod);
    this.#podPorts.set(pod, { node, port });
    const { namespace } = split(name);
    if (!this.oracle.namespaces.has(namespace)) this.applyNamespace(namespace);
    this.#applyPod(pod, words);
    return pod;
  }

  removePod(pod: Station): void {
    for (const { policies } of this.nodes) policies.onPodDelete(this.oracle.pods.get(qualified(pod.name))!);
    this.oracle.pods.delete(qualified(pod.name));
    const { node, port } = this.#podPorts.get(pod)!;
    node.removePort(port);
    this.pods.delete(pod.name);
    this.#podPorts.delete(pod);
  }

  /** Gives a node an IP stack of its own, as the node's namespace has it: three addresses, and a route for each network. */
  addNodeStack(number: number): Station {
    const node = this.node(number);
    const { name, nodeIp, bridgeIp, overlayIp, podSubnet } = node.config;
    const stack = new Station(name, nodeIp, this.clock, [bridgeIp, overlayIp, "127.0.0.1"]);
    const card = bareCard(stack, (packet) => node.receive(NODE_PORT, packet));
    stack.routes.push(
      { prefix: podSubnet, via: card, src: bridgeIp },
      { prefix: POD_NETWORK, via: card, src: overlayIp },
      { prefix: "127.0.0.0/8", via: card, src: "127.0.0.1" },
      { prefix: "0.0.0.0/0", via: card },
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

  // Policies

  /** Creates or replaces a NetworkPolicy, `namespace/name`; without a selector it is about all pods of its namespace. */
  applyPolicy(key: string, spec: Partial<NetworkPolicySpec>): void {
    const policy = { metadata: split(key), spec: { podSelector: {}, ...spec } };
    this.oracle.policies.set(qualified(key), policy);
    for (const { policies } of this.nodes) policies.onPolicyUpsert(policy);
  }

  deletePolicy(key: string): void {
    this.oracle.policies.delete(qualified(key));
    for (const { policies } of this.nodes) policies.onPolicyDelete({ metadata: split(key) });
  }

  /** Creates a namespace, or replaces the labels of one. */
  applyNamespace(name: string, labels: Record<string, string> = {}): void {
    const namespace = { metadata: { name, labels: { "kubernetes.io/metadata.name": name, ...labels } } };
    this.oracle.namespaces.set(name, namespace);
    for (const { policies } of this.nodes) policies.onNamespaceUpsert(namespace);
  }

  /** Replaces a pod's labels. */
  labelPod(pod: Station, labels: Record<string, string>): void {
    const ports = this.oracle.pods.get(qualified(pod.name))?.spec?.containers[0]?.ports;
    this.#applyPod(pod, { labels, ...(ports && { ports }) });
  }

  #applyPod(pod: Station, { labels = {}, ports = [] }: PodWords): void {
    const object: Pod = {
      metadata: { ...split(pod.name), labels },
      spec: { nodeName: this.nodeOf(pod).config.name, containers: [{ name: "main", ports }] },
      status: { podIP: pod.ip, phase: "Running" },
    };
    this.oracle.pods.set(qualified(pod.name), object);
    for (const { policies } of this.nodes) policies.onPodUpsert(object);
  }

  // Services

  /** Creates or changes a Service on every node's proxy. Takes effect with {@link sync}. */
  applyService(name: string, spec: Partial<ServiceSpec>, extras: ServiceExtras = {}): void {
    const { labels, annotations, ingress } = extras;
    const metadata = { ...split(name), labels, annotations };
    const status = { loadBalancer: { ingress } };
    const service = { metadata, spec: { ...spec }, status };
    this.#services.set(name, service);
    for (const { proxier } of this.nodes) proxier.onServiceUpsert(service);
  }

  deleteService(name: string): void {
    this.#services.delete(name);
    for (const { proxier } of this.nodes) proxier.onServiceDelete({ metadata: split(name) });
  }

  /** Sets a Service's endpoints: one slice with these pods and ports. */
  applyEndpoints(service: string, pods: readonly (Station | EndpointSpec)[], ports: EndpointPort[]): void {
    const endpoints = pods.map((entry) => this.#endpoint(entry instanceof Station ? { pod: entry } : entry));
    const { namespace, name } = split(service);
    const metadata = { name: `${name}-1`, namespace, labels: { "kubernetes.io/service-name": name } };
    const slice = { addressType: "IPv4", metadata, endpoints, ports };
    this.#slices.set(service, slice);
    for (const { proxier } of this.nodes) proxier.onEndpointSliceUpsert(slice);
  }

  deleteEndpoints(service: string): void {
    const slice = this.#slices.get(service);
    if (slice === undefined) return;
    this.#slices.delete(service);
    for (const { proxier } of this.nodes) proxier.onEndpointSliceDelete(slice);
  }

  /** Every node's proxy applies what changed. */
  sync(): void {
    for (const { proxier } of this.nodes) proxier.sync(this.clock.nowMs);
  }

  /** A Service with one port of one protocol in front of the pods, in force at once. */
  expose(
    name: string,
    clusterIP: string,
    pods: readonly (Station | EndpointSpec)[],
    port: ExposedPort,
  ): void {
    const { protocol = "TCP", targetPort, nodePort, spec } = port;
    const ports = [{ name: "p", port: port.port, protocol, ...(nodePort === undefined ? {} : { nodePort }) }];
    const type = nodePort === undefined ? "ClusterIP" : "NodePort";
    this.applyService(name, { type, clusterIP, ports, ...spec }, port);
    this.applyEndpoints(name, pods, [{ name: "p", port: targetPort, protocol }]);
    this.sync();
  }

  /** Routes an address of a Service (external, or a load balancer's) from the host to a node. */
  routeHost(prefix: string, nodeNumber: number): void {
    const { nodeIp } = this.node(nodeNumber).config;
    this.host.routes.unshift({ prefix, via: this.#hostCards[nodeNumber - 1], gateway: nodeIp });
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
    for (const slice of this.#slices.values()) node.proxier.onEndpointSliceUpsert(slice);
    for (const service of this.#services.values()) node.proxier.onServiceUpsert(service);
    node.proxier.onServicesSynced();
    node.proxier.onEndpointSlicesSynced();
    node.proxier.sync(this.clock.nowMs);
    for (const namespace of this.oracle.namespaces.values()) node.policies.onNamespaceUpsert(namespace);
    for (const pod of this.oracle.pods.values()) node.policies.onPodUpsert(pod);
    for (const policy of this.oracle.policies.values()) node.policies.onPolicyUpsert(policy);
    node.policies.onSynced();
  }

  /** The node's lease has ended: its peers forget its subnet. */
  leaseGone(number: number): void {
    this.#leases.gone(this.node(number));
  }

  /** The lease is there again. */
  leaseBack(number: number): void {
    this.#leases.back(this.node(number));
  }

  #endpoint({ pod, conditions, zoneHint }: EndpointSpec): Endpoint {
    const nodeName = this.nodeOf(pod).config.name;
    return {
      addresses: [pod.ip],
      nodeName,
      conditions,
      hints: zoneHint === undefined ? undefined : { forZones: [{ name: zoneHint }] },
      targetRef: { kind: "Pod", ...split(pod.name) },
    };
  }

  #addNode(number: number): void {
    const config: NodeConfig = {
      name: `node-${number}`,
      nodeIp: `10.0.0.${10 + number}`,
      hostIp: HOST_IP,
      underlay: `192.0.2.${number}`,
      podSubnet: `172.16.${number}.0/24`,
      podNetwork: POD_NETWORK,
      serviceNetwork: SERVICE_NETWORK,
      bridgeIp: `172.16.${number}.1`,
      overlayIp: `172.16.${number}.0`,
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
    const bare = { ip: "", mac: "" };
    const overlay = this.#underlay(node, OVERLAY_PORT);
    const nodenet = this.#underlay(node, NODENET_PORT);
    node.addPort({
      ...bare,
      id: OVERLAY_PORT,
      name: "overlay",
      kind: PortKind.overlay,
      mtuBytes: OVERLAY_MTU,
      deliver: overlay,
    });
    node.addPort({
      ...bare,
      id: NODENET_PORT,
      name: "nodenet",
      kind: PortKind.nodenet,
      mtuBytes: NODE_MTU,
      deliver: nodenet,
    });
    const card = this.#hostCard(node, number);
    const deliver = (frame: Uint8Array, _peer: string, vnetHeader: Uint8Array) =>
      this.clock.after(0, () => this.host.receive(card, frame, vnetHeader));
    node.addPort({
      id: HOST_PORT,
      name: "host",
      kind: PortKind.host,
      mtuBytes: NODE_MTU,
      ip: HOST_IP,
      mac: card.mac,
      deliver,
    });
    this.host.routes.push(
      { prefix: `${config.nodeIp}/32`, via: card },
      { prefix: config.podSubnet, via: card, gateway: config.nodeIp },
    );
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
      const nodePrefix = { address: ip(other.config.nodeIp), length: 32 };
      node.datapath.routes.put({
        prefix: nodePrefix,
        port: NODENET_PORT,
        nextHop: ip(other.config.underlay),
      });
    }
  }

  #addLinks(): void {
    for (const { config: from } of this.nodes)
      for (const { config: to } of this.nodes)
        if (from !== to)
          this.#links.set(`${from.name} ${to.name}`, { delayMs: 1, jitterMs: 0, loss: 0, up: true });
  }

  /** Carries a packet to the node of that underlay address, as the link allows; a super-packet in its segments. */
  #underlay(from: SimNode, port: number): (frame: Uint8Array, peer: string, vnetHeader: Uint8Array) => void {
    return (frame, peer, vnetHeader) => {
      const to = this.nodes.find((node) => node.config.underlay === peer);
      if (to === undefined) throw new Error(`${from.config.name} sends to ${peer}, which is no node`);
      const link = this.#links.get(`${from.config.name} ${to.config.name}`)!;
      for (const packet of complete(vnetHeader, frame, 0)) {
        if (!link.up || this.random() < link.loss) continue;
        const delayMs = link.delayMs + this.random() * link.jitterMs;
        this.clock.after(delayMs, () => to.receive(port, packet, from.config.underlay));
      }
    };
  }
}

/** Of `name` (in `default`) or `namespace/name`. */
function split(key: string): { readonly namespace: string; readonly name: string } {
  const [first = "", name] = key.split("/");
  return name === undefined ? { namespace: "default", name: first } : { namespace: first, name };
}

function qualified(key: string): string {
  const { namespace, name } = split(key);
  return `${namespace}/${name}`;
}
