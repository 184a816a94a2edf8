/**
 * One pod on this node from sandbox to removal: starts its containers in order, reports its status, and ends it
 * gracefully. What happens to each container is podContainer.ts'.
 */
import { join } from "node:path";
import type { Container, ContainerStatus, Pod, PodStatus, Service } from "../../kube/index.js";
import type { ImageTable } from "../images/index.js";
import type { Connector } from "./actions.js";
import { type ContainerCommand, containerCommand } from "./command.js";
import type { ContainerSpec } from "./container.js";
import { kernelHostname } from "./env.js";
import { type ContainerHost, PodContainer, type PodPhase } from "./podContainer.js";
import type { SandboxRecord, SandboxStore } from "./sandbox.js";
import { type ServiceAccountFiles, writeServiceAccount } from "./serviceAccount.js";
import { type ContainerView, isInitialised, isSidecar, podStatus } from "./status.js";

/** What a worker needs from the node. */
export interface WorkerContext {
  readonly nodeName: string;
  readonly hostIp: string;
  /** Of a node with IPv6. */
  readonly hostIp6?: string;
  /** Such as `cluster.local`. */
  readonly zone: string;
  readonly serviceAccounts?: ServiceAccountFiles | undefined;
  readonly images: ImageTable;
  readonly sandboxes: SandboxStore;
  /** Connects from the node. */
  readonly connect: Connector;
  /** Services of a namespace, for the environment. */
  readonly services: (namespace: string) => readonly Service[];
  readonly report: (pod: Pod, status: PodStatus) => void;
  readonly event: (pod: Pod, type: "Normal" | "Warning", reason: string, message: string) => void;
}

/** Kubernetes' default of spec.terminationGracePeriodSeconds. */
export const DEFAULT_GRACE_SECONDS = 30;

export class PodWorker {
  readonly record: SandboxRecord;
  readonly #context: WorkerContext;
  readonly #inits: readonly PodContainer[];
  readonly #containers: readonly PodContainer[];
  #pod: Pod;
  /** Status as last reported: times of conditions that did not change come from it. */
  #status: PodStatus | undefined;
  #phase: PodPhase = "new";

  constructor(context: WorkerContext, pod: Pod, record: SandboxRecord) {
    this.#context = context;
    this.#pod = pod;
    this.#status = pod.status;
    this.record = record;
    const { initContainers = [], containers = [] } = pod.spec ?? {};
    const reason = initContainers.length > 0 ? "PodInitializing" : "ContainerCreating";
    const host = this.#containerHost();
    const make = (spec: Container) => new PodContainer(spec, host, reason, this.#known(spec));
    this.#inits = initContainers.map(make);
    this.#containers = containers.map(make);
  }

  #containerHost(): ContainerHost {
    const worker = this;
    return {
      ip: this.record.ip,
      connect: this.#context.connect,
      get phase() {
        return worker.#phase;
      },
      get graceMs() {
        return (worker.#pod.spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000;
      },
      dir: (name) => this.containerDir(name),
      toRun: (spec) => this.#toRun(spec),
      environment: (spec) => this.#resolve(spec).env,
      restarts: (container, exitCode) => this.#phase !== "ending" && this.#shouldRestart(container, exitCode),
      tell: (type, reason, message) => this.#context.event(this.#pod, type, reason, message),
      changed: () => {
        this.#report();
        void this.#advance();
      },
    };
  }

  /** What was last reported of a container. */
  #known({ name }: Container): ContainerStatus | undefined {
    const { initContainerStatuses = [], containerStatuses = [] } = this.#status ?? {};
    return [...initContainerStatuses, ...containerStatuses].find((status) => status.name === name);
  }

  get #all(): readonly PodContainer[] {
    return [...this.#inits, ...this.#containers];
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** Starts what is not running yet; containers that survived a restart of the node process are taken up. */
  async start(): Promise<void> {
    for (const container of this.#all) container.adopt(this.#known(container.spec));
    this.#phase = "live";
    this.#report();
    await this.#advance();
  }

  /** Starts what may start now: init containers one after the other, then all containers. */
  async #advance(): Promise<void> {
    if (this.#phase !== "live") return;
    const next = this.#inits.find(({ view }) => !isInitialised(view));
    const wanted = next ? [next] : this.#containers;
    await Promise.all(wanted.filter(({ untouched }) => untouched).map((container) => container.run()));
  }

  update(pod: Pod): void {
    this.#pod = pod;
  }

  /**
   * preStop hooks, SIGTERM, then SIGKILL when the grace period is over, then the sandbox goes. Sidecars are asked after
   * the containers have ended. Readiness is told until then. May be repeated when it failed.
   */
  async stop(graceMs: number): Promise<void> {
    if (this.#phase === "live") this.#phase = "ending";
    for (const container of this.#all) container.quiet();
    // A shell that is just being started would slip into the namespace while that is taken down.
    await Promise.all(this.#all.map(({ starting }) => starting));
    const deadlineMs = Date.now() + graceMs;
    await Promise.all(this.#containers.map((container) => container.end(deadlineMs)));
    for (const init of this.#inits.toReversed()) await init.end(deadlineMs);
    this.release();
    await this.#context.sandboxes.remove(this.record);
  }

  /** Lets go without ending anything (the node process ends, its pods run on). */
  release(): void {
    this.#phase = "ended";
    for (const container of this.#all) container.release();
  }

  containerDir(name: string): string {
    return join(this.#context.sandboxes.podDir(this.record.uid), name);
  }

  /** Arguments that put a command into the namespaces of a container; undefined while it does not run. */
  enter(name?: string): string[] | undefined {
    return this.#find(name)?.enter();
  }

  /** Environment of a container (of the first, without a name). */
  environment(name?: string): Record<string, string> {
    const container = this.#find(name);
    return container ? this.#resolve(container.spec).env : {};
  }

  #find(name: string | undefined): PodContainer | undefined {
    return name ? this.#all.find(({ spec }) => spec.name === name) : this.#containers[0];
  }

  #toRun(spec: Container): ContainerSpec {
    const { sandboxes, serviceAccounts } = this.#context;
    const podDir = sandboxes.podDir(this.record.uid);
    return {
      ...this.#resolve(spec),
      secretsDir: writeServiceAccount(this.#pod, podDir, serviceAccounts),
      dir: this.containerDir(spec.name),
      netns: this.record.netns,
      hostname: kernelHostname(this.#pod, this.#context.zone),
      cwd: spec.workingDir || "/",
    };
  }

  #resolve(spec: Container): ContainerCommand {
    const { nodeName, hostIp, hostIp6, images, zone } = this.#context;
    const { ip: podIp, ip6: podIp6, namespace } = this.record;
    const services = this.#context.services(namespace);
    const context = { images, services, nodeName, zone, podIp, podIp6, hostIp, hostIp6 };
    return containerCommand(this.#pod, spec, context);
  }

  /** An init container that has done its work is not needed again; a sidecar always is. */
  #shouldRestart(container: PodContainer, exitCode: number): boolean {
    const policy = this.#pod.spec?.restartPolicy ?? "Always";
    const isInit = this.#inits.includes(container);
    if (isInit && isSidecar(container.spec)) return true;
    if (isInit) return exitCode !== 0 && policy !== "Never";
    return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
  }

  #report(): void {
    if (this.#phase !== "live" && this.#phase !== "ending") return;
    const [inits, views] = [this.#inits, this.#containers].map((all) => all.map(({ view }) => view)) as [
      ContainerView[],
      ContainerView[],
    ];
    const { hostIp, hostIp6 } = this.#context;
    const addresses = { podIp: this.record.ip, podIp6: this.record.ip6, hostIp, hostIp6 };
    this.#status = podStatus({ ...this.#pod, status: this.#status }, views, addresses, Date.now(), inits);
    this.#context.report(this.#pod, this.#status);
  }
}
