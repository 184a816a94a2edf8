/** What the controllers ask of a pod or a node (kubernetes pkg/api/v1/pod/util.go). */
import type { KubeObject, Node, OwnerReference, Pod } from "../kube/index.js";

export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
}

/** Ended for good: it will not run again. */
export function isFinished(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

export function isTerminating(object: KubeObject): boolean {
  return object.metadata?.deletionTimestamp !== undefined;
}

export function isNodeReady(node: Node): boolean {
  return node.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
}

/** The owner that manages the object; an object has at most one. */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata?.ownerReferences?.find((owner) => owner.controller);
}

/** Whether an equality selector chooses the labels. An empty one chooses nothing, as in a Service. */
export function selects(selector: Readonly<Record<string, string>> | undefined, object: KubeObject): boolean {
  const wanted = Object.entries(selector ?? {});
  const labels = object.metadata?.labels ?? {};
  return wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
}

/** Time as objects have it: RFC 3339 with whole seconds. */
export function timestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
}

/**
 * The conditions with this one in place of the one of its type; the time of transition changes with the status only.
 * Undefined when nothing would change.
 */
export function withCondition<C extends Condition>(
  conditions: readonly C[] | undefined,
  wanted: C,
  nowMs: number,
): C[] | undefined {
  const before = conditions?.find(({ type }) => type === wanted.type);
  const sameStatus = before?.status === wanted.status;
  if (sameStatus && before?.reason === wanted.reason && before?.message === wanted.message) return undefined;
  const since = (sameStatus ? before?.lastTransitionTime : undefined) ?? timestamp(nowMs);
  const replacement = { ...wanted, lastTransitionTime: since };
  const others = conditions ?? [];
  return before
    ? others.map((condition) => (condition === before ? replacement : condition))
    : [...others, replacement];
}
