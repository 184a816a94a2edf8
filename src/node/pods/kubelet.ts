/**
 * The kubelet part: makes the pods that the API says belong to this node, and only those. Reconciles from the
 * informer's cache, one pod at a time each, so that a pod's events can come in any order and number.
 */

import {
  conflictsWith,
  type Informer,
  type KubeClient,
  type Pod,
  type PodStatus,
  recordEvent,
  type Service,
  StatusError,
} from "../../kube/index.js";
import type { ImageTable } from "../images/index.js";
import type { Connector } from "./actions.js";
import { isApiService } from "./env.js";
import { hostPortsOf } from "./hostPorts.js";
import type { PodIpam } from "./ipam.js";
import { DEFAULT_ZONE, type PodDns, writePodFiles } from "./podFiles.js";
import { StatusReporter } from "./reporter.js";
import { podMac, type SandboxNetwork, type SandboxRecord, type SandboxStore } from "./sandbox.js";
import type { ServiceAccountFiles } from "./serviceAccount.js";
import { DEFAULT_GRACE_SECONDS, PodWorker, type WorkerContext } from "./worker.js";

const RETRY_MS = 1000;

export interface KubeletOptions {
  readonly lab: string;
  readonly nodeName: string;
  readonly hostIp: string;
  /** Of a node with IPv6. */
  readonly hostIp6?: string | undefined;
  readonly client: KubeClient;
  readonly pods: Informer<Pod>;
  readonly services: Informer<Service>;
  readonly images: ImageTable;
  readonly sandboxes: SandboxStore;
  readonly ipam: PodIpam;
  readonly network: SandboxNetwork;
  /** Connects from the node's own network. */
  readonly connect: Connector;
  readonly serviceAccounts?: ServiceAccountFiles | undefined;
  /** Cluster DNS, when the lab has it. */
  readonly dns?: PodDns | undefined;
  readonly log: (level: "info" | "warn", message: string) => void;
}

export class Kubelet {
  readonly #options: KubeletOptions;
  readonly #workers = new Map<string, PodWorker>();
  /** Work in progress per pod uid: at most one step at a time, and whether another is wanted after it. */
  readonly #busy = new Map<string, { again: boolean }>();
  readonly #adopted = new Map<string, SandboxRecord>();
  readonly #reporter: StatusReporter;
  #stopped = false;

  constructor(options: KubeletOptions) {
    this.#options = options;
    this.#reporter = new StatusReporter(options.client, options.log);
  }

  /** Attaches the TAPs of pods that survived a restart of this process, before the API has said anything. */
  async adoptSandboxes(): Promise<void> {
    for (const record of this.#options.sandboxes.list()) {
      const claimed = record.hostNetwork === true || this.#claim(record);
      if (claimed && this.#options.sandboxes.adopt(record)) {
        this.#adopted.set(record.uid, record);
      } else {
        if (claimed) this.#releaseIp(record);
        this.#options.log(
          "info",
          `pod ${record.namespace}/${record.name}: its sandbox cannot be taken up again, removing it`,
        );
        await this.#options.sandboxes.remove(record);
      }
    }
  }

  /** Runs from now on; call it once the informers have synced. */
  start(): void {
    for (const record of this.#adopted.values()) {
      if (!this.#find(record.uid)) this.reconcile(record.uid);
    }
    for (const pod of this.#options.pods.items()) this.reconcile(pod.metadata?.uid ?? "");
  }

  /** Ends the bookkeeping; the pods run on. */
  stop(): void {
    this.#stopped = true;
    this.#reporter.stop();
    for (const worker of this.#workers.values()) worker.release();
  }

  /** The worker of a pod by namespace and name. */
  worker(namespace: string, name: string): PodWorker | undefined {
    for (const worker of this.#workers.values()) {
      if (worker.record.namespace === namespace && worker.record.name === name) return worker;
    }
    return undefined;
  }

  get podCount(): number {
    return this.#workers.size;
  }

  /** Brings one pod to what the API says of it; called for every event of that pod. */
  reconcile(uid: string): void {
    const busy = this.#busy.get(uid);
    if (busy) {
      busy.again = true;
      return;
    }
    if (this.#stopped) return;
    const mark = { again: false };
    this.#busy.set(uid, mark);
    void this.#step(uid)
      .catch((error: Error) => {
        this.#options.log("warn", `pod ${this.#name(uid)}: ${error.message}`);
        if (!this.#stopped) setTimeout(() => this.reconcile(uid), RETRY_MS).unref();
      })
      .finally(() => {
        this.#busy.delete(uid);
        if (mark.again) this.reconcile(uid);
      });
  }

  async #step(uid: string): Promise<void> {
    const pod = this.#find(uid);
    const worker = this.#workers.get(uid);
    if (!pod) await this.#forget(uid, worker);
    else if (pod.metadata?.deletionTimestamp) await this.#terminate(uid, pod, worker);
    else if (worker) worker.update(pod);
    else await this.#create(uid, pod);
  }

  async #create(uid: string, pod: Pod): Promise<void> {
    if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return;
    const { sandboxes, ipam, network } = this.#options;
    let record = this.#adopted.get(uid);
    if (!record) {
      if (this.#refuses(uid, pod)) return;
      record = this.#newRecord(uid, pod, pod.spec?.hostNetwork ? undefined : ipam.allocate());
      try {
        await sandboxes.create(record, network);
      } catch (error) {
        this.#releaseIp(record);
        this.#event(pod, "Warning", "FailedCreatePodSandBox", (error as Error).message);
        throw error;
      }
    }
    writePodFiles(pod, record, this.#options.dns);
    this.#adopted.delete(uid);
    const worker = new PodWorker(this.#context(), pod, record);
    this.#workers.set(uid, worker);
    await worker.start();
  }

  /** What a pod bound without the scheduler cannot have is for the kubelet to see (lifecycle/predicate.go). */
  #refuses(uid: string, pod: Pod): boolean {
    const others = [...this.#workers.values()].map((worker) => worker.pod);
    const adopted = this.#options.pods
      .items()
      .filter(({ metadata }) => this.#adopted.has(metadata?.uid ?? ""));
    const active = [...others, ...adopted].filter(
      ({ metadata, status }) =>
        metadata?.uid !== uid && status?.phase !== "Succeeded" && status?.phase !== "Failed",
    );
    if (!conflictsWith(pod, active)) return false;
    const [reason, message] = ["NodePorts", "Predicate NodePorts failed"];
    this.#event(pod, "Warning", reason, message);
    const startTime = `${new Date().toISOString().slice(0, 19)}Z`;
    const status = { phase: "Failed", reason, message: `Pod was rejected: ${message}`, startTime };
    this.#reporter.report(pod, status as PodStatus);
    return true;
  }

  async #terminate(uid: string, pod: Pod, worker: PodWorker | undefined): Promise<void> {
    const seconds =
      pod.metadata?.deletionGracePeriodSeconds ??
      pod.spec?.terminationGracePeriodSeconds ??
      DEFAULT_GRACE_SECONDS;
    if (worker)
      this.#event(pod, "Normal", "Killing", `Stopping container ${pod.spec?.containers?.[0]?.name ?? ""}`);
    await this.#remove(uid, worker, seconds * 1000);
    try {
      await this.#options.client.delete("pods", pod.metadata?.namespace, pod.metadata?.name ?? "", {
        gracePeriodSeconds: 0,
        preconditions: { uid },
      });
    } catch (error) {
      if (!(error instanceof StatusError) || ![404, 409].includes(error.status.code ?? 0)) throw error;
    }
  }

  async #forget(uid: string, worker: PodWorker | undefined): Promise<void> {
    await this.#remove(uid, worker, 0);
  }

  async #remove(uid: string, worker: PodWorker | undefined, graceMs: number): Promise<void> {
    const adopted = this.#adopted.get(uid);
    if (worker) await worker.stop(graceMs);
    else if (adopted) await this.#options.sandboxes.remove(adopted);
    const record = worker?.record ?? adopted;
    if (record) this.#releaseIp(record);
    this.#workers.delete(uid);
    this.#adopted.delete(uid);
    this.#reporter.forget(uid);
  }

  #find(uid: string): Pod | undefined {
    return this.#options.pods.items().find((pod) => pod.metadata?.uid === uid);
  }

  #name(uid: string): string {
    const pod = this.#find(uid);
    return pod ? `${pod.metadata?.namespace}/${pod.metadata?.name}` : uid;
  }

  /** Whether the sandbox has the addresses that this node would give it; under another lease it has not. */
  #claim({ ip, ip6 }: SandboxRecord): boolean {
    const { ipam } = this.#options;
    if (!ipam.claim(ip)) return false;
    if (ipam.second(ip) === ip6) return true;
    ipam.release(ip);
    return false;
  }

  #releaseIp(record: SandboxRecord): void {
    if (!record.hostNetwork) this.#options.ipam.release(record.ip);
  }

  /** Without an address of its own the pod is in its node's network. */
  #newRecord(uid: string, pod: Pod, ip: string | undefined): SandboxRecord {
    const namespace = pod.metadata?.namespace ?? "default";
    const name = pod.metadata?.name ?? "";
    const { hostIp, hostIp6, ipam } = this.#options;
    const ip6 = ip && ipam.second(ip);
    const hostPorts = hostPortsOf(pod);
    return {
      ...(hostPorts.length > 0 ? { hostPorts } : {}),
      uid,
      namespace,
      name,
      netns: `pw-${this.#options.lab}.${namespace}.${name}`,
      ...(ip === undefined
        ? { ip: hostIp, ...(hostIp6 && { ip6: hostIp6 }), mac: "", hostNetwork: true }
        : { ip, ...(ip6 && { ip6 }), mac: podMac(ip) }),
    };
  }

  #context(): WorkerContext {
    const { nodeName, hostIp, hostIp6, images, sandboxes, services, connect, dns, serviceAccounts } =
      this.#options;
    return {
      connect,
      nodeName,
      zone: dns?.zone ?? DEFAULT_ZONE,
      hostIp,
      ...(hostIp6 && { hostIp6 }),
      serviceAccounts,
      images,
      sandboxes,
      services: (namespace) =>
        services
          .items()
          .filter((service) => service.metadata?.namespace === namespace || isApiService(service)),
      report: (pod: Pod, status: PodStatus) => this.#reporter.report(pod, status),
      event: (pod, type, reason, message) => this.#event(pod, type, reason, message),
    };
  }

  #event(pod: Pod, type: "Normal" | "Warning", reason: string, message: string): void {
    const component = `kubelet, ${this.#options.nodeName}`;
    void recordEvent(this.#options.client, {
      involved: { ...pod, apiVersion: "v1", kind: "Pod" },
      type,
      reason,
      message,
      component,
    }).catch(() => {});
  }
}
