import type { AddressFamily } from "./family.js";
import type { ServiceRule } from "./rules.js";

/** What a load balancer wants to know of a Service with `healthCheckNodePort` (healthcheck/service_health.go). */
export interface HealthCheck {
  /** The health check node port: TCP, HTTP. */
  readonly port: number;
  /** Of the node's addresses that answer and of the endpoints that count. */
  readonly family: AddressFamily["addressType"];
  /** `namespace/name`. */
  readonly service: string;
  /** Number of ready endpoints on this node, over all ports of the Service; one that is terminating does not count. */
  readonly localReady: number;
}

/** The health checks of all Services that have one in this family, in order of name. */
export function healthChecks(
  rules: Iterable<ServiceRule>,
  family: AddressFamily["addressType"],
): HealthCheck[] {
  const byService = new Map<string, { port: number; addresses: Set<number> }>();
  for (const { port, endpoints } of rules) {
    if (port.healthCheckNodePort === 0) continue;
    const check = byService.get(port.service) ?? { port: port.healthCheckNodePort, addresses: new Set() };
    for (const { ip, isLocal, ready } of endpoints) if (isLocal && ready) check.addresses.add(ip);
    byService.set(port.service, check);
  }
  return [...byService]
    .map(([service, { port, addresses }]) => ({ port, family, service, localReady: addresses.size }))
    .sort((a, b) => (a.service < b.service ? -1 : 1));
}
