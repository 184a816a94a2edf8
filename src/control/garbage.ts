/** Garbage collector: objects whose owners are all gone, and pods of nodes that are gone. */
import {
  type KubeObject,
  ORPHAN_FINALIZER,
  type OwnerReference,
  type Pod,
  type ResourceName,
  retryOnConflict,
} from "../kube/index.js";
import { type Cache, type Change, keyOf, splitKey } from "./cache.js";
import { type Caches, type Context, type Controller, newQueue } from "./context.js";
import { found, unlessGone } from "./queue.js";

/** Resources that may have owners. */
const DEPENDENTS = [
  "pods",
  "replicationcontrollers",
  "replicasets",
  "services",
  "endpoints",
  "endpointslices",
] as const;

/** Kinds that own things; of others it is not known whether they are gone, so their dependents stay. */
const OWNERS: Readonly<Record<string, keyof Caches>> = {
  "v1 Endpoints": "endpoints",
  "v1 Node": "nodes",
  "v1 Pod": "pods",
  "v1 ReplicationController": "replicationcontrollers",
  "v1 Service": "services",
  "apps/v1 ReplicaSet": "replicasets",
};

export function startGarbageCollector(context: Context): Controller {
  const { client, caches } = context;
  const cacheOf = (resource: ResourceName) => caches[resource as keyof Caches] as Cache<KubeObject>;
  const queue = newQueue(context, "garbage-collector", reconcile);

  async function reconcile(key: string): Promise<void> {
    const [resource, objectKey] = key.split(" ") as [ResourceName, string];
    const object = cacheOf(resource).get(objectKey);
    if (object && isOrphaning(object)) await orphan(resource, object);
    const owners = object?.metadata?.ownerReferences ?? [];
    if (!object || owners.length === 0 || object.metadata?.deletionTimestamp) return;
    const { namespace, name } = splitKey(objectKey);
    for (const owner of owners) if (!(await isGone(owner, namespace))) return;
    const preconditions = { uid: object.metadata?.uid ?? "" };
    await unlessGone(
      client.delete(resource, namespace, name, { preconditions, propagationPolicy: "Background" }),
    );
  }

  /** Takes the owner's name off all that it owns, as the API knows it now, then lets the owner go. */
  async function orphan(resource: ResourceName, { metadata = {} }: KubeObject): Promise<void> {
    const { uid, name = "", namespace } = metadata;
    const others = (references: readonly OwnerReference[] = []) =>
      references.filter((one) => one.uid !== uid);
    for (const kind of DEPENDENTS) {
      const { items } = await client.list<KubeObject>(kind, namespace === undefined ? {} : { namespace });
      for (const { metadata: owned } of items)
        if (owned?.ownerReferences?.some((one) => one.uid === uid))
          await change(kind, owned.namespace, owned.name ?? "", (dependent) => ({
            ...dependent,
            ownerReferences: others(dependent.ownerReferences),
          }));
    }
    await change(resource, namespace, name, (owner) => ({
      ...owner,
      finalizers: owner.finalizers?.filter((one) => one !== ORPHAN_FINALIZER) ?? [],
    }));
  }

  async function change(
    resource: ResourceName,
    namespace: string | undefined,
    name: string,
    next: (metadata: NonNullable<KubeObject["metadata"]>) => KubeObject["metadata"],
  ): Promise<void> {
    const attempt = async () => {
      const object = await client.get<KubeObject>(resource, namespace, name);
      await client.update(resource, { ...object, metadata: next(object.metadata ?? {}) });
    };
    await unlessGone(retryOnConflict(attempt));
  }

  /** The cache may be behind for an owner that was made a moment ago: its word is not enough to delete. */
  async function isGone(owner: OwnerReference, namespace: string | undefined): Promise<boolean> {
    const resource = OWNERS[`${owner.apiVersion} ${owner.kind}`];
    if (resource === undefined) return false;
    const ownerNamespace = resource === "nodes" ? undefined : namespace;
    const key = ownerNamespace === undefined ? owner.name : `${ownerNamespace}/${owner.name}`;
    if (cacheOf(resource).get(key)?.metadata?.uid === owner.uid) return false;
    return isAbsent(context, resource, ownerNamespace, owner.name, owner.uid);
  }

  function ownerGone({ now, before }: Change<KubeObject>): void {
    if (now || !before) return;
    for (const resource of DEPENDENTS) {
      for (const object of cacheOf(resource).items()) {
        const owned = object.metadata?.ownerReferences?.some((owner) => owner.uid === before.metadata?.uid);
        if (owned) queue.add(`${resource} ${keyOf(object)}`);
      }
    }
  }

  for (const resource of new Set(Object.values(OWNERS))) {
    cacheOf(resource).subscribe(ownerGone);
    cacheOf(resource).subscribe(({ now }) => {
      if (now && isOrphaning(now)) queue.add(`${resource} ${keyOf(now)}`);
    });
  }
  for (const resource of DEPENDENTS) {
    cacheOf(resource).subscribe(({ now }) => {
      if (now?.metadata?.ownerReferences?.length) queue.add(`${resource} ${keyOf(now)}`);
    });
  }
  return queue;
}

function isOrphaning({ metadata }: KubeObject): boolean {
  return (
    metadata?.deletionTimestamp !== undefined && (metadata.finalizers?.includes(ORPHAN_FINALIZER) ?? false)
  );
}

/**
 * Deletes pods whose node is not there any more, at once: no kubelet will confirm their end (podgc, gc_controller.go).
 * A node that was only replaced by one of its name keeps its pods, so the absence must last for the node grace period.
 */
export function startPodGarbageCollector(context: Context): Controller {
  const { client, caches } = context;
  const missingSince = new Map<string, number>();
  const queue = newQueue(context, "pod-garbage-collector", reconcile);

  async function reconcile(nodeName: string): Promise<void> {
    const pods = [...caches.pods.items()].filter((pod) => pod.spec?.nodeName === nodeName);
    if (caches.nodes.get(nodeName) || pods.length === 0) {
      missingSince.delete(nodeName);
      return;
    }
    const since = missingSince.get(nodeName) ?? context.now();
    missingSince.set(nodeName, since);
    const remainingMs = since + context.nodeGraceMs - context.now();
    if (remainingMs > 0) queue.addAfter(nodeName, remainingMs);
    else if (await isAbsent(context, "nodes", undefined, nodeName)) await Promise.all(pods.map(remove));
  }

  async function remove(pod: Pod): Promise<void> {
    const { namespace, name = "", uid = "" } = pod.metadata ?? {};
    context.log("info", `pod ${namespace}/${name}: deleted, because node ${pod.spec?.nodeName} is gone`);
    await unlessGone(
      client.delete("pods", namespace, name, { gracePeriodSeconds: 0, preconditions: { uid } }),
    );
  }

  caches.nodes.subscribe(({ now, before }) => {
    if (!now || !before) queue.add((now ?? before)?.metadata?.name ?? "");
  });
  caches.pods.subscribe(({ now }) => {
    if (now?.spec?.nodeName && !caches.nodes.get(now.spec.nodeName)) queue.add(now.spec.nodeName);
  });
  return queue;
}

/** Whether the API has no object of this name, or one with another uid. */
async function isAbsent(
  { client }: Context,
  resource: ResourceName,
  namespace: string | undefined,
  name: string,
  uid?: string,
): Promise<boolean> {
  const object = await found(client.get(resource, namespace, name));
  return object === undefined || (uid !== undefined && object.metadata?.uid !== uid);
}
