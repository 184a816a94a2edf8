/** Which pods a controller gives up first when it has too many (controller_utils.go, ActivePodsWithRanks). */
import type { Pod } from "../kube/index.js";
import { isReady } from "./pods.js";

const PHASES = ["Pending", "Unknown", "Running"];

/**
 * The pods, those to delete first in front: not assigned, not running, not ready, cheap by annotation, crowded on their
 * node, ready for the shortest time, restarted most often, newest; names decide between equals.
 */
export function deletionOrder(pods: readonly Pod[]): Pod[] {
  const perNode = new Map<string, number>();
  for (const pod of pods) {
    const node = pod.spec?.nodeName ?? "";
    if (isReady(pod)) perNode.set(node, (perNode.get(node) ?? 0) + 1);
  }
  const ranked = pods.map((pod) => ({ pod, rank: rankOf(pod, perNode) }));
  ranked.sort((a, b) => {
    const index = a.rank.findIndex((value, position) => value !== b.rank[position]);
    if (index < 0) return (a.pod.metadata?.name ?? "") < (b.pod.metadata?.name ?? "") ? -1 : 1;
    return a.rank[index]! - b.rank[index]!;
  });
  return ranked.map(({ pod }) => pod);
}

/** Compared number by number; the smaller goes first. */
function rankOf(pod: Pod, perNode: ReadonlyMap<string, number>): number[] {
  const ready = isReady(pod);
  const restarts = pod.status?.containerStatuses?.map((status) => status.restartCount) ?? [];
  return [
    pod.spec?.nodeName ? 1 : 0,
    PHASES.indexOf(pod.status?.phase ?? "Pending"),
    ready ? 1 : 0,
    Number(pod.metadata?.annotations?.["controller.kubernetes.io/pod-deletion-cost"]) || 0,
    -(perNode.get(pod.spec?.nodeName ?? "") ?? 0),
    ready ? -readySince(pod) : 0,
    -Math.max(0, ...restarts),
    -Date.parse(pod.metadata?.creationTimestamp ?? "") || 0,
  ];
}

/** When the pod became ready, in milliseconds since the epoch; 0 when that is not known. */
export function readySince(pod: Pod): number {
  const condition = pod.status?.conditions?.find(({ type }) => type === "Ready");
  return Date.parse(condition?.lastTransitionTime ?? "") || 0;
}
