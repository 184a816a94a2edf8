/** EndpointSlices: the endpoints of each Service in slices of at most 100, one set for each IP family of the Service. */
import type { Endpoint, EndpointSlice, Node, Pod, Service } from "../kube/index.js";
import { type Backend, backendsOf, groupByPorts, isManaged, serviceLabels, targetRef } from "./backends.js";
import { keyOf, splitKey } from "./cache.js";
import { type Context, type Controller, tell } from "./context.js";
import { type Family, serviceFamilies } from "./families.js";
import { wantsAutoHints, withHints, ZONE_LABEL, type ZoneShares, zoneShares } from "./hints.js";
import type { PortGroup } from "./placement.js";
import { isNodeReady, selects } from "./pods.js";
import { newServiceQueue } from "./serviceQueue.js";
import {
  listSlices,
  MANAGED_BY_LABEL,
  removeSlice,
  SERVICE_NAME_LABEL,
  serviceKeyOf,
  writeSlices,
} from "./sliceWriter.js";
import { TriggerTimes } from "./triggerTimes.js";

const MANAGER = "endpointslice-controller.k8s.io";
/** Kubernetes' default of --max-endpoints-per-slice. */
const MAX_ENDPOINTS = 100;

export function startSlices(context: Context): Controller {
  const { client, caches } = context;
  const hintEvents = new HintEvents(context);
  const triggers = new TriggerTimes();

  async function reconcile(key: string): Promise<void> {
    const service = caches.services.get(key);
    if (service && !isManaged(service)) return;
    const { namespace, name } = splitKey(key);
    const all = await listSlices(client, namespace, name, MANAGER);
    const families = service ? serviceFamilies(service) : [];
    // A Service that was made anew under its name does not inherit: the slices go with the old one.
    const existing = all.filter(
      (slice) => families.includes(slice.addressType as Family) && isOwnedBy(slice, service!),
    );
    const triggeredAt = service ? triggers.of(service, podsOf(service)) : "";
    for (const family of families) await write(service!, family, existing, triggeredAt);
    for (const slice of all) if (!existing.includes(slice)) await removeSlice(client, slice);
    if (service) return;
    hintEvents.forget(key);
    triggers.forget(key);
  }

  function podsOf({ metadata, spec }: Service): Pod[] {
    const pods = [...caches.pods.items()];
    return pods.filter(
      (pod) => pod.metadata?.namespace === metadata?.namespace && selects(spec?.selector, pod),
    );
  }

  async function write(
    service: Service,
    family: Family,
    all: readonly EndpointSlice[],
    triggeredAt: string,
  ): Promise<void> {
    const existing = all.filter(({ addressType }) => addressType === family);
    const kind = { addressType: family, metadata: sliceMetadata(service), triggeredAt };
    const limits = { maxEndpoints: MAX_ENDPOINTS, keepOne: true };
    await writeSlices(client, kind, portGroups(service, family), existing, limits);
  }

  function portGroups(service: Service, family: Family): PortGroup[] {
    const shown = backendsOf(service, caches.pods.items(), family).filter(
      ({ pod }) => service.spec?.publishNotReadyAddresses || caches.nodes.get(pod.spec?.nodeName ?? ""),
    );
    const groups = [...groupByPorts(shown).values()];
    const shares: ZoneShares | undefined = wantsAutoHints(service)
      ? zoneShares(caches.nodes.items())
      : undefined;
    // A Service's hints are given over all its endpoints, whatever their ports.
    const { endpoints, refusal } = withHints(service, groups.flat().map(endpointOf), shares);
    hintEvents.report(service, family, refusal);
    return groups.map((group) => ({ ports: group[0]!.ports, endpoints: endpoints.splice(0, group.length) }));
  }

  function endpointOf(backend: Backend): Endpoint {
    const { ready, serving, terminating } = backend;
    const nodeName = backend.pod.spec?.nodeName;
    const zone = caches.nodes.get(nodeName ?? "")?.metadata?.labels?.[ZONE_LABEL];
    return {
      addresses: [backend.ip],
      conditions: { ready, serving, terminating },
      ...(backend.hostname && { hostname: backend.hostname }),
      ...(nodeName && { nodeName }),
      targetRef: targetRef(backend.pod),
      ...(zone && { zone }),
    };
  }

  const queue = newServiceQueue(context, "endpointslices", caches.endpointslices, serviceKeyOf, reconcile);
  caches.nodes.subscribe(({ now, before }) => {
    if (topologyOf(now) === topologyOf(before)) return;
    for (const service of caches.services.items()) if (isManaged(service)) queue.add(keyOf(service));
  });
  return queue;
}

/** What of a node the slices depend on, as a text to compare. */
function topologyOf(node: Node | undefined): string {
  return node
    ? JSON.stringify([node.metadata?.labels, isNodeReady(node), node.status?.allocatable?.cpu])
    : "";
}

/** Tells of automatic hints, once when they come or go. */
class HintEvents {
  readonly #context: Context;
  readonly #told = new Map<string, string>();

  constructor(context: Context) {
    this.#context = context;
  }

  report(service: Service, family: Family, refusal: string | undefined): void {
    const key = `${keyOf(service)} ${family}`;
    const before = this.#told.get(key);
    if (!wantsAutoHints(service)) {
      this.#told.delete(key);
      return;
    }
    const message = `${refusal ?? "Topology Aware Hints has been enabled"}, addressType: ${family}`;
    if (message === before) return;
    this.#told.set(key, message);
    const event = refusal
      ? ({ type: "Warning", reason: "TopologyAwareHintsDisabled", message } as const)
      : ({ type: "Normal", reason: "TopologyAwareHintsEnabled", message } as const);
    tell(this.#context, "endpoint-slice-controller", service, event);
  }

  forget(service: string): void {
    for (const family of ["IPv4", "IPv6"]) this.#told.delete(`${service} ${family}`);
  }
}

function isOwnedBy({ metadata }: EndpointSlice, service: Service): boolean {
  return metadata?.ownerReferences?.some(({ uid }) => uid === service.metadata?.uid) ?? false;
}

function sliceMetadata(service: Service) {
  const { namespace = "", name = "", uid = "" } = service.metadata ?? {};
  return {
    generateName: `${name}-`,
    namespace,
    labels: { ...serviceLabels(service), [SERVICE_NAME_LABEL]: name, [MANAGED_BY_LABEL]: MANAGER },
    ownerReferences: [
      { apiVersion: "v1", kind: "Service", name, uid, controller: true, blockOwnerDeletion: true },
    ],
  };
}
