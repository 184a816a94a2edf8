/** What the API server fills in on Services, and what an update takes over (kubernetes pkg/registry/core/service). */
import type { Service, ServicePort } from "../objects.js";

type Spec = NonNullable<Service["spec"]>;

const DEFAULT_AFFINITY_SECONDS = 10800;

/** Types that have a ClusterIP; an ExternalName is only a name. */
export function needsClusterIp(spec: Spec): boolean {
  return spec.type !== "ExternalName";
}

export function needsNodePorts(spec: Spec): boolean {
  if (spec.type === "NodePort") return true;
  return spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false;
}

export function needsHealthCheckNodePort(spec: Spec): boolean {
  return spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";
}

export function isExternallyReachable(spec: Spec): boolean {
  const { type, externalIPs = [] } = spec;
  return type === "NodePort" || type === "LoadBalancer" || (type === "ClusterIP" && externalIPs.length > 0);
}

export function setServiceDefaults(service: Service): void {
  service.spec ??= {};
  const { spec } = service;
  spec.type ??= "ClusterIP";
  spec.sessionAffinity ??= "None";
  if (spec.sessionAffinity === "None") delete spec.sessionAffinityConfig;
  if (spec.sessionAffinity === "ClientIP") {
    spec.sessionAffinityConfig ??= {};
    spec.sessionAffinityConfig.clientIP ??= {};
    spec.sessionAffinityConfig.clientIP.timeoutSeconds ??= DEFAULT_AFFINITY_SECONDS;
  }
  for (const port of spec.ports ?? []) {
    port.protocol ||= "TCP";
    port.targetPort ||= port.port;
    if (!port.nodePort) delete port.nodePort;
  }
  if (isExternallyReachable(spec)) spec.externalTrafficPolicy ??= "Cluster";
  if (spec.type === "LoadBalancer") spec.allocateLoadBalancerNodePorts ??= true;
  if (!needsClusterIp(spec)) return;
  spec.internalTrafficPolicy ??= "Cluster";
}

/** `clusterIP` is another name of the first of the `clusterIPs`; a new Service may say either. */
export function joinClusterIps({ spec }: Service): void {
  if (!spec) return;
  if (spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = [spec.clusterIP];
  else if (!spec.clusterIP && spec.clusterIPs?.[0]) spec.clusterIP = spec.clusterIPs[0];
}

/** Takes over allocated values that the update leaves out, and drops those that its type has no use for. */
export function carryOver(service: Service, { spec: stored }: Service): void {
  const { spec, status } = service;
  if (!spec || !stored) return;
  // Nothing balances the load of another type.
  if (spec.type !== "LoadBalancer" && status?.loadBalancer?.ingress)
    Object.assign(service, { status: { ...status, loadBalancer: {} } });
  if (needsClusterIp(spec) && needsClusterIp(stored)) carryClusterIps(spec, stored);
  else joinClusterIps({ spec });
  if (needsNodePorts(spec) && needsNodePorts(stored)) carryNodePorts(spec.ports ?? [], stored.ports ?? []);
  if (needsHealthCheckNodePort(spec) && stored.healthCheckNodePort) {
    spec.healthCheckNodePort ||= stored.healthCheckNodePort;
  }
  dropUnused(spec, stored);
}

/** Who changes one of the two names of the first ClusterIP and leaves the other means both. */
function carryClusterIps(spec: Spec, stored: Spec): void {
  const { clusterIP = "", clusterIPs = [] } = stored;
  if (!spec.clusterIPs?.length) spec.clusterIPs = [...clusterIPs];
  spec.clusterIP ||= spec.clusterIPs[0] ?? clusterIP;
  const untouched = JSON.stringify(spec.clusterIPs) === JSON.stringify(clusterIPs);
  if (untouched && spec.clusterIP !== clusterIP) spec.clusterIPs = [spec.clusterIP, ...clusterIPs.slice(1)];
}

/** By the ports' names: a port may change its number and keep its node port. */
function carryNodePorts(ports: readonly ServicePort[], stored: readonly ServicePort[]): void {
  const kept = new Set(ports.flatMap((port) => port.nodePort ?? []));
  for (const port of ports.filter((one) => !one.nodePort)) {
    const before = stored.find((one) => (one.name ?? "") === (port.name ?? ""));
    if (before?.nodePort && !kept.has(before.nodePort)) port.nodePort = before.nodePort;
  }
}

/** A field of the old type that the update did not touch is meant to go; one that it changed is an error. */
function dropUnused(spec: Spec, stored: Spec): void {
  const unchanged = (field: keyof Spec) => JSON.stringify(spec[field]) === JSON.stringify(stored[field]);
  const drop = (...fields: (keyof Spec)[]) => {
    for (const field of fields) if (unchanged(field)) delete spec[field];
  };
  if (!needsClusterIp(spec) && needsClusterIp(stored)) {
    drop("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy");
  }
  if (needsNodePorts(stored) && !needsNodePorts(spec)) {
    const old = new Set(stored.ports?.map((port) => port.nodePort));
    for (const port of spec.ports ?? []) if (old.has(port.nodePort)) delete port.nodePort;
  }
  if (needsHealthCheckNodePort(stored) && !needsHealthCheckNodePort(spec)) drop("healthCheckNodePort");
  if (isExternallyReachable(stored) && !isExternallyReachable(spec)) drop("externalTrafficPolicy");
  if (stored.type === "LoadBalancer" && spec.type !== "LoadBalancer") {
    drop("allocateLoadBalancerNodePorts", "loadBalancerClass");
  }
}
