/**
 * One pod on this node from sandbox to removal: starts its containers, restarts them with the kubelet's back-off, runs
 * its probes, reports its status, and ends it gracefully.
 */
import { join } from "node:path";
import type { Container, Pod, PodStatus, Service } from "../../kube/index.js";
import { type ImageTable, UnknownImageError } from "../images/index.js";
import type { Connector } from "./actions.js";
import { Backoff } from "./backoff.js";
import { type ContainerCommand, containerCommand } from "./command.js";
import { type ContainerExit, ContainerProcess, type ContainerSpec } from "./container.js";
import { podHostname } from "./env.js";
import { ProbeWorker } from "./probe.js";
import type { SandboxRecord, SandboxStore } from "./sandbox.js";
import { type ContainerView, containerState, podStatus } from "./status.js";

/** What a worker needs from the node. */
export interface WorkerContext {
  readonly nodeName: string;
  readonly hostIp: string;
  /** Of a node with IPv6. */
  readonly hostIp6?: string;
  readonly images: ImageTable;
  readonly sandboxes: SandboxStore;
  /** Connects from the node. */
  readonly connect: Connector;
  /** Services of a namespace, for the environment. */
  readonly services: (namespace: string) => readonly Service[];
  readonly report: (pod: Pod, status: PodStatus) => void;
  readonly event: (pod: Pod, type: "Normal" | "Warning", reason: string, message: string) => void;
}

interface Running {
  readonly spec: Container;
  process?: ContainerProcess;
  view: ContainerView;
  readonly backoff: Backoff;
  restart?: NodeJS.Timeout;
  /** A start in progress; ends without an error. */
  starting?: Promise<void>;
  probes: ProbeWorker[];
}

export class PodWorker {
  readonly record: SandboxRecord;
  readonly #context: WorkerContext;
  readonly #containers: readonly Running[];
  #pod: Pod;
  /** Status as last reported: times of conditions that did not change come from it. */
  #status: PodStatus | undefined;
  /** Only a live worker reports and restarts: not while it takes up what runs, nor once it ends. */
  #phase: "new" | "live" | "ended" = "new";

  constructor(context: WorkerContext, pod: Pod, record: SandboxRecord) {
    this.#context = context;
    this.#pod = pod;
    this.#status = pod.status;
    this.record = record;
    this.#containers = (pod.spec?.containers ?? []).map((spec) => {
      const known = pod.status?.containerStatuses?.find((status) => status.name === spec.name);
      const state = { type: "waiting", reason: "ContainerCreating" } as const;
      const { restartCount = 0, lastState } = known ?? {};
      return {
        spec,
        view: { spec, state, restartCount, lastState, ready: false },
        backoff: new Backoff(),
        probes: [],
      };
    });
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** Starts what is not running yet; containers that survived a restart of the node process are taken up. */
  async start(): Promise<void> {
    const missing = this.#containers.filter((container) => !this.#adopt(container));
    this.#phase = "live";
    this.#report();
    await Promise.all(missing.map((container) => this.#run(container)));
  }

  update(pod: Pod): void {
    this.#pod = pod;
  }

  /** SIGTERM, then SIGKILL when the grace period is over, then the sandbox goes. May be repeated when it failed. */
  async stop(graceMs: number): Promise<void> {
    this.release();
    // A shell that is just being started would slip into the namespace while that is taken down.
    await Promise.all(this.#containers.map((container) => container.starting));
    for (const { process } of this.#containers) process?.signal("SIGTERM");
    const deadline = Date.now() + graceMs;
    while (Date.now() < deadline && this.#containers.some(({ process }) => process?.running)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await this.#context.sandboxes.remove(this.record);
  }

  /** Lets go without ending anything (the node process ends, its pods run on). */
  release(): void {
    this.#phase = "ended";
    for (const container of this.#containers) {
      clearTimeout(container.restart);
      for (const probe of container.probes) probe.stop();
      container.process?.release();
    }
  }

  containerDir(name: string): string {
    return join(this.#context.sandboxes.podDir(this.record.uid), name);
  }

  /** Arguments that put a command into the namespaces of a container; undefined while it does not run. */
  enter(name?: string): string[] | undefined {
    const container = this.#find(name);
    const pid = container?.view.state.type === "running" ? container.process?.pid : undefined;
    return pid === undefined
      ? undefined
      : ["nsenter", "--target", String(pid), "--net", "--uts", "--mount", "--"];
  }

  /** Environment of a container (of the first, without a name). */
  environment(name?: string): Record<string, string> {
    const container = this.#find(name);
    return container ? this.#resolve(container.spec).env : {};
  }

  #find(name: string | undefined): Running | undefined {
    return name ? this.#containers.find(({ spec }) => spec.name === name) : this.#containers[0];
  }

  /** Readiness counts on where the last node process left it, so that its restart takes no endpoint away. */
  #adopt(container: Running): boolean {
    const process = ContainerProcess.adopt(this.containerDir(container.spec.name));
    if (!process) return false;
    const known = this.#status?.containerStatuses?.find(({ name }) => name === container.spec.name);
    const wasReady = container.spec.readinessProbe === undefined || known?.ready === true;
    // It may have ended just now, so that its exit code is not noted yet.
    this.#running(container, process, wasReady && process.running);
    return true;
  }

  #run(container: Running): Promise<void> {
    container.starting = this.#start(container);
    return container.starting;
  }

  async #start(container: Running): Promise<void> {
    try {
      const process = await ContainerProcess.start(this.#containerSpec(container.spec));
      // It goes with its sandbox, or the next node process takes it up.
      if (this.#phase === "ended") return;
      this.#tell("Normal", "Started", `Started container ${container.spec.name}`);
      this.#running(container, process, container.spec.readinessProbe === undefined);
      this.#report();
    } catch (error) {
      this.#failed(container, error as Error);
    }
  }

  #containerSpec(spec: Container): ContainerSpec {
    return {
      ...this.#resolve(spec),
      dir: this.containerDir(spec.name),
      netns: this.record.netns,
      hostname: podHostname(this.#pod),
      cwd: spec.workingDir || "/",
    };
  }

  #resolve(spec: Container): ContainerCommand {
    const { nodeName, hostIp, hostIp6, images } = this.#context;
    const { ip: podIp, ip6: podIp6 } = this.record;
    const services = this.#context.services(this.record.namespace);
    return containerCommand(this.#pod, spec, {
      images,
      services,
      nodeName,
      podIp,
      podIp6,
      hostIp,
      hostIp6,
    });
  }

  #running(container: Running, process: ContainerProcess, ready: boolean): void {
    container.process = process;
    const state = { type: "running", startedAtMs: process.startedAtMs } as const;
    container.view = { ...container.view, state, ready };
    container.probes = this.#probes(container, ready);
    process.observe((exit) => this.#exited(container, process, exit));
  }

  #probes(container: Running, ready: boolean): ProbeWorker[] {
    const { spec } = container;
    const target = {
      ip: this.record.ip,
      container: spec,
      enter: () => this.enter(spec.name),
      environment: () => this.environment(spec.name),
      connect: this.#context.connect,
    };
    const failed = (kind: string) => (message: string) =>
      this.#tell("Warning", "Unhealthy", `${kind} probe failed: ${message}`);
    const readiness = {
      onChange: (ok: boolean) => this.#ready(container, ok),
      onFailure: failed("Readiness"),
    };
    const liveness = {
      onChange: (ok: boolean) => ok || this.#killUnhealthy(container),
      onFailure: failed("Liveness"),
    };
    return [
      ...(spec.readinessProbe ? [new ProbeWorker(spec.readinessProbe, target, ready, readiness)] : []),
      ...(spec.livenessProbe ? [new ProbeWorker(spec.livenessProbe, target, true, liveness)] : []),
    ];
  }

  #ready(container: Running, ok: boolean): void {
    container.view = { ...container.view, ready: ok };
    this.#report();
  }

  #killUnhealthy({ spec, process }: Running): void {
    this.#tell("Normal", "Killing", `Container ${spec.name} failed liveness probe, will be restarted`);
    process?.signal("SIGKILL");
  }

  #exited(container: Running, { startedAtMs }: ContainerProcess, exit: ContainerExit): void {
    for (const probe of container.probes) probe.stop();
    container.probes = [];
    container.view = { ...container.view, ready: false, state: { type: "terminated", startedAtMs, ...exit } };
    if (this.#shouldRestart(exit.exitCode)) this.#restartLater(container, exit.finishedAtMs - startedAtMs);
    this.#report();
  }

  #shouldRestart(exitCode: number): boolean {
    const policy = this.#pod.spec?.restartPolicy ?? "Always";
    return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
  }

  #restartLater(container: Running, ranMs: number): void {
    const waitMs = container.backoff.afterRun(ranMs);
    const { name } = container.spec;
    container.view = { ...container.view, lastState: containerState(container.view) };
    if (waitMs > 0) {
      const message = `back-off ${waitMs / 1000}s restarting failed container=${name}`;
      container.view = { ...container.view, state: { type: "waiting", reason: "CrashLoopBackOff", message } };
      this.#tell("Warning", "BackOff", `Back-off restarting failed container ${name}`);
    }
    container.restart = setTimeout(() => {
      container.view = { ...container.view, restartCount: container.view.restartCount + 1 };
      void this.#run(container);
    }, waitMs);
  }

  #failed(container: Running, error: Error): void {
    if (this.#phase === "ended") return;
    const reason = error instanceof UnknownImageError ? "ErrImagePull" : "RunContainerError";
    const state = { type: "waiting", reason, message: error.message } as const;
    container.view = { ...container.view, ready: false, state };
    this.#tell("Warning", "Failed", error.message);
    this.#report();
    container.restart = setTimeout(() => void this.#run(container), container.backoff.afterFailure());
  }

  #tell(type: "Normal" | "Warning", reason: string, message: string): void {
    this.#context.event(this.#pod, type, reason, message);
  }

  #report(): void {
    if (this.#phase !== "live") return;
    const views = this.#containers.map(({ view }) => view);
    const { hostIp, hostIp6 } = this.#context;
    const addresses = { podIp: this.record.ip, podIp6: this.record.ip6, hostIp, hostIp6 };
    this.#status = podStatus({ ...this.#pod, status: this.#status }, views, addresses, Date.now());
    this.#context.report(this.#pod, this.#status);
  }
}
