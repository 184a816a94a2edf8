/** Endpoints: one object per Service with the addresses of its pods, ready and not. */
import { isDeepStrictEqual } from "node:util";
import type { Endpoints, Service } from "../kube/index.js";
import { type Backend, backendsOf, groupByPorts, isManaged, serviceLabels, targetRef } from "./backends.js";
import { keyOf, splitKey } from "./cache.js";
import { OVER_CAPACITY_ANNOTATION, truncated } from "./capacity.js";
import type { Context, Controller } from "./context.js";
import { found, unlessGone } from "./queue.js";
import { newServiceQueue } from "./serviceQueue.js";

type Subset = NonNullable<Endpoints["subsets"]>[number];
type Address = NonNullable<Subset["addresses"]>[number];

/** Marks Endpoints that are ours (Kubernetes 1.33 and later). */
const MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by";
const MANAGER = "endpoint-controller";

export function startEndpoints(context: Context): Controller {
  const { client, caches } = context;

  async function reconcile(key: string): Promise<void> {
    const service = caches.services.get(key);
    const { namespace, name } = splitKey(key);
    if (!service) await unlessGone(client.delete("endpoints", namespace, name));
    // From the API and not the cache, which would lag behind the write for the pod before.
    else if (isManaged(service))
      await write(service, await found(client.get<Endpoints>("endpoints", namespace, name)));
  }

  async function write(service: Service, existing: Endpoints | undefined): Promise<void> {
    const labels = { ...serviceLabels(service), [MANAGED_BY_LABEL]: MANAGER };
    const all = subsetsOf(endpointsOf(service, backendsOf(service, caches.pods.items())));
    const subsets = truncated(all);
    const over: Record<string, string> = isDeepStrictEqual(subsets, all)
      ? {}
      : { [OVER_CAPACITY_ANNOTATION]: "truncated" };
    if (!existing) {
      const { namespace = "", name = "" } = service.metadata ?? {};
      const metadata = { name, namespace, labels, annotations: over };
      await client.create<Endpoints>("endpoints", { apiVersion: "v1", kind: "Endpoints", metadata, subsets });
      return;
    }
    const { [OVER_CAPACITY_ANNOTATION]: marked, ...others } = existing.metadata?.annotations ?? {};
    const annotations = { ...others, ...over };
    const sameMark = marked === over[OVER_CAPACITY_ANNOTATION];
    const same = sameMark && isDeepStrictEqual(existing.metadata?.labels, labels);
    if (same && isDeepStrictEqual(existing.subsets ?? [], subsets)) return;
    await client.update<Endpoints>("endpoints", {
      ...existing,
      metadata: { ...existing.metadata, labels, annotations },
      subsets,
    });
  }

  // Endpoints that a user writes may come before their Service; they go with it all the same.
  const serviceOf = (endpoints: Endpoints): string | undefined => {
    const ours = endpoints.metadata?.labels?.[MANAGED_BY_LABEL] === MANAGER;
    return ours || caches.services.get(keyOf(endpoints)) ? keyOf(endpoints) : undefined;
  };
  return newServiceQueue(context, "endpoints", caches.endpoints, serviceOf, reconcile);
}

/**
 * Without the pods that have none of the Service's ports by name. Slices show those too, without ports, so that the names
 * of a headless Service lead to them; the two controllers of Kubernetes differ in this.
 */
export function endpointsOf({ spec }: Service, backends: readonly Backend[]): readonly Backend[] {
  return spec?.ports?.length ? backends.filter(({ ports }) => ports.length > 0) : backends;
}

/** One subset for each set of ports. A pod that terminates is left out: that state has no place here. */
export function subsetsOf(backends: readonly Backend[]): Subset[] {
  const shown = backends.filter((backend) => backend.ready || !backend.terminating);
  return [...groupByPorts(shown).entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, group]) => {
      const ready = group.filter((backend) => backend.ready).map(addressOf);
      const notReady = group.filter((backend) => !backend.ready).map(addressOf);
      const ports = group[0]!.ports.map(({ name, ...port }) => ({ ...(name !== "" && { name }), ...port }));
      return {
        ...(ready.length > 0 && { addresses: ready }),
        ...(notReady.length > 0 && { notReadyAddresses: notReady }),
        ...(ports.length > 0 && { ports }),
      };
    });
}

function addressOf(backend: Backend): Address {
  const nodeName = backend.pod.spec?.nodeName;
  return {
    ip: backend.ip,
    ...(backend.hostname && { hostname: backend.hostname }),
    ...(nodeName && { nodeName }),
    targetRef: targetRef(backend.pod),
  };
}
