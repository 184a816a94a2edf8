/** Scheduler: binds each pod to the Ready node that has the fewest pods and the labels that the pod asks for. */
import { conflictsWith, hasHostPorts, type Node, type Pod } from "../kube/index.js";
import { keyOf } from "./cache.js";
import { type Context, type Controller, newQueue, tell } from "./context.js";
import { isFinished, isNodeReady, isTerminating, selects, withCondition } from "./pods.js";
import { unlessGone } from "./queue.js";

const COMPONENT = "default-scheduler";

/** The node chosen for a pod, or why there is none, in Kubernetes' words. */
export type Decision = { readonly node: string } | { readonly message: string };

/**
 * Chooses a node. `podsOn` has the pods of each node by name; ties go to the first name.
 * Wording: kubernetes pkg/scheduler/framework/types.go (FitError) and the plugins' reasons.
 */
export function chooseNode(
  pod: Pod,
  nodes: Iterable<Node>,
  podsOn: ReadonlyMap<string, readonly Pod[]>,
): Decision {
  const reasons = new Map<string, number>();
  let best: { name: string; count: number } | undefined;
  let total = 0;
  for (const node of nodes) {
    total++;
    const name = node.metadata?.name ?? "";
    const others = podsOn.get(name) ?? [];
    const reason = whyNot(pod, node, others);
    if (reason !== undefined) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    else {
      const count = others.length;
      if (!best || count < best.count || (count === best.count && name < best.name)) best = { name, count };
    }
  }
  if (best) return { node: best.name };
  if (total === 0) return { message: "no nodes available to schedule pods" };
  const parts = [...reasons].map(([reason, count]) => `${count} ${reason}`).sort();
  return { message: `0/${total} nodes are available: ${parts.join(", ")}.` };
}

function whyNot(pod: Pod, node: Node, others: readonly Pod[]): string | undefined {
  if (node.spec?.unschedulable) return "node(s) were unschedulable";
  if (!isNodeReady(node) || isTerminating(node)) {
    return "node(s) had untolerated taint {node.kubernetes.io/not-ready: }";
  }
  const selector = pod.spec?.nodeSelector ?? {};
  const wanted = Object.keys(selector).length > 0;
  if (wanted && !selects(selector, node)) return "node(s) didn't match Pod's node affinity/selector";
  return conflictsWith(pod, others)
    ? "node(s) didn't have free ports for the requested pod ports"
    : undefined;
}

function isPending(pod: Pod): boolean {
  return !pod.spec?.nodeName && !isFinished(pod) && !isTerminating(pod);
}

export function startScheduler(context: Context): Controller {
  const { client, caches } = context;
  /** Nodes of pods that are bound, but whose cached copy does not say so yet. */
  const assumed = new Map<string, string>();
  const queue = newQueue(context, "scheduler", reconcile);

  function podsOn(): Map<string, Pod[]> {
    const pods = new Map<string, Pod[]>();
    for (const pod of caches.pods.items()) {
      const node = pod.spec?.nodeName || assumed.get(pod.metadata?.uid ?? "");
      if (node === undefined || isFinished(pod)) continue;
      const others = pods.get(node);
      if (others) others.push(pod);
      else pods.set(node, [pod]);
    }
    return pods;
  }

  async function bind(pod: Pod, nodeName: string): Promise<void> {
    const uid = pod.metadata?.uid ?? "";
    assumed.set(uid, nodeName);
    try {
      await client.update<Pod>("pods", { ...pod, spec: { ...pod.spec!, nodeName } });
    } catch (error) {
      assumed.delete(uid);
      throw error;
    }
    const message = `Successfully assigned ${keyOf(pod)} to ${nodeName}`;
    tell(context, COMPONENT, pod, { type: "Normal", reason: "Scheduled", message });
  }

  async function reject(pod: Pod, message: string): Promise<void> {
    const condition = { type: "PodScheduled", status: "False", reason: "Unschedulable", message };
    const conditions = withCondition(pod.status?.conditions, condition, context.now());
    if (!conditions) return;
    tell(context, COMPONENT, pod, { type: "Warning", reason: "FailedScheduling", message });
    await client.update<Pod>("pods", { ...pod, status: { ...pod.status, conditions } }, "status");
  }

  async function reconcile(key: string): Promise<void> {
    const pod = caches.pods.get(key);
    if (!pod || !isPending(pod) || assumed.has(pod.metadata?.uid ?? "")) return;
    const decision = chooseNode(pod, caches.nodes.items(), podsOn());
    await unlessGone("node" in decision ? bind(pod, decision.node) : reject(pod, decision.message));
  }

  function retryPending(): void {
    for (const pod of caches.pods.items()) if (isPending(pod)) queue.add(keyOf(pod));
  }

  caches.pods.subscribe(({ now, before }) => {
    if (!now || now.spec?.nodeName) assumed.delete((now ?? before)?.metadata?.uid ?? "");
    if (now && isPending(now)) queue.add(keyOf(now));
    // Others may have waited for its ports.
    if (before && (!now || isFinished(now)) && !isFinished(before) && hasHostPorts(before)) retryPending();
  });
  caches.nodes.subscribe(({ now, before }) => {
    if (!now || !before || schedulingView(now) !== schedulingView(before)) retryPending();
  });
  return queue;
}

/** What of a node can change a decision; a heartbeat cannot. */
function schedulingView(node: Node): string {
  return JSON.stringify([
    node.spec?.unschedulable ?? false,
    isNodeReady(node),
    isTerminating(node),
    node.metadata?.labels,
  ]);
}
