/** Which endpoint is in which slice: as few changed slices as possible (kubernetes pkg/controller/endpointslice). */
import { isDeepStrictEqual } from "node:util";
import type { Endpoint, EndpointPort, EndpointSlice } from "../kube/index.js";
import { portsKey } from "./backends.js";

export interface PlacementLimits {
  /** Endpoints of one slice. */
  readonly maxEndpoints: number;
  /** A Service without endpoints keeps one empty slice, so that those who watch learn of it. */
  readonly keepOne: boolean;
}

/** The endpoints that have these ports. */
export interface PortGroup {
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
}

/** What to write: new contents of slices that exist, contents of new ones, and slices that are not needed. */
export interface Placement {
  readonly update: EndpointSlice[];
  readonly create: { readonly ports: EndpointPort[]; readonly endpoints: Endpoint[] }[];
  readonly remove: EndpointSlice[];
}

/** Leaves endpoints in the slices that they are in and fills up those that change anyway, then others, then new ones. */
export function place(
  groups: readonly PortGroup[],
  existing: readonly EndpointSlice[],
  { maxEndpoints, keepOne }: PlacementLimits,
): Placement {
  const placement: Placement = { update: [], create: [], remove: [] };
  const left = new Set(existing);
  for (const group of groups) {
    const key = portsKey(group.ports);
    const slices = existing.filter((slice) => portsKey(slice.ports ?? []) === key);
    for (const slice of slices) left.delete(slice);
    placeGroup(group, slices, maxEndpoints, placement);
  }
  placement.remove.push(...left);
  if (keepOne && groups.length === 0) keepOneEmpty(placement);
  return placement;
}

function placeGroup(
  group: PortGroup,
  slices: readonly EndpointSlice[],
  maxEndpoints: number,
  placement: Placement,
): void {
  const wanted = new Map(group.endpoints.map((endpoint) => [identity(endpoint), endpoint]));
  const contents = slices.map((slice) => ({ slice, endpoints: keepWanted(slice, wanted) }));
  const changed = ({ slice, endpoints }: (typeof contents)[number]) =>
    !isDeepStrictEqual(slice.endpoints, endpoints);
  // The fullest first among those that change anyway, then among the others.
  const byPreference = contents.toSorted(
    (a, b) => Number(changed(b)) - Number(changed(a)) || b.endpoints.length - a.endpoints.length,
  );
  const rest = [...wanted.values()];
  for (const { endpoints } of byPreference) {
    while (rest.length > 0 && endpoints.length < maxEndpoints) endpoints.push(rest.shift()!);
  }
  for (const content of contents) {
    if (content.endpoints.length === 0) placement.remove.push(content.slice);
    else if (changed(content)) placement.update.push({ ...content.slice, endpoints: content.endpoints });
  }
  const ports = [...group.ports];
  while (rest.length > 0) placement.create.push({ ports, endpoints: rest.splice(0, maxEndpoints) });
}

/** The slice's endpoints that are still wanted, as they are now; takes them out of the map. */
function keepWanted(slice: EndpointSlice, wanted: Map<string, Endpoint>): Endpoint[] {
  return slice.endpoints.flatMap((endpoint) => {
    const now = wanted.get(identity(endpoint));
    wanted.delete(identity(endpoint));
    return now ? [now] : [];
  });
}

function identity(endpoint: Endpoint): string {
  return `${endpoint.addresses[0]} ${endpoint.targetRef?.uid}`;
}

function keepOneEmpty({ update, create, remove }: Placement): void {
  const kept = remove.shift();
  if (!kept) create.push({ ports: [], endpoints: [] });
  else if (kept.endpoints.length > 0 || (kept.ports ?? []).length > 0)
    update.push({ ...kept, ports: [], endpoints: [] });
}
