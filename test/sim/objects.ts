/** The API objects of a simulated cluster: every node's proxy and policies are told of them, as a real API would. */
import type { ContainerPort, Pod, Service, ServiceSpec } from "kubernetes-types/core/v1.d.ts";
import type { Endpoint, EndpointPort, EndpointSlice } from "kubernetes-types/discovery/v1.d.ts";
import type { NetworkPolicySpec } from "kubernetes-types/networking/v1.d.ts";
import { PolicyOracle } from "../policy/oracle.js";
import { isIpv6 } from "./address.js";
import { VirtualClock } from "./clock.js";
import type { SimNode } from "./node.js";
import type { EndpointSpec, ExposedPort, ServiceExtras } from "./service-spec.js";
import { Station } from "./station.js";

/** What an API object says of a pod, as far as policies ask. */
export interface PodWords {
  readonly labels?: Record<string, string>;
  readonly ports?: ContainerPort[];
}

export abstract class ClusterObjects {
  readonly clock = new VirtualClock();
  readonly nodes: SimNode[] = [];
  /** Policies, pods and namespaces as objects, read the slow way. */
  readonly oracle = new PolicyOracle();
  readonly #services = new Map<string, Service>();
  /** One for each family of the Service. */
  readonly #slices = new Map<string, readonly EndpointSlice[]>();

  /** Where a pod is. */
  abstract nodeOf(pod: Station): SimNode;

  /** Tells a node whose process has started again all that there is. */
  protected tellAll({ proxier, policies }: SimNode): void {
    for (const slice of [...this.#slices.values()].flat()) proxier.onEndpointSliceUpsert(slice);
    for (const service of this.#services.values()) proxier.onServiceUpsert(service);
    proxier.onServicesSynced();
    proxier.onEndpointSlicesSynced();
    proxier.sync(this.clock.nowMs);
    for (const namespace of this.oracle.namespaces.values()) policies.onNamespaceUpsert(namespace);
    for (const pod of this.oracle.pods.values()) policies.onPodUpsert(pod);
    for (const policy of this.oracle.policies.values()) policies.onPolicyUpsert(policy);
    policies.onSynced();
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
    this.applyPod(pod, { labels, ...(ports && { ports }) });
  }

  protected applyPod(pod: Station, { labels = {}, ports = [] }: PodWords): void {
    const object: Pod = {
      metadata: { ...split(pod.name), labels },
      spec: { nodeName: this.nodeOf(pod).config.name, containers: [{ name: "main", ports }] },
      status: { podIP: pod.ip, podIPs: podIps(pod), phase: "Running" },
    };
    this.oracle.pods.set(qualified(pod.name), object);
    for (const { policies } of this.nodes) policies.onPodUpsert(object);
  }

  protected forgetPod({ name }: Station): void {
    const pod = this.oracle.pods.get(qualified(name))!;
    this.oracle.pods.delete(qualified(name));
    for (const { policies } of this.nodes) policies.onPodDelete(pod);
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

  /** Sets a Service's endpoints: one slice for each of its families, with these pods and ports. */
  applyEndpoints(service: string, pods: readonly (Station | EndpointSpec)[], ports: EndpointPort[]): void {
    const { namespace, name } = split(service);
    const labels = { "kubernetes.io/service-name": name };
    const families = this.#services.get(service)?.spec?.ipFamilies ?? ["IPv4"];
    const slices = families.map((addressType, i) => {
      const endpoints = pods.map((entry) =>
        this.#endpoint(entry instanceof Station ? { pod: entry } : entry, addressType),
      );
      return { addressType, metadata: { name: `${name}-${i + 1}`, namespace, labels }, endpoints, ports };
    });
    this.#slices.set(service, slices);
    for (const { proxier } of this.nodes) for (const slice of slices) proxier.onEndpointSliceUpsert(slice);
  }

  deleteEndpoints(service: string): void {
    const slices = this.#slices.get(service) ?? [];
    this.#slices.delete(service);
    for (const { proxier } of this.nodes) for (const slice of slices) proxier.onEndpointSliceDelete(slice);
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
    const { protocol = "TCP", targetPort, nodePort, clusterIp6, spec } = port;
    const ports = [{ name: "p", port: port.port, protocol, ...(nodePort === undefined ? {} : { nodePort }) }];
    const type = nodePort === undefined ? "ClusterIP" : "NodePort";
    const clusterIPs = clusterIp6 === undefined ? [clusterIP] : [clusterIP, clusterIp6];
    const ipFamilies = clusterIPs.map((address) => (isIpv6(address) ? "IPv6" : "IPv4"));
    this.applyService(name, { type, clusterIP, clusterIPs, ipFamilies, ports, ...spec }, port);
    this.applyEndpoints(name, pods, [{ name: "p", port: targetPort, protocol }]);
    this.sync();
  }

  #endpoint({ pod, conditions, zoneHint }: EndpointSpec, family: string): Endpoint {
    const nodeName = this.nodeOf(pod).config.name;
    return {
      addresses: [family === "IPv6" ? pod.ip6 : pod.ip],
      nodeName,
      conditions,
      hints: zoneHint === undefined ? undefined : { forZones: [{ name: zoneHint }] },
      targetRef: { kind: "Pod", ...split(pod.name) },
    };
  }
}

function podIps({ ip, ip6 }: Station): { ip: string }[] {
  return [ip, ip6].filter((address) => address !== "").map((address) => ({ ip: address }));
}

/** Of `name` (in `default`) or `namespace/name`. */
export function split(key: string): { readonly namespace: string; readonly name: string } {
  const [first = "", name] = key.split("/");
  return name === undefined ? { namespace: "default", name: first } : { namespace: first, name };
}

export function qualified(key: string): string {
  const { namespace, name } = split(key);
  return `${namespace}/${name}`;
}
