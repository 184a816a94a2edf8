/** Replication: as many pods as a ReplicationController or ReplicaSet asks for. */
import type { KubeObject, Pod } from "../kube/index.js";
import { keyOf, splitKey } from "./cache.js";
import { type Context, type Controller, newQueue, tell } from "./context.js";
import { EXPECTATION_TIMEOUT_MS, Expectations } from "./expectations.js";
import type { OwnerKind, OwnerView, ReplicaStatus } from "./owners.js";
import { controllerOf, isFinished, isReady, isTerminating } from "./pods.js";
import { isStatus, unlessGone, type WorkQueue } from "./queue.js";
import { deletionOrder, readySince } from "./ranking.js";

/** Pods created or deleted at one time; the rest follows when these are seen. */
const BURST = 500;

/** One instance per kind of owner. */
export class Replication<T extends KubeObject> implements Controller {
  readonly #context: Context;
  readonly #kind: OwnerKind<T>;
  readonly #queue: WorkQueue;
  readonly #expectations: Expectations;

  constructor(context: Context, kind: OwnerKind<T>) {
    this.#context = context;
    this.#kind = kind;
    this.#expectations = new Expectations(context.now);
    this.#queue = newQueue(context, kind.component, (key) => this.#reconcile(key));
    kind.cache(context.caches).subscribe(({ now, before }) => {
      if (!now) this.#expectations.forget(before?.metadata?.uid ?? "");
      this.#queue.add(keyOf((now ?? before)!));
    });
    context.caches.pods.subscribe(({ now, before }) => this.#podChanged(now, before));
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  #podChanged(now: Pod | undefined, before: Pod | undefined): void {
    const pod = (now ?? before)!;
    for (const owner of new Set([controllerOf(pod)?.uid, before && controllerOf(before)?.uid])) {
      if (owner === undefined) continue;
      if (now && !before) this.#expectations.created(owner);
      if (!now || isTerminating(now)) this.#expectations.deleted(owner, pod.metadata?.uid ?? "");
    }
    for (const owner of this.#kind.cache(this.#context.caches).items()) {
      if (this.#concerns(owner, pod) || (before && this.#concerns(owner, before)))
        this.#queue.add(keyOf(owner));
    }
  }

  /** Whether the owner has the pod, or might adopt it. */
  #concerns(owner: T, pod: Pod): boolean {
    if (owner.metadata?.namespace !== pod.metadata?.namespace) return false;
    const controller = controllerOf(pod);
    if (controller) return controller.uid === owner.metadata?.uid;
    return this.#kind.view(owner).selects(pod.metadata?.labels ?? {});
  }

  async #reconcile(key: string): Promise<void> {
    const owner = this.#kind.cache(this.#context.caches).get(key);
    if (!owner) return;
    if (!this.#expectations.satisfied(owner.metadata?.uid ?? "")) {
      this.#queue.addAfter(key, EXPECTATION_TIMEOUT_MS);
      return;
    }
    const view = this.#kind.view(owner);
    const pods = await this.#claim(owner, view);
    let failure: unknown;
    try {
      if (!isTerminating(owner)) await this.#manage(owner, view, pods);
    } catch (error) {
      failure = error;
    }
    await this.#report(owner, view, pods);
    if (failure !== undefined) throw failure;
  }

  /** The owner's active pods, after adopting orphans and letting go of those that are not selected any more. */
  async #claim(owner: T, view: OwnerView): Promise<Pod[]> {
    const claimed: Pod[] = [];
    for (const pod of [...this.#context.caches.pods.items()]) {
      if (isFinished(pod) || isTerminating(pod) || !this.#concerns(owner, pod)) continue;
      const selected = view.selects(pod.metadata?.labels ?? {});
      const owned = controllerOf(pod) !== undefined;
      if (selected && owned) claimed.push(pod);
      else if (isTerminating(owner)) continue;
      else
        await unlessGone(
          this.#setOwned(owner, pod, selected).then((changed) => selected && claimed.push(changed)),
        );
    }
    return claimed;
  }

  #setOwned(owner: T, pod: Pod, owned: boolean): Promise<Pod> {
    const others =
      pod.metadata?.ownerReferences?.filter((reference) => reference.uid !== owner.metadata?.uid) ?? [];
    const ownerReferences = owned ? [...others, this.#reference(owner)] : others;
    return this.#context.client.update<Pod>("pods", {
      ...pod,
      metadata: { ...pod.metadata, ownerReferences },
    });
  }

  #reference(owner: T) {
    const { apiVersion, kind } = this.#kind;
    const { name = "", uid = "" } = owner.metadata ?? {};
    return { apiVersion, kind, name, uid, controller: true, blockOwnerDeletion: true };
  }

  async #manage(owner: T, view: OwnerView, pods: readonly Pod[]): Promise<void> {
    const uid = owner.metadata?.uid ?? "";
    const missing = Math.min(view.replicas - pods.length, BURST);
    if (missing > 0) {
      this.#expectations.expect(uid, missing, []);
      await all(Array.from({ length: missing }, () => this.#createPod(owner, view)));
    } else if (missing < 0) {
      const surplus = deletionOrder(pods).slice(0, Math.min(-missing, BURST));
      this.#expectations.expect(
        uid,
        0,
        surplus.map((pod) => pod.metadata?.uid ?? ""),
      );
      await all(surplus.map((pod) => this.#deletePod(owner, pod)));
    }
  }

  async #createPod(owner: T, view: OwnerView): Promise<void> {
    const { labels, annotations } = view.template?.metadata ?? {};
    const { namespace } = splitKey(keyOf(owner));
    const pod: Pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        generateName: `${owner.metadata?.name}-`,
        ...(namespace !== undefined && { namespace }),
        ...(labels && { labels }),
        ...(annotations && { annotations }),
        ownerReferences: [this.#reference(owner)],
      },
      ...(view.template?.spec && { spec: view.template.spec }),
    };
    try {
      const created = await this.#context.client.create<Pod>("pods", pod);
      this.#tell(owner, "Normal", "SuccessfulCreate", `Created pod: ${created.metadata?.name}`);
    } catch (error) {
      this.#expectations.created(owner.metadata?.uid ?? "");
      this.#tell(owner, "Warning", "FailedCreate", `Error creating: ${(error as Error).message}`);
      throw error;
    }
  }

  async #deletePod(owner: T, pod: Pod): Promise<void> {
    const { namespace, name = "", uid = "" } = pod.metadata ?? {};
    try {
      await this.#context.client.delete("pods", namespace, name, { preconditions: { uid } });
      this.#tell(owner, "Normal", "SuccessfulDelete", `Deleted pod: ${name}`);
    } catch (error) {
      this.#expectations.deleted(owner.metadata?.uid ?? "", uid);
      if (isStatus(error, "NotFound") || isStatus(error, "Conflict")) return;
      this.#tell(owner, "Warning", "FailedDelete", `Error deleting: ${(error as Error).message}`);
      throw error;
    }
  }

  #tell(owner: T, type: "Normal" | "Warning", reason: string, message: string): void {
    tell(this.#context, this.#kind.component, owner, { type, reason, message });
  }

  async #report(owner: T, view: OwnerView, pods: readonly Pod[]): Promise<void> {
    const wanted = Object.entries(view.template?.metadata?.labels ?? {});
    const ready = pods.filter(isReady);
    const availableAt = (pod: Pod) => readySince(pod) + view.minReadySeconds * 1000;
    const later =
      view.minReadySeconds > 0 ? ready.filter((pod) => availableAt(pod) > this.#context.now()) : [];
    const status: ReplicaStatus = {
      replicas: pods.length,
      fullyLabeledReplicas: pods.filter((pod) =>
        wanted.every(([key, value]) => pod.metadata?.labels?.[key] === value),
      ).length,
      readyReplicas: ready.length,
      availableReplicas: ready.length - later.length,
      observedGeneration: owner.metadata?.generation ?? 0,
    };
    if (!sameStatus(view.status, status)) {
      const object = { ...owner, status: { ...view.status, ...status } };
      await unlessGone(this.#context.client.update<KubeObject>(this.#kind.resource, object, "status"));
    }
    if (later.length === 0) return;
    const next = Math.min(...later.map(availableAt));
    this.#queue.addAfter(keyOf(owner), next - this.#context.now());
  }
}

/** Waits for all, then fails with the first failure. */
async function all(calls: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(calls);
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
}

function sameStatus(a: ReplicaStatus | undefined, b: ReplicaStatus): boolean {
  const keys = [
    "replicas",
    "fullyLabeledReplicas",
    "readyReplicas",
    "availableReplicas",
    "observedGeneration",
  ] as const;
  return a !== undefined && keys.every((key) => (a[key] ?? 0) === b[key]);
}
