/**
 * Records of the cluster's zone, made from a view of the cluster when they are asked for: Kubernetes DNS-based service
 * discovery, schema 1.1.0 (kubernetes/dns docs/specification.md), with what CoreDNS adds to it where clients rely on it:
 * dashed endpoint names under every Service, and SRV at the Service's own name.
 */
import { isIP, isIPv6 } from "node:net";
import type { Answer, SrvAnswer } from "dns-packet";
import type { Endpoint, EndpointSlice, Service } from "../../../kube/index.js";
import { type ClusterView, clusterIps, ownerOf } from "./catalog.js";
import { canonical, dashed, isLabel, isName, reverseName, undashed } from "./names.js";

const SCHEMA_VERSION = "1.1.0";
/** The schema changes with the program only; the specification's own example has this. */
const SCHEMA_TTL_SECONDS = 28_800;
/** CoreDNS' default (plugin/kubernetes). */
const TTL_SECONDS = 5;
/** SRV weights of one owner add up to this. */
const SRV_WEIGHT_SUM = 100;
/** Timers of a secondary server that there never is. */
const SOA_TIMERS = { refresh: 7200, retry: 1800, expire: 86_400 };
/** The Service whose address `ns.dns` has: cluster DNS itself. */
const DNS_SERVICE = { namespace: "kube-system", name: "kube-dns" };

/** One port behind a Service's name. */
interface Target {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  readonly host: string;
}

/**
 * All records of one name, of all types. `labels` are those in front of the zone, in lower case.
 *
 * @returns undefined when there is no such name (NXDOMAIN); an empty list when it has no records of its own but exists
 */
export function recordsAt(
  view: ClusterView,
  zone: string,
  labels: readonly string[],
): readonly Answer[] | undefined {
  const [last, namespace, name, ...rest] = labels.toReversed();
  if (last === undefined)
    return [soa(view, zone, zone), { type: "NS", name: zone, ttl: TTL_SECONDS, data: `ns.dns.${zone}` }];
  if (last === "svc" || last === "pod") {
    if (namespace === undefined) return [];
    if (name === undefined) return view.hasNamespace(namespace) ? [] : undefined;
    if (last === "pod") return rest.length === 0 ? podRecords(view, zone, namespace, name) : undefined;
    return serviceRecords(view, zone, { namespace, name, rest: rest.reverse() });
  }
  if (name !== undefined) return undefined;
  if (last === "dns-version" && namespace === undefined) {
    return [{ type: "TXT", name: `dns-version.${zone}`, ttl: SCHEMA_TTL_SECONDS, data: SCHEMA_VERSION }];
  }
  return last === "dns" ? nameServer(view, zone, namespace) : undefined;
}

/** PTR records of an address in canonical form: its Services, else its ready endpoints. */
export function pointersAt(view: ClusterView, zone: string, address: string): readonly Answer[] {
  const name = reverseName(address);
  const services = view.servicesAt(address).map((service) => serviceName(service, zone));
  const hosts = services.length > 0 ? services : endpointNames(view, zone, address);
  return [...new Set(hosts)].map((data) => ({ type: "PTR", name, ttl: TTL_SECONDS, data }));
}

/** Start of authority for negative answers; its minimum is how long they may be remembered (RFC 2308 section 4). */
export function soa(view: ClusterView, zone: string, name: string): Answer {
  const data = {
    mname: `ns.dns.${zone}`,
    rname: `hostmaster.${zone}`,
    serial: view.serialSeconds >>> 0,
    ...SOA_TIMERS,
    minimum: TTL_SECONDS,
  };
  return { type: "SOA", name, ttl: TTL_SECONDS, data };
}

function nameServer(
  view: ClusterView,
  zone: string,
  host: string | undefined,
): readonly Answer[] | undefined {
  if (host === undefined) return [];
  if (host !== "ns") return undefined;
  const service = view.service(DNS_SERVICE.namespace, DNS_SERVICE.name);
  return addressRecords(`ns.dns.${zone}`, service ? clusterIps(service) : []);
}

/** `1-2-3-4.NAMESPACE.pod`: any address, whether there is such a pod or not (specification 2.6). */
function podRecords(
  view: ClusterView,
  zone: string,
  namespace: string,
  label: string,
): readonly Answer[] | undefined {
  const address = undashed(label);
  if (address === undefined || !view.hasNamespace(namespace)) return undefined;
  return addressRecords(`${label}.${namespace}.pod.${zone}`, [address]);
}

interface ServiceQuestion {
  readonly namespace: string;
  readonly name: string;
  /** Labels in front of the Service's name. */
  readonly rest: readonly string[];
}

function serviceRecords(
  view: ClusterView,
  zone: string,
  { namespace, name, rest }: ServiceQuestion,
): readonly Answer[] | undefined {
  const service = view.service(namespace, name);
  if (!service) return undefined;
  const owner = `${name}.${namespace}.svc.${zone}`;
  if (service.spec?.type === "ExternalName") return rest.length === 0 ? alias(service, owner) : undefined;
  const slices = view.slices(namespace, name);
  const [first, second, ...more] = rest;
  if (first === undefined) return ownRecords(service, slices, owner);
  if (more.length > 0) return undefined;
  const targets = targetsOf(service, slices, owner).filter((target) => target.name !== "");
  if (second !== undefined) {
    const wanted = targets.filter(
      (target) => portLabel(target) === first && protocolLabel(target) === second,
    );
    return wanted.length > 0 ? srvRecords(`${first}.${second}.${owner}`, wanted) : undefined;
  }
  const addresses = readyAddresses(slices).filter(({ host }) => host === first);
  if (addresses.length > 0)
    return addressRecords(
      `${first}.${owner}`,
      addresses.map(({ address }) => address),
    );
  return targets.some((target) => protocolLabel(target) === first) ? [] : undefined;
}

/** An alias that cannot be a domain name has no record. */
function alias(service: Service, owner: string): readonly Answer[] {
  const target = (service.spec?.externalName ?? "").replace(/\.$/, "");
  return isName(target) ? [{ type: "CNAME", name: owner, ttl: TTL_SECONDS, data: target }] : [];
}

/** A headless Service without ready endpoints does not exist (specification 2.4.1). */
function ownRecords(
  service: Service,
  slices: readonly EndpointSlice[],
  owner: string,
): readonly Answer[] | undefined {
  const addresses = isHeadless(service)
    ? readyAddresses(slices).map(({ address }) => address)
    : clusterIps(service);
  if (isHeadless(service) && addresses.length === 0) return undefined;
  return [...addressRecords(owner, addresses), ...srvRecords(owner, targetsOf(service, slices, owner))];
}

function targetsOf(service: Service, slices: readonly EndpointSlice[], owner: string): readonly Target[] {
  if (!isHeadless(service)) {
    return (service.spec?.ports ?? []).map(({ name = "", protocol = "TCP", port }) => ({
      name,
      protocol,
      port,
      host: owner,
    }));
  }
  const targets = slices.flatMap((slice) =>
    (slice.ports ?? []).flatMap(({ name = "", protocol = "TCP", port }) =>
      readyAddresses([slice]).flatMap(({ host }) =>
        port ? [{ name, protocol, port, host: `${host}.${owner}` }] : [],
      ),
    ),
  );
  // An endpoint may stand in two slices for a while.
  return [...new Map(targets.map((target) => [Object.values(target).join(" "), target])).values()];
}

function srvRecords(name: string, targets: readonly Target[]): readonly SrvAnswer[] {
  const weight = Math.floor(SRV_WEIGHT_SUM / targets.length);
  const places = new Map(targets.map(({ port, host }) => [`${port} ${host}`, { port, host }]));
  return [...places.values()].map(({ port, host }) => ({
    type: "SRV",
    name,
    ttl: TTL_SECONDS,
    data: { priority: 0, weight, port, target: host },
  }));
}

function addressRecords(name: string, addresses: readonly string[]): readonly Answer[] {
  return [...new Set(addresses)]
    .filter((address) => isIP(address) !== 0)
    .map((data) => ({ type: isIPv6(data) ? "AAAA" : "A", name, ttl: TTL_SECONDS, data }));
}

/** Addresses of ready endpoints, each with the label that stands for it under its Service. */
function readyAddresses(slices: readonly EndpointSlice[]): { address: string; host: string }[] {
  return slices
    .filter(({ addressType }) => addressType !== "FQDN")
    .flatMap(({ endpoints }) => endpoints ?? [])
    .filter(isReady)
    .flatMap(({ addresses, hostname }) =>
      addresses.map((address) => ({ address, host: hostLabel(hostname, address) })),
    );
}

function endpointNames(view: ClusterView, zone: string, address: string): string[] {
  return view.slicesAt(address).flatMap((slice) => {
    const { namespace = "", name = "" } = ownerOf(slice) ?? {};
    const service = view.service(namespace, name);
    if (!service) return [];
    return readyAddresses([slice])
      .filter((one) => canonical(one.address) === address)
      .map(({ host }) => `${host}.${serviceName(service, zone)}`);
  });
}

/** Unknown counts as ready (discovery/v1 EndpointConditions). */
function isReady({ conditions }: Endpoint): boolean {
  return conditions?.ready !== false;
}

function hostLabel(hostname: string | undefined, address: string): string {
  return hostname !== undefined && isLabel(hostname) ? hostname.toLowerCase() : dashed(address).toLowerCase();
}

function isHeadless({ spec }: Service): boolean {
  return spec?.clusterIP === "None";
}

function serviceName({ metadata }: Service, zone: string): string {
  return `${metadata?.name}.${metadata?.namespace}.svc.${zone}`;
}

function portLabel({ name }: Target): string {
  return `_${name.toLowerCase()}`;
}

function protocolLabel({ protocol }: Target): string {
  return `_${protocol.toLowerCase()}`;
}
