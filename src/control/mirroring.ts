/**
 * EndpointSlice mirroring: Endpoints that a user keeps by hand, for a Service without a selector, as slices, which is
 * what proxies read (kubernetes pkg/controller/endpointslicemirroring).
 */
import type { Endpoint, EndpointSlice, Endpoints, KubeObject, Service } from "../kube/index.js";
import { portsKey } from "./backends.js";
import { type Change, keyOf, splitKey } from "./cache.js";
import { type Context, type Controller, newQueue, tell } from "./context.js";
import { type Family, familyOf } from "./families.js";
import type { PortGroup } from "./placement.js";
import {
  listSlices,
  MANAGED_BY_LABEL,
  removeSlice,
  SERVICE_NAME_LABEL,
  serviceKeyOf,
  writeSlices,
} from "./sliceWriter.js";

const MANAGER = "endpointslicemirroring-controller.k8s.io";
const SKIP_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror";
/** Endpoints that only hold the record of a leader election, as old clients keep it. */
const LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader";
/** What says how the Endpoints came about, and nothing of the slices. */
const OWN_ANNOTATIONS = [
  "endpoints.kubernetes.io/last-change-trigger-time",
  "kubectl.kubernetes.io/last-applied-configuration",
];
/** Kubernetes' default of --mirroring-max-endpoints-per-subset. */
const MAX_PER_SUBSET = 1000;
const FAMILIES = ["IPv4", "IPv6"] as const;

type Subset = NonNullable<Endpoints["subsets"]>[number];

export function startMirroring(context: Context): Controller {
  const { client, caches } = context;
  const queue = newQueue(context, "endpointslice-mirroring", reconcile);

  async function reconcile(key: string): Promise<void> {
    const { namespace, name } = splitKey(key);
    const endpoints = caches.endpoints.get(key);
    const service = caches.services.get(key);
    const existing = await listSlices(client, namespace, name, MANAGER);
    if (!endpoints || !service || hasSelector(service) || !shouldMirror(endpoints)) {
      for (const slice of existing) await removeSlice(client, slice);
      return;
    }
    for (const family of FAMILIES) await write(endpoints, family, existing);
    tellSkipped(endpoints);
  }

  async function write(endpoints: Endpoints, family: Family, all: readonly EndpointSlice[]): Promise<void> {
    const existing = all.filter(({ addressType }) => addressType === family);
    const kind = { addressType: family, metadata: sliceMetadata(endpoints) };
    const limits = { maxEndpoints: MAX_PER_SUBSET, keepOne: false };
    await writeSlices(client, kind, portGroups(endpoints, family), existing, limits);
  }

  function tellSkipped(endpoints: Endpoints): void {
    const sizes = (endpoints.subsets ?? []).map((subset) => addressesOf(subset).length);
    const skipped = sizes.reduce((sum, size) => sum + Math.max(0, size - MAX_PER_SUBSET), 0);
    if (skipped === 0) return;
    const message = `A max of ${MAX_PER_SUBSET} addresses can be mirrored to EndpointSlices per Endpoints subset. ${skipped} addresses were skipped`;
    const event = { type: "Warning", reason: "TooManyAddressesToMirror", message } as const;
    tell(context, "endpoint-slice-mirroring-controller", endpoints, event);
  }

  const changed = ({ now, before }: Change<KubeObject>) => queue.add(keyOf((now ?? before)!));
  caches.endpoints.subscribe((change) => {
    if ([change.now, change.before].some((one) => one && shouldMirror(one))) changed(change);
  });
  caches.services.subscribe((change) => {
    const selects = (service: Service | undefined) => (service ? hasSelector(service) : undefined);
    if (selects(change.now) !== selects(change.before)) changed(change);
  });
  caches.endpointslices.subscribe(({ now, before }) => {
    for (const slice of [now, before]) {
      const key = slice && isOurs(slice) ? serviceKeyOf(slice) : undefined;
      if (key !== undefined) queue.add(key);
    }
  });
  return queue;
}

function isOurs({ metadata }: EndpointSlice): boolean {
  return metadata?.labels?.[MANAGED_BY_LABEL] === MANAGER;
}

function hasSelector({ spec }: Service): boolean {
  return Object.keys(spec?.selector ?? {}).length > 0;
}

function shouldMirror({ metadata }: Endpoints): boolean {
  return (
    metadata?.labels?.[SKIP_MIRROR_LABEL] !== "true" && !(LEADER_ANNOTATION in (metadata?.annotations ?? {}))
  );
}

/** All addresses of a subset, ready ones first, as endpoints. */
function addressesOf({ addresses = [], notReadyAddresses = [] }: Subset): Endpoint[] {
  const convert = (list: typeof addresses, ready: boolean) =>
    list.map(
      ({ ip = "", hostname, nodeName, targetRef }): Endpoint => ({
        addresses: [ip],
        conditions: { ready },
        ...(hostname && { hostname }),
        ...(nodeName && { nodeName }),
        ...(targetRef && { targetRef }),
      }),
    );
  return [...convert(addresses, true), ...convert(notReadyAddresses, false)];
}

function portGroups({ subsets = [] }: Endpoints, family: Family): PortGroup[] {
  const groups = new Map<string, { ports: PortGroup["ports"]; endpoints: Endpoint[] }>();
  for (const subset of subsets) {
    const chosen = addressesOf(subset).slice(0, MAX_PER_SUBSET);
    const endpoints = chosen.filter(({ addresses }) => familyOf(addresses[0]!) === family);
    if (endpoints.length === 0) continue;
    const ports = (subset.ports ?? []).map(({ name = "", ...port }) => ({ name, ...port }));
    const key = portsKey(ports);
    const group = groups.get(key) ?? { ports, endpoints: [] };
    group.endpoints.push(...endpoints);
    groups.set(key, group);
  }
  return [...groups.values()];
}

function sliceMetadata({ metadata }: Endpoints) {
  const { namespace = "", name = "", uid = "", labels, annotations = {} } = metadata ?? {};
  const kept = Object.entries(annotations).filter(([key]) => !OWN_ANNOTATIONS.includes(key));
  return {
    generateName: `${name}-`,
    namespace,
    labels: { ...labels, [SERVICE_NAME_LABEL]: name, [MANAGED_BY_LABEL]: MANAGER },
    annotations: Object.fromEntries(kept),
    ownerReferences: [
      { apiVersion: "v1", kind: "Endpoints", name, uid, controller: true, blockOwnerDeletion: true },
    ],
  };
}
