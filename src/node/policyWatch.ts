/**
 * The node's network policies: follows them, and only while there are any, the namespaces and the other nodes' pods. The
 * node's own pods come from the kubelet's informer. Begins with what the process before knew, and forgets of that what the
 * API does not confirm.
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
import { PolicyMemory, type Remembered } from "./policyMemory.js";

export interface PolicyWatchOptions {
  readonly client: KubeClient;
  readonly policies: NetworkPolicies;
  readonly nodeName: string;
  /** The node's own pods. */
  readonly ownPods: Informer<Pod>;
  /** Where what is known is kept for the next process. */
  readonly file: string;
  readonly log: (level: "warn" | "info", message: string) => void;
}

export class PolicyWatch {
  /** Resolves when all that existed at the start is known. Never, when stopped before. */
  readonly synced: Promise<void>;
  readonly #client: KubeClient;
  readonly #policies: NetworkPolicies;
  readonly #ownPods: Informer<Pod>;
  readonly #informer: Informer<NetworkPolicy>;
  readonly #memory: PolicyMemory;
  #isComplete = false;
  readonly #log: PolicyWatchOptions["log"];
  /** Leaves out this node's pods, and those that have no node yet. */
  readonly #elsewhere: string;
  #peers: { readonly pods: Informer<Pod>; readonly namespaces: Informer<Namespace> } | undefined;

  constructor({ client, policies, nodeName, ownPods, file, log }: PolicyWatchOptions) {
    this.#client = client;
    this.#policies = policies;
    this.#ownPods = ownPods;
    this.#log = log;
    this.#memory = new PolicyMemory(
      file,
      () => this.#known(),
      (error) => log("warn", `network policies are not kept for the next start: ${error.message}`),
    );
    this.#informer = new Informer<NetworkPolicy>(client, "networkpolicies");
    this.#elsewhere = `spec.nodeName!=,spec.nodeName!=${nodeName}`;
    this.synced = this.#informer.synced.then(async () => {
      await this.#peers?.pods.synced;
      await this.#peers?.namespaces.synced;
    });
  }

  start(): void {
    this.#recall();
    void Promise.all([this.synced, this.#ownPods.synced]).then(() => {
      this.#isComplete = true;
      this.#changed();
    });
    const upsert = (policy: NetworkPolicy) => {
      this.#policies.onPolicyUpsert(policy);
      if (!this.#peers) this.#followPeers();
      this.#changed();
    };
    this.#informer.start({
      onAdd: upsert,
      onUpdate: upsert,
      onDelete: (policy) => {
        this.#policies.onPolicyDelete(policy);
        if (this.#informer.items().length === 0) this.#leavePeers();
        this.#changed();
      },
    });
  }

  onOwnPodUpsert(pod: Pod): void {
    this.#policies.onPodUpsert(pod);
    this.#changed();
  }

  onOwnPodDelete(pod: Pod): void {
    this.#policies.onPodDelete(pod);
    this.#changed();
  }

  /** Half of what there is to know would open pods at the next start. */
  #changed(): void {
    if (this.#isComplete) this.#memory.changed();
  }

  /** Isolates pods as the process before did, until the API tells what holds now. */
  #recall(): void {
    const known = this.#memory.load();
    if (known === undefined) return;
    const policies = this.#policies;
    for (const namespace of known.namespaces) policies.onNamespaceUpsert(namespace);
    for (const pod of known.pods) policies.onPodUpsert(pod);
    for (const policy of known.policies) policies.onPolicyUpsert(policy);
    policies.onSynced();
    this.#log("info", `${known.policies.length} network policies hold as they did before the restart`);
    void this.#informer.synced.then(() => this.#forgetPolicies(known));
    void Promise.all([this.synced, this.#ownPods.synced]).then(() => this.#forgetPeers(known));
  }

  #forgetPolicies({ policies }: Remembered): void {
    const there = new Set(this.#informer.items().map(nameOf));
    for (const policy of policies) if (!there.has(nameOf(policy))) this.#policies.onPolicyDelete(policy);
    if (there.size === 0) this.#policies.forgetPeers();
  }

  #forgetPeers({ pods, namespaces }: Remembered): void {
    const known = this.#known();
    // A pod is another than an earlier one of its name; of the rest the name is all that counts.
    const uids = new Set(known.pods.map(({ metadata }) => metadata?.uid));
    for (const pod of pods) if (!uids.has(pod.metadata?.uid)) this.#policies.onPodDelete(pod);
    const names = new Set(known.namespaces.map(nameOf));
    for (const one of namespaces) if (!names.has(nameOf(one))) this.#policies.onNamespaceDelete(one);
  }

  #known(): Remembered {
    return {
      policies: this.#informer.items().map(({ metadata, spec }) => ({ ...slim({ metadata }), spec })),
      pods: [...this.#ownPods.items().map(slimPod), ...(this.#peers?.pods.items() ?? [])],
      namespaces: this.#peers?.namespaces.items() ?? [],
    };
  }

  stop(): void {
    this.#memory.stop();
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
    const noting =
      <T>(act: (object: T) => void) =>
      (object: T) => {
        act(object);
        this.#changed();
      };
    const pod = noting((object: Pod) => policies.onPodUpsert(object));
    const namespace = noting((object: Namespace) => policies.onNamespaceUpsert(object));
    pods.start({ onAdd: pod, onUpdate: pod, onDelete: noting((object) => policies.onPodDelete(object)) });
    namespaces.start({
      onAdd: namespace,
      onUpdate: namespace,
      onDelete: noting((object) => policies.onNamespaceDelete(object)),
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

function nameOf({ metadata }: KubeObject): string {
  return `${metadata?.namespace}/${metadata?.name}`;
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
  const { podIP, podIPs, phase } = pod.status ?? {};
  return {
    ...slim(pod),
    spec: { nodeName, hostNetwork, containers: [{ name: "", ports }] },
    status: { podIP, podIPs, phase },
  };
}
