/** Which external addresses of Services the host should reach, and through which nodes. Pure. */
import type { EndpointSlice, Service } from "../kube/index.js";
import { formatIpv6, parseIpv4, parseIpv6 } from "../wire/index.js";

/** An external address, IPv6 in its canonical form, and the nodes that may take its traffic, in order of preference. */
export interface Announcement {
  readonly ip: string;
  /** `namespace/name`. */
  readonly service: string;
  readonly nodes: readonly string[];
}

/** Services that another proxy serves, or none (src/proxy/service-port.ts). */
const IGNORED_LABELS = ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"];

/**
 * What a load balancer of the MetalLB kind would announce to its network: under policy Cluster any node that is usable,
 * under policy Local those with ready endpoints, and when there are none those whose endpoints still serve while they
 * terminate. Of two Services with one address the first by name has it.
 */
export function announcements(
  services: readonly Service[],
  slices: readonly EndpointSlice[],
  usable: readonly string[],
): Announcement[] {
  const found = new Map<string, Announcement>();
  for (const service of services.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))) {
    const addresses = externalAddresses(service);
    if (addresses.length === 0) continue;
    const nodes =
      service.spec?.externalTrafficPolicy === "Local" ? nodesWithEndpoints(service, slices, usable) : usable;
    for (const ip of addresses) if (!found.has(ip)) found.set(ip, { ip, service: keyOf(service), nodes });
  }
  return [...found.values()];
}

function keyOf({ metadata }: Service): string {
  return `${metadata?.namespace}/${metadata?.name}`;
}

/** Of both families. An address that the load balancer answers for itself (`ipMode: Proxy`) is not the nodes' (KEP-1860). */
function externalAddresses({ metadata, spec, status }: Service): string[] {
  if (IGNORED_LABELS.some((label) => label in (metadata?.labels ?? {}))) return [];
  if (spec?.type === "ExternalName" || !spec?.clusterIP || spec.clusterIP === "None") return [];
  const ingress = spec.type === "LoadBalancer" ? (status?.loadBalancer?.ingress ?? []) : [];
  const balanced = ingress.filter(({ ipMode }) => (ipMode ?? "VIP") === "VIP").map(({ ip }) => ip ?? "");
  return [...(spec.externalIPs ?? []), ...balanced].flatMap((ip) => {
    if (parseIpv4(ip) !== undefined) return [ip];
    const ipv6 = parseIpv6(ip);
    return ipv6 === undefined ? [] : [formatIpv6(ipv6)];
  });
}

function nodesWithEndpoints(
  { metadata }: Service,
  slices: readonly EndpointSlice[],
  usable: readonly string[],
): string[] {
  const endpoints = slices
    .filter(
      (slice) =>
        slice.metadata?.namespace === metadata?.namespace &&
        slice.metadata?.labels?.["kubernetes.io/service-name"] === metadata?.name,
    )
    .flatMap((slice) => slice.endpoints);
  const ready = endpoints.filter(({ conditions }) => conditions?.ready !== false);
  const serving = endpoints.filter(({ conditions }) => (conditions?.serving ?? conditions?.ready) !== false);
  const named = (list: typeof endpoints) =>
    usable.filter((node) => list.some(({ nodeName }) => nodeName === node));
  return ready.length > 0 ? named(ready) : named(serving);
}
