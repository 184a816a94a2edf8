/** Node lifecycle: a silent node becomes Unknown, and its pods are not ready until it is heard of again. */
import type { Node, Pod } from "../kube/index.js";
import { type Context, type Controller, newQueue, tell } from "./context.js";
import { isFinished, isNodeReady, withCondition } from "./pods.js";
import { isStatus, unlessGone } from "./queue.js";

const COMPONENT = "node-controller";
/** Reason of pod conditions that this controller wrote; only those does it take back. */
const NODE_NOT_READY = "NodeNotReady";
/** A read that takes longer has waited for the store. */
const PROMPT_MS = 500;

/** A node's last sign of life, and when it was seen here. Its own clock is never compared with ours. */
interface Sign {
  readonly heartbeat: string;
  readonly seenAtMs: number;
  /** Half of the grace period after it the store was there. */
  readonly isConfirmed: boolean;
}

export function startNodeLifecycle(context: Context): Controller {
  const { client, caches } = context;
  const signs = new Map<string, Sign>();
  const queue = newQueue(context, "node-lifecycle", reconcile);

  async function reconcile(name: string): Promise<void> {
    const node = caches.nodes.get(name);
    if (!node) {
      signs.delete(name);
      return;
    }
    const halfMs = context.nodeGraceMs / 2;
    let sign = observe(name, node);
    if (!sign.isConfirmed && context.now() - sign.seenAtMs >= halfMs) sign = await confirm(name, sign);
    const remainingMs = sign.seenAtMs + context.nodeGraceMs - context.now();
    if (remainingMs > 0) queue.addAfter(name, sign.isConfirmed ? remainingMs : remainingMs - halfMs);
    else await markLost(node);
    await markPods(node, isNodeReady(node) && remainingMs > 0);
  }

  function observe(name: string, node: Node): Sign {
    const heartbeat = heartbeatOf(node);
    const before = signs.get(name);
    if (before?.heartbeat === heartbeat) return before;
    const sign = { heartbeat, seenAtMs: context.now(), isConfirmed: false };
    signs.set(name, sign);
    return sign;
  }

  /**
   * Halfway it is asked whether the store is there. If it was away it may be back when the time is up, just before the first
   * node can be heard of again. Returns the sign as it counts from here on.
   */
  async function confirm(name: string, sign: Sign): Promise<Sign> {
    const askedMs = context.now();
    try {
      await unlessGone(client.get<Node>("nodes", undefined, name));
    } catch (error) {
      restartGrace();
      throw error;
    }
    if (context.now() - askedMs > PROMPT_MS) restartGrace();
    else if (signs.get(name) === sign) signs.set(name, { ...sign, isConfirmed: true });
    return signs.get(name) ?? sign;
  }

  /** Kubernetes' wording (node_lifecycle_controller.go, tryUpdateNodeHealth). */
  async function markLost(node: Node): Promise<void> {
    const ready = node.status?.conditions?.find(({ type }) => type === "Ready");
    const [reason, message] = ready?.lastHeartbeatTime
      ? ["NodeStatusUnknown", "Kubelet stopped posting node status."]
      : ["NodeStatusNeverUpdated", "Kubelet never posted node status."];
    const wanted = { ...ready, type: "Ready", status: "Unknown", reason, message };
    const conditions = withCondition(node.status?.conditions, wanted, context.now());
    if (!conditions) return;
    const { name = "" } = node.metadata ?? {};
    const lost = { ...node, status: { ...node.status, conditions } };
    await unlessGone(client.update<Node>("nodes", lost, "status")).catch((error: unknown) => {
      if (!isStatus(error, "Conflict")) restartGrace();
      throw error;
    });
    context.log("warn", `node ${name} has not been heard of for ${context.nodeGraceMs / 1000} s`);
    const text = `Node ${name} status is now: NodeNotReady`;
    tell(context, COMPONENT, node, { type: "Normal", reason: "NodeNotReady", message: text });
  }

  /** What we cannot write, no node could either: that the store was away makes none of them silent. */
  function restartGrace(): void {
    for (const [name, sign] of signs)
      signs.set(name, { ...sign, seenAtMs: context.now(), isConfirmed: false });
  }

  async function markPods(node: Node, ready: boolean): Promise<void> {
    for (const pod of [...caches.pods.items()]) {
      if (pod.spec?.nodeName === node.metadata?.name && !isFinished(pod))
        await unlessGone(markPod(pod, ready));
    }
  }

  /** Not ready while the node is lost; afterwards as before, until the node itself says otherwise. */
  async function markPod(pod: Pod, nodeReady: boolean): Promise<void> {
    const before = pod.status?.conditions?.find(({ type }) => type === "Ready");
    if (nodeReady ? before?.reason !== NODE_NOT_READY : before?.status !== "True") return;
    const message = `node ${pod.spec?.nodeName} is not ready`;
    const wanted = nodeReady
      ? { type: "Ready", status: "True" }
      : { type: "Ready", status: "False", reason: NODE_NOT_READY, message };
    const conditions = withCondition(pod.status?.conditions, wanted, context.now());
    if (conditions)
      await client.update<Pod>("pods", { ...pod, status: { ...pod.status, conditions } }, "status");
  }

  caches.nodes.subscribe(({ now, before }) => queue.add((now ?? before)?.metadata?.name ?? ""));
  // A pod may have become ready in the view of a node that is lost.
  caches.pods.subscribe(({ now }) => {
    const node = now?.spec?.nodeName;
    if (node && caches.nodes.get(node)) queue.add(node);
  });
  return queue;
}

/** Changes with every sign of life: the time of the last status, or an annotation that the node keeps. */
function heartbeatOf(node: Node): string {
  const ready = node.status?.conditions?.find(({ type }) => type === "Ready");
  return JSON.stringify([ready?.lastHeartbeatTime, node.metadata?.annotations]);
}
