/** What a delete does: remove the object, or mark it and let its kubelet or the owners of its finalizers remove it. */
import type { Pod } from "../objects.js";
import type { ResourceInfo } from "../resources.js";
import { forbidden } from "../status.js";
import type { DeleteOptions } from "../types.js";
import { type Stored, timestamp } from "./object.js";

export type Deletion =
  | { readonly type: "remove" }
  | { readonly type: "mark"; readonly object: Stored }
  /** It is marked already. */
  | { readonly type: "wait" };

/** Without these there is nowhere to put what the system itself makes. */
export const SYSTEM_NAMESPACES: readonly string[] = ["default", "kube-system", "kube-public"];

/** Keeps an owner until the garbage collector has taken its name off what it owns. */
export const ORPHAN_FINALIZER = "orphan";

/** Kinds that own things, so that there is somebody to let them go. */
const OWNERS: ReadonlySet<string> = new Set([
  "endpoints",
  "nodes",
  "pods",
  "replicationcontrollers",
  "replicasets",
  "services",
]);

/** @throws StatusError (403) for a namespace of the system */
export function planDeletion(
  info: ResourceInfo,
  stored: Stored,
  options: DeleteOptions,
  nowMs: number,
): Deletion {
  const { name, deletionTimestamp } = stored.metadata;
  if (info.name === "namespaces") {
    if (SYSTEM_NAMESPACES.includes(name)) throw forbidden(info, name, "this namespace may not be deleted");
    if (deletionTimestamp !== undefined) return { type: "wait" };
    return { type: "mark", object: marked({ ...stored, status: { phase: "Terminating" } }, 0, nowMs) };
  }
  const finalizers = finalizersOf(info, stored, options);
  const graceSeconds = info.name === "pods" ? podGraceSeconds(stored as Pod, options) : 0;
  if (graceSeconds === 0 && finalizers.length === 0) return { type: "remove" };
  // A second delete can only bring the end nearer.
  const current = stored.metadata.deletionGracePeriodSeconds ?? Number.POSITIVE_INFINITY;
  if (deletionTimestamp !== undefined && graceSeconds >= current) return { type: "wait" };
  const { metadata } = stored;
  const kept = finalizers.length > 0 ? { ...stored, metadata: { ...metadata, finalizers } } : stored;
  return { type: "mark", object: marked(kept, graceSeconds, nowMs) };
}

/** Who asks to orphan the dependents makes the object wait for that (kubernetes store.go, deletionFinalizersForGC). */
function finalizersOf(info: ResourceInfo, { metadata }: Stored, options: DeleteOptions): string[] {
  const { finalizers = [] } = metadata;
  const orphans = options.propagationPolicy === "Orphan" && OWNERS.has(info.name);
  return orphans && !finalizers.includes(ORPHAN_FINALIZER) ? [...finalizers, ORPHAN_FINALIZER] : finalizers;
}

/** An update has taken the last finalizer off an object that was only waiting for that. */
export function isFinalized(info: ResourceInfo, { metadata }: Stored): boolean {
  return (
    info.name !== "namespaces" &&
    metadata.deletionTimestamp !== undefined &&
    (metadata.deletionGracePeriodSeconds ?? 0) === 0 &&
    !metadata.finalizers?.length
  );
}

/** A pod that runs nowhere, or has ended, needs no time (kubernetes pkg/registry/core/pod/strategy.go). */
function podGraceSeconds({ spec, status }: Pod, options: DeleteOptions): number {
  const ended = status?.phase === "Succeeded" || status?.phase === "Failed";
  if (!spec?.nodeName || ended) return 0;
  return Math.max(0, options.gracePeriodSeconds ?? spec.terminationGracePeriodSeconds ?? 30);
}

function marked(stored: Stored, graceSeconds: number, nowMs: number): Stored {
  const { metadata } = stored;
  return {
    ...stored,
    metadata: {
      ...metadata,
      deletionTimestamp: timestamp(nowMs + graceSeconds * 1000),
      deletionGracePeriodSeconds: graceSeconds,
      ...(metadata.generation ? { generation: metadata.generation + 1 } : {}),
    },
  };
}
