/** What the proxy keeps of a Service and of an EndpointSlice: only what decides where a packet goes. */
import type { AddressRange } from "./family.js";
import type { SchedulerName } from "./schedulers/index.js";

/** One port of one Service (kube-proxy's ServicePort, pkg/proxy/serviceport.go). */
export interface ServicePort {
  /** Unique among service ports: `namespace/name:portname/17`. Endpoints are kept under the same key. */
  readonly key: string;
  /** As people write it: `namespace/name:portname`, or `namespace/name` when the port has no name. */
  readonly name: string;
  /** `namespace/name`. */
  readonly service: string;
  /** IP protocol number. */
  readonly protocol: number;
  readonly clusterIp: number;
  readonly port: number;
  /** 0 when the Service has no node port. */
  readonly nodePort: number;
  readonly externalIps: readonly number[];
  /** Ingress addresses of the load balancer that the nodes answer for (`ipMode: VIP`). */
  readonly loadBalancerIps: readonly number[];
  /** Who may use the load balancer's addresses; empty: everybody. */
  readonly sourceRanges: readonly AddressRange[];
  /** 0 when nobody asks for the Service's health. */
  readonly healthCheckNodePort: number;
  /** How long a client stays with its endpoint after its last new connection; 0 without session affinity. */
  readonly affinityMs: number;
  readonly internalPolicyLocal: boolean;
  /** False for a Service that has no external addresses. */
  readonly externalPolicyLocal: boolean;
  /** Missing: the proxy's default. */
  readonly scheduler?: SchedulerName;
  /** Weight by pod name or address; 1 for all others. */
  readonly weights: readonly (readonly [endpoint: string, weight: number])[];
}

/** One address and port behind a service port (kube-proxy's Endpoint, pkg/proxy/endpoint.go). */
export interface Endpoint {
  readonly ip: number;
  readonly port: number;
  /** `namespace/pod` when the slice names a pod, otherwise `address:port`. */
  readonly target: string;
  /** Empty when the slice does not say. */
  readonly nodeName: string;
  /** Whether the endpoint is on this proxy's node. */
  readonly isLocal: boolean;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** Names of nodes and zones that should use the endpoint (discovery/v1 `EndpointHints`). */
  readonly nodeHints: readonly string[];
  readonly zoneHints: readonly string[];
}

/** Where a proxy is, for endpoints that are meant for some places only. */
export interface Place {
  readonly nodeName: string;
  /** Label `topology.kubernetes.io/zone` of the node; empty when it has none. */
  readonly zone: string;
}

/** Told about every part of an object that is ignored because it makes no sense: one sentence. */
export type InvalidHandler = (message: string) => void;

/** Key that service ports and endpoints share. */
export function servicePortKey(namespace: string, name: string, port: string, protocol: number): string {
  return `${servicePortName(namespace, name, port)}/${protocol}`;
}

/** `namespace/name:port`; the colon is left out for the unnamed port. */
export function servicePortName(namespace: string, name: string, port: string): string {
  return port === "" ? `${namespace}/${name}` : `${namespace}/${name}:${port}`;
}
