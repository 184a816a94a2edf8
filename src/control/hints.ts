/**
 * Topology hints: which zone or node should use an endpoint.
 *
 * `trafficDistribution` gives each endpoint to its own zone, or its own node too (KEP-4444, KEP-3015). The annotation
 * `service.kubernetes.io/topology-mode: Auto` gives each zone as many endpoints as it has of the CPUs, and no hints at
 * all where that would overload some by more than a fifth (KEP-2433).
 */
import type { Endpoint, Node, Service } from "../kube/index.js";
import { isNodeReady } from "./pods.js";

export const ZONE_LABEL = "topology.kubernetes.io/zone";
const MODE_ANNOTATION = "service.kubernetes.io/topology-mode";
const OLD_MODE_ANNOTATION = "service.kubernetes.io/topology-aware-hints";
/** Nodes with these run no endpoints' clients, and count for nothing. */
const EXCLUDED_LABELS = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
/** How much more than its share of the clients an endpoint may get. */
const OVERLOAD_THRESHOLD = 0.2;

/** Each zone's share of the CPUs; they add up to 1. */
export type ZoneShares = ReadonlyMap<string, number>;

export interface Hinted {
  readonly endpoints: Endpoint[];
  /** Why a Service that asks for automatic hints has none. */
  readonly refusal?: string;
}

/** Whether the Service asks for hints by the annotation, which goes before `trafficDistribution`. */
export function wantsAutoHints({ metadata }: Service): boolean {
  const { annotations = {} } = metadata ?? {};
  return ["Auto", "auto"].includes(annotations[OLD_MODE_ANNOTATION] ?? annotations[MODE_ANNOTATION] ?? "");
}

/** The endpoints, which have no hints yet, with those that the Service asks for. `shares` as {@link zoneShares} makes them. */
export function withHints(service: Service, endpoints: readonly Endpoint[], shares?: ZoneShares): Hinted {
  if (wantsAutoHints(service)) return autoHints(endpoints, shares);
  const { trafficDistribution = "" } = service.spec ?? {};
  const byNode = trafficDistribution === "PreferSameNode";
  if (!byNode && !["PreferClose", "PreferSameZone"].includes(trafficDistribution))
    return { endpoints: [...endpoints] };
  return { endpoints: endpoints.map((endpoint) => closeHints(endpoint, byNode)) };
}

function closeHints(endpoint: Endpoint, byNode: boolean): Endpoint {
  const { zone, nodeName } = endpoint;
  const hints = {
    ...(zone && { forZones: [{ name: zone }] }),
    ...(byNode && nodeName && { forNodes: [{ name: nodeName }] }),
  };
  return isUsable(endpoint) && Object.keys(hints).length > 0 ? { ...endpoint, hints } : endpoint;
}

function isUsable({ conditions }: Endpoint): boolean {
  return conditions?.ready === true;
}

/** Undefined when a node's zone or CPUs are not known, or when there is but one zone. */
export function zoneShares(nodes: Iterable<Node>): ZoneShares | undefined {
  const cpus = new Map<string, number>();
  let total = 0;
  for (const node of nodes) {
    const { labels = {} } = node.metadata ?? {};
    if (EXCLUDED_LABELS.some((label) => label in labels) || !isNodeReady(node)) continue;
    const zone = labels[ZONE_LABEL];
    const millicores = milliCpus(node.status?.allocatable?.cpu);
    if (!zone || millicores === 0) return undefined;
    cpus.set(zone, (cpus.get(zone) ?? 0) + millicores);
    total += millicores;
  }
  if (cpus.size < 2) return undefined;
  return new Map([...cpus].sort().map(([zone, millicores]) => [zone, millicores / total]));
}

/** A quantity of CPUs in thousandths; 0 when there is none. */
function milliCpus(quantity: string | number | undefined): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(m?)$/.exec(String(quantity ?? "")) ?? [];
  return number === undefined ? 0 : Number(number) * (unit === "m" ? 1 : 1000);
}

/** How many endpoints a zone needs at least, and its exact share. */
interface Allocation {
  readonly minimum: number;
  readonly desired: number;
}

function autoHints(endpoints: readonly Endpoint[], shares: ZoneShares | undefined): Hinted {
  const refuse = (refusal: string) => ({ endpoints: [...endpoints], refusal });
  if (!shares)
    return refuse(
      "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes",
    );
  const usable = endpoints.filter(isUsable);
  const sizes = `(${usable.length} endpoints, ${shares.size} zones)`;
  if (shares.size > usable.length) return refuse(`Insufficient number of endpoints ${sizes}`);
  const allocations = allocate(usable.length, shares);
  if (!allocations)
    return refuse(
      `Unable to allocate minimum required endpoints to each zone without exceeding overload threshold ${sizes}`,
    );
  if (usable.some(({ zone }) => !zone)) return refuse("One or more endpoints do not have a zone specified");
  const zones = redistribute(
    usable.map(({ zone }) => zone!),
    allocations,
  );
  let next = 0;
  return {
    endpoints: endpoints.map((endpoint) =>
      isUsable(endpoint) ? { ...endpoint, hints: { forZones: [{ name: zones[next++]! }] } } : endpoint,
    ),
  };
}

/** Undefined when there are too few endpoints to keep every zone below the threshold. */
function allocate(count: number, shares: ZoneShares): Map<string, Allocation> | undefined {
  let left = count;
  const allocations = new Map<string, Allocation>();
  for (const [zone, share] of shares) {
    const desired = share * count;
    const minimum = Math.ceil(desired / (1 + OVERLOAD_THRESHOLD));
    allocations.set(zone, { minimum, desired: Math.max(desired, minimum) });
    left -= minimum;
  }
  return left < 0 ? undefined : allocations;
}

/** The zone that each endpoint is for: its own, but for those that a zone with too many gives to one with too few. */
function redistribute(own: readonly string[], allocations: ReadonlyMap<string, Allocation>): string[] {
  const { giving, receiving } = transfers(own, allocations);
  return own.map((zone) => {
    const toGive = giving.get(zone) ?? 0;
    const [receiver] = [...receiving].find(([, count]) => count > 0) ?? [];
    if (toGive === 0 || receiver === undefined) return zone;
    giving.set(zone, toGive - 1);
    receiving.set(receiver, receiving.get(receiver)! - 1);
    return receiver;
  });
}

/** How many endpoints each zone gives away or receives: from the fullest to the neediest until all are near their share. */
function transfers(own: readonly string[], allocations: ReadonlyMap<string, Allocation>) {
  const surplus = new Map<string, number>();
  for (const [zone, { desired }] of allocations)
    surplus.set(zone, own.filter((one) => one === zone).length - desired);
  const giving = new Map<string, number>();
  const receiving = new Map<string, number>();
  const add = (map: Map<string, number>, zone: string) => map.set(zone, (map.get(zone) ?? 0) + 1);
  for (;;) {
    const sorted = [...surplus].sort(([, a], [, b]) => b - a);
    const [[giver, toGive], [receiver, lack]] = [sorted[0]!, sorted.at(-1)!];
    const toReceive = -lack;
    if (toGive < 0.5 || toReceive < 0.5 || (toGive < 1 && toReceive < 1)) return { giving, receiving };
    surplus.set(giver, toGive - 1).set(receiver, lack + 1);
    add(giving, giver);
    add(receiving, receiver);
  }
}
