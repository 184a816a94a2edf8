import type { AddressFamily } from "./family.js";
import type { ServiceRule } from "./rules.js";
import type { SchedulerName } from "./schedulers/index.js";

/** A service port as `status` shows it. */
export interface ServicePortStatus {
  /** `namespace/name:portname/17`. */
  readonly key: string;
  /** `namespace/name:portname`. */
  readonly name: string;
  readonly protocol: number;
  readonly clusterIp: string;
  readonly port: number;
  /** 0: none. */
  readonly nodePort: number;
  readonly externalIps: readonly string[];
  readonly loadBalancerIps: readonly string[];
  readonly internalTrafficPolicy: TrafficPolicy;
  readonly externalTrafficPolicy: TrafficPolicy;
  readonly scheduler: SchedulerName;
  /** 0: no session affinity. */
  readonly affinityMs: number;
  readonly endpoints: readonly EndpointStatus[];
}

export type TrafficPolicy = "Cluster" | "Local";

export interface EndpointStatus {
  readonly ip: string;
  readonly port: number;
  readonly target: string;
  readonly nodeName: string;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** Whether new connections may go there now, under one policy or the other. */
  readonly used: boolean;
}

export function describeRule(
  rule: ServiceRule,
  defaultScheduler: SchedulerName,
  family: AddressFamily,
): ServicePortStatus {
  const formatIp = (ip: number) => family.format(ip);
  const { key, name, protocol, clusterIp, port, nodePort, affinityMs } = rule.port;
  const endpoints = rule.endpoints.map((endpoint) => ({
    ip: formatIp(endpoint.ip),
    port: endpoint.port,
    target: endpoint.target,
    nodeName: endpoint.nodeName,
    ready: endpoint.ready,
    serving: endpoint.serving,
    terminating: endpoint.terminating,
    used: rule.cluster.has(endpoint) || rule.local.has(endpoint),
  }));
  return {
    ...{ key, name, protocol, clusterIp: formatIp(clusterIp), port, nodePort },
    externalIps: rule.port.externalIps.map(formatIp),
    loadBalancerIps: rule.port.loadBalancerIps.map(formatIp),
    internalTrafficPolicy: policy(rule.port.internalPolicyLocal),
    externalTrafficPolicy: policy(rule.port.externalPolicyLocal),
    scheduler: rule.port.scheduler ?? defaultScheduler,
    affinityMs,
    endpoints,
  };
}

function policy(isLocal: boolean): TrafficPolicy {
  return isLocal ? "Local" : "Cluster";
}
