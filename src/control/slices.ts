/** EndpointSlices: the endpoints of each Service in slices of at most 100. */
import { isDeepStrictEqual } from "node:util";
import type { Endpoint, EndpointSlice, Service } from "../kube/index.js";
import { type Backend, backendsOf, groupByPorts, isManaged, serviceLabels, targetRef } from "./backends.js";
import { splitKey } from "./cache.js";
import type { Context, Controller } from "./context.js";
import { place } from "./placement.js";
import { unlessGone } from "./queue.js";
import { newServiceQueue } from "./serviceQueue.js";

const SERVICE_NAME_LABEL = "kubernetes.io/service-name";
const MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by";
const MANAGER = "endpointslice-controller.k8s.io";

export function startSlices(context: Context): Controller {
  const { client, caches } = context;

  /** From the API and not the cache: a slice that was made a moment ago must not be made again. */
  async function existingSlices(key: string): Promise<EndpointSlice[]> {
    const { namespace, name } = splitKey(key);
    const labelSelector = `${SERVICE_NAME_LABEL}=${name},${MANAGED_BY_LABEL}=${MANAGER}`;
    const { items } = await client.list<EndpointSlice>("endpointslices", {
      ...(namespace && { namespace }),
      labelSelector,
    });
    return items;
  }

  async function remove(slice: EndpointSlice): Promise<void> {
    await unlessGone(client.delete("endpointslices", slice.metadata?.namespace, slice.metadata?.name ?? ""));
  }

  async function reconcile(key: string): Promise<void> {
    const service = caches.services.get(key);
    if (service && !isManaged(service)) return;
    const existing = await existingSlices(key);
    if (!service) await Promise.all(existing.map(remove));
    else await write(service, existing);
  }

  async function write(service: Service, existing: readonly EndpointSlice[]): Promise<void> {
    const groups = groupByPorts(backendsOf(service, caches.pods.items()));
    const portGroups = [...groups.values()].map((group) => ({
      ports: group[0]!.ports,
      endpoints: group.map(endpointOf),
    }));
    const placement = place(portGroups, existing);
    const metadata = sliceMetadata(service);
    for (const content of placement.create) {
      await client.create<EndpointSlice>("endpointslices", {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata,
        addressType: "IPv4",
        ...content,
      });
    }
    const untouched = existing.filter(
      (slice) =>
        !placement.remove.includes(slice) && !placement.update.some((update) => isSame(update, slice)),
    );
    const relabelled = untouched.filter(
      (slice) => !isDeepStrictEqual(slice.metadata?.labels, metadata.labels),
    );
    for (const slice of [...placement.update, ...relabelled]) {
      const labels = metadata.labels;
      await client.update<EndpointSlice>("endpointslices", {
        ...slice,
        metadata: { ...slice.metadata, labels },
      });
    }
    // Last, so that no endpoint is missing in between.
    for (const slice of placement.remove) await remove(slice);
  }

  const serviceOf = ({ metadata }: EndpointSlice): string | undefined => {
    const name = metadata?.labels?.[SERVICE_NAME_LABEL];
    return name === undefined ? undefined : `${metadata?.namespace}/${name}`;
  };
  return newServiceQueue(context, "endpointslices", caches.endpointslices, serviceOf, reconcile);
}

function isSame(a: EndpointSlice, b: EndpointSlice): boolean {
  return a.metadata?.uid === b.metadata?.uid;
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

function endpointOf(backend: Backend): Endpoint {
  const { ready, serving, terminating } = backend;
  const nodeName = backend.pod.spec?.nodeName;
  return {
    addresses: [backend.ip],
    conditions: { ready, serving, terminating },
    ...(backend.hostname && { hostname: backend.hostname }),
    ...(nodeName && { nodeName }),
    targetRef: targetRef(backend.pod),
  };
}
