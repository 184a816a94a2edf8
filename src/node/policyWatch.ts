/**
 * The node's network policies: follows them, and only while there are any, the namespaces and the other nodes' pods. The
 * node's own pods come from the kubelet's informer.
 */
import {
  Informer,
  type KubeClient,
  type KubeObject,
  type Namespace,
  type NetworkPolicy,
  type Pod,
} from "../kube/index.js";
import type { NetworkPolicies } from "../policy/index.js";

export class PolicyWatch {
  /** Resolves when all that existed at the start is known. Never, when stopped before. */
  readonly synced: Promise<void>;
  readonly #client: KubeClient;
  readonly #policies: NetworkPolicies;
  readonly #informer: Informer<NetworkPolicy>;
  /** Leaves out this node's pods, and those that have no node yet. */
  readonly #elsewhere: string;
  #peers: { readonly pods: Informer<Pod>; readonly namespaces: Informer<Namespace> } | undefined;

  constructor(client: KubeClient, policies: NetworkPolicies, nodeName: string) {
    this.#client = client;
    this.#policies = policies;
    this.#informer = new Informer<NetworkPolicy>(client, "networkpolicies");
    this.#elsewhere = `spec.nodeName!=,spec.nodeName!=${nodeName}`;
    this.synced = this.#informer.synced.then(async () => {
      await this.#peers?.pods.synced;
      await this.#peers?.namespaces.synced;
    });
  }

  start(): void {
    const upsert = (policy: NetworkPolicy) => {
      this.#policies.onPolicyUpsert(policy);
      if (!this.#peers) this.#followPeers();
    };
    this.#informer.start({
      onAdd: upsert,
      onUpdate: upsert,
      onDelete: (policy) => {
        this.#policies.onPolicyDelete(policy);
        if (this.#informer.items().length === 0) this.#leavePeers();
      },
    });
  }

  stop(): void {
    this.#informer.stop();
    this.#peers?.pods.stop();
    this.#peers?.namespaces.stop();
  }

  #followPeers(): void {
    const policies = this.#policies;
    const pods = new Informer<Pod>(this.#client, "pods", { fieldSelector: this.#elsewhere }, slimPod);
    const namespaces = new Informer<Namespace>(this.#client, "namespaces", {}, slim);
    const peers = { pods, namespaces };
    this.#peers = peers;
    const pod = (object: Pod) => policies.onPodUpsert(object);
    const namespace = (object: Namespace) => policies.onNamespaceUpsert(object);
    pods.start({ onAdd: pod, onUpdate: pod, onDelete: (object) => policies.onPodDelete(object) });
    namespaces.start({
      onAdd: namespace,
      onUpdate: namespace,
      onDelete: (object) => policies.onNamespaceDelete(object),
    });
    void Promise.all([pods.synced, namespaces.synced]).then(() => {
      if (this.#peers === peers) policies.onSynced();
    });
  }

  #leavePeers(): void {
    this.#peers?.pods.stop();
    this.#peers?.namespaces.stop();
    this.#peers = undefined;
    this.#policies.forgetPeers();
  }
}

/** Name, identity and labels: all that counts of a namespace. */
function slim<T extends KubeObject>({ metadata }: T): T {
  const { namespace, name, uid, resourceVersion, labels } = metadata ?? {};
  return { metadata: { namespace, name, uid, resourceVersion, labels } } as T;
}

/** What policies look at in a pod, some hundred bytes of several thousand. */
function slimPod(pod: Pod): Pod {
  const { nodeName, hostNetwork, containers = [], initContainers = [] } = pod.spec ?? {};
  const ports = [...initContainers, ...containers].flatMap((container) => container.ports ?? []);
  const { podIP, phase } = pod.status ?? {};
  return {
    ...slim(pod),
    spec: { nodeName, hostNetwork, containers: [{ name: "", ports }] },
    status: { podIP, phase },
  };
}
