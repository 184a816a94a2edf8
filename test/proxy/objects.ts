import type { Service, ServicePort } from "kubernetes-types/core/v1.d.ts";
import type { Endpoint, EndpointPort, EndpointSlice } from "kubernetes-types/discovery/v1.d.ts";
import type { ConntrackCleaner, ServiceDecision, ServiceQuery } from "../../src/datapath/index.js";
import { PortKind, ServiceAction } from "../../src/datapath/index.js";
import { Proxier, type ProxierOptions } from "../../src/proxy/index.js";
import { formatIpv4, parseIpv4 } from "../../src/wire/index.js";

export const TCP = 6;
export const UDP = 17;
export const SCTP = 132;

export function ip(text: string): number {
  const value = parseIpv4(text);
  if (value === undefined) throw new Error(`not an address: ${text}`);
  return value;
}

type ServiceSpec = NonNullable<Service["spec"]>;

export function service(name: string, spec: Partial<ServiceSpec> & { ports?: ServicePort[] } = {}): Service {
  const clusterIP = spec.clusterIP ?? "10.254.0.10";
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { type: "ClusterIP", clusterIP, ports: [{ name: "p", port: 80, protocol: "TCP" }], ...spec },
  };
}

/** A Service of type LoadBalancer whose load balancer has these addresses. */
export function balanced(
  name: string,
  spec: Partial<ServiceSpec>,
  ips: readonly string[],
  ipMode?: string,
): Service {
  const ingress = ips.map((address) => ({ ip: address, ...(ipMode === undefined ? {} : { ipMode }) }));
  return { ...service(name, { type: "LoadBalancer", ...spec }), status: { loadBalancer: { ingress } } };
}

export function annotated(object: Service, annotations: Record<string, string>): Service {
  return { ...object, metadata: { ...object.metadata, annotations } };
}

export function slice(
  serviceName: string,
  endpoints: Endpoint[],
  ports: EndpointPort[] = [{ name: "p", port: 8080, protocol: "TCP" }],
  name = `${serviceName}-1`,
): EndpointSlice {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    addressType: "IPv4",
    metadata: { name, namespace: "default", labels: { "kubernetes.io/service-name": serviceName } },
    endpoints,
    ports,
  };
}

export function endpoint(
  address: string,
  conditions: Endpoint["conditions"] = {},
  nodeName = "node-1",
): Endpoint {
  return { addresses: [address], conditions, nodeName };
}

/** Node hints are younger than the published types. */
type Hints = NonNullable<Endpoint["hints"]> & { readonly forNodes?: { name: string }[] };

export function hinted(address: string, hints: Hints, nodeName = "node-2"): Endpoint {
  return { ...endpoint(address, {}, nodeName), hints };
}

/** One UDP flow as conntrack has it. */
export interface Flow {
  readonly protocol: number;
  readonly originalIp: string;
  readonly originalPort: number;
  readonly endpointIp: string;
  readonly endpointPort: number;
}

/** A conntrack table that is only a list of flows. */
export class FlowList implements ConntrackCleaner {
  constructor(public flows: Flow[] = []) {}

  deleteByOriginalDst(protocol: number, address: number, port: number): number {
    return this.#drop(
      (flow) =>
        flow.protocol === protocol &&
        (address === 0 || flow.originalIp === formatIpv4(address)) &&
        (port === 0 || flow.originalPort === port),
    );
  }

  deleteByNat(
    protocol: number,
    originalIp: number,
    originalPort: number,
    endpointIp: number,
    endpointPort: number,
  ): number {
    return this.#drop(
      (flow) =>
        flow.protocol === protocol &&
        (originalIp === 0 || flow.originalIp === formatIpv4(originalIp)) &&
        flow.originalPort === originalPort &&
        flow.endpointIp === formatIpv4(endpointIp) &&
        flow.endpointPort === endpointPort,
    );
  }

  #drop(stale: (flow: Flow) => boolean): number {
    const before = this.flows.length;
    this.flows = this.flows.filter((flow) => !stale(flow));
    return before - this.flows.length;
  }
}

export function proxier(options: Partial<ProxierOptions> = {}): Proxier {
  return new Proxier({
    nodeName: "node-1",
    podNetwork: { address: ip("172.16.0.0"), length: 16 },
    serviceNetwork: { address: ip("10.254.0.0"), length: 16 },
    conntrack: new FlowList(),
    ...options,
  });
}

/** A proxier that has these objects and has synced once. */
export function synced(
  services: Service[],
  slices: EndpointSlice[],
  options: Partial<ProxierOptions> = {},
): Proxier {
  const made = proxier(options);
  for (const object of services) made.onServiceUpsert(object);
  for (const object of slices) made.onEndpointSliceUpsert(object);
  made.onServicesSynced();
  made.onEndpointSlicesSynced();
  made.sync(0);
  return made;
}

export interface Asked {
  readonly dst: string;
  readonly dport: number;
  readonly src?: string;
  readonly protocol?: number;
  readonly local?: boolean;
  readonly inKind?: PortKind;
  readonly nowMs?: number;
}

const POISON: ServiceDecision = {
  action: ServiceAction.drop,
  ip: 0xdeadbeef,
  port: 0xdead,
  masquerade: true,
  service: "poison",
  endpoint: "poison",
  reason: "poison",
};

/** Asks about one connection; undefined when the destination is not a Service. */
export function decide(from: Proxier, asked: Asked): ServiceDecision | undefined {
  const query: ServiceQuery = {
    protocol: asked.protocol ?? TCP,
    src: ip(asked.src ?? "172.16.1.5"),
    dst: ip(asked.dst),
    sport: 40000,
    dport: asked.dport,
    inKind: asked.inKind ?? PortKind.pod,
    dstIsLocal: asked.local ?? false,
    nowMs: asked.nowMs ?? 0,
  };
  const out = { ...POISON };
  return from.resolve(query, out) ? out : undefined;
}

/** The chosen endpoint as `ip:port`, or the reason why there is none. */
export function pick(from: Proxier, asked: Asked): string {
  const decision = decide(from, asked);
  if (decision === undefined) return "not a service";
  return decision.action === ServiceAction.dnat
    ? `${formatIpv4(decision.ip)}:${decision.port}`
    : decision.reason;
}
