/**
 * One pod on this node from sandbox to removal: starts its containers, restarts them with the kubelet's back-off, runs
 * its probes, reports its status, and ends it gracefully.
 */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Container, ContainerStatus, Pod, PodStatus, Probe, Service } from "../../kube/index.js";
import { type ImageTable, UnknownImageError } from "../images/index.js";
import type { ActionTarget, Connector } from "./actions.js";
import { Backoff } from "./backoff.js";
import { type ContainerCommand, containerCommand } from "./command.js";
import { type ContainerExit, ContainerProcess, type ContainerSpec } from "./container.js";
import { podHostname } from "./env.js";
import { hasHook, runHook } from "./hooks.js";
import { ProbeWorker } from "./probe.js";
import type { SandboxRecord, SandboxStore } from "./sandbox.js";
import { type ContainerView, containerState, isInitialised, isSidecar, podStatus } from "./status.js";

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
  /** Readiness is asked for until the end of the pod. */
  probes: { readonly worker: ProbeWorker; readonly endsWithPod: boolean }[];
}

/** What a container has at least after its preStop hook (kuberuntime_container.go, minimumGracePeriodInSeconds). */
const LEAST_GRACE_MS = 2000;
/** The kubelet waits for a postStart hook without limit; nothing good comes after this. */
const POST_START_MS = 600_000;

function enterProcess({ pid }: ContainerProcess): string[] {
  return ["nsenter", "--target", String(pid), "--net", "--uts", "--mount", "--"];
}

export class PodWorker {
  readonly record: SandboxRecord;
  readonly #context: WorkerContext;
  readonly #inits: readonly Running[];
  readonly #containers: readonly Running[];
  #pod: Pod;
  /** Status as last reported: times of conditions that did not change come from it. */
  #status: PodStatus | undefined;
  /** Only a live worker reports and restarts: not while it takes up what runs, nor once it ends. */
  #phase: "new" | "live" | "ending" | "ended" = "new";

  constructor(context: WorkerContext, pod: Pod, record: SandboxRecord) {
    this.#context = context;
    this.#pod = pod;
    this.#status = pod.status;
    this.record = record;
    const { initContainers = [], containers = [] } = pod.spec ?? {};
    const reason = initContainers.length > 0 ? "PodInitializing" : "ContainerCreating";
    this.#inits = initContainers.map((spec) => this.#newContainer(spec, reason));
    this.#containers = containers.map((spec) => this.#newContainer(spec, reason));
  }

  #newContainer(spec: Container, reason: string): Running {
    const { restartCount = 0, lastState } = this.#known(spec) ?? {};
    const state = { type: "waiting", reason } as const;
    const view = { spec, state, restartCount, lastState, ready: false, started: false };
    return { spec, view, backoff: new Backoff(), probes: [] };
  }

  /** What was last reported of a container. */
  #known({ name }: Container): ContainerStatus | undefined {
    const { initContainerStatuses = [], containerStatuses = [] } = this.#status ?? {};
    return [...initContainerStatuses, ...containerStatuses].find((status) => status.name === name);
  }

  get #all(): readonly Running[] {
    return [...this.#inits, ...this.#containers];
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** Starts what is not running yet; containers that survived a restart of the node process are taken up. */
  async start(): Promise<void> {
    for (const container of this.#all) this.#adopt(container);
    this.#phase = "live";
    this.#report();
    await this.#advance();
  }

  /** Starts what may start now: init containers one after the other, then all containers. */
  async #advance(): Promise<void> {
    if (this.#phase !== "live") return;
    const next = this.#inits.find(({ view }) => !isInitialised(view));
    const wanted = next ? [next] : this.#containers;
    const missing = wanted.filter(({ process, starting }) => process === undefined && starting === undefined);
    await Promise.all(missing.map((container) => this.#run(container)));
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
    for (const container of this.#all) {
      clearTimeout(container.restart);
      for (const probe of container.probes) if (probe.endsWithPod) probe.worker.stop();
    }
    // A shell that is just being started would slip into the namespace while that is taken down.
    await Promise.all(this.#all.map((container) => container.starting));
    const deadlineMs = Date.now() + graceMs;
    await Promise.all(this.#containers.map((container) => this.#end(container, deadlineMs)));
    for (const init of this.#inits.toReversed()) await this.#end(init, deadlineMs);
    this.release();
    await this.#context.sandboxes.remove(this.record);
  }

  /** Asks a container to end, and waits for it until the deadline; after its hook it has two seconds at least. */
  async #end(container: Running, deadlineMs: number): Promise<void> {
    const { process, spec } = container;
    if (!process?.running) return;
    const leftMs = deadlineMs - Date.now();
    let untilMs = deadlineMs;
    if (hasHook(spec, "preStop") && leftMs > 0) {
      await runHook("preStop", this.#target(spec), leftMs).catch((error: Error) =>
        this.#tell("Warning", "FailedPreStopHook", `PreStopHook failed: ${error.message}`),
      );
      untilMs = Math.max(deadlineMs, Date.now() + LEAST_GRACE_MS);
    }
    process.signal("SIGTERM");
    while (Date.now() < untilMs && process.running) await pause(20);
    // Its end is told as well, once it has been noticed.
    for (let waits = 0; waits < 20 && !process.running && container.view.state.type === "running"; waits++)
      await pause(20);
  }

  /** Lets go without ending anything (the node process ends, its pods run on). */
  release(): void {
    this.#phase = "ended";
    for (const container of this.#all) {
      clearTimeout(container.restart);
      for (const probe of container.probes) probe.worker.stop();
      container.process?.release();
    }
  }

  containerDir(name: string): string {
    return join(this.#context.sandboxes.podDir(this.record.uid), name);
  }

  /** Arguments that put a command into the namespaces of a container; undefined while it does not run. */
  enter(name?: string): string[] | undefined {
    const container = this.#find(name);
    const process = container?.view.state.type === "running" ? container.process : undefined;
    return process && enterProcess(process);
  }

  /** Environment of a container (of the first, without a name). */
  environment(name?: string): Record<string, string> {
    const container = this.#find(name);
    return container ? this.#resolve(container.spec).env : {};
  }

  #find(name: string | undefined): Running | undefined {
    return name ? this.#all.find(({ spec }) => spec.name === name) : this.#containers[0];
  }

  /** Readiness counts on where the last node process left it, so that its restart takes no endpoint away. */
  #adopt(container: Running): void {
    const process = ContainerProcess.adopt(this.containerDir(container.spec.name));
    if (!process) return;
    const { readinessProbe, startupProbe } = container.spec;
    const known = this.#known(container.spec);
    const started = startupProbe === undefined || known?.started === true;
    const wasReady = readinessProbe === undefined || known?.ready === true;
    // It may have ended just now, so that its exit code is not noted yet.
    this.#running(container, process, started && process.running, started && wasReady && process.running);
  }

  #run(container: Running): Promise<void> {
    container.starting = this.#start(container);
    return container.starting;
  }

  async #start(container: Running): Promise<void> {
    try {
      const process = await ContainerProcess.start(this.#containerSpec(container.spec));
      // It goes with its sandbox, or the next node process takes it up.
      if (this.#phase !== "live") return;
      const { spec } = container;
      this.#tell("Normal", "Started", `Started container ${spec.name}`);
      container.process = process;
      if (hasHook(spec, "postStart")) await this.#postStart(container, process);
      const started = spec.startupProbe === undefined;
      this.#running(container, process, started, started && spec.readinessProbe === undefined);
      this.#report();
      void this.#advance();
    } catch (error) {
      this.#failed(container, error as Error);
    }
  }

  /** A container whose hook fails is ended, and restarted as its policy says. */
  async #postStart({ spec }: Running, process: ContainerProcess): Promise<void> {
    try {
      await runHook("postStart", this.#target(spec, process), POST_START_MS);
    } catch (error) {
      this.#tell("Warning", "FailedPostStartHook", `PostStartHook failed: ${(error as Error).message}`);
      process.signal("SIGKILL");
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

  #running(container: Running, process: ContainerProcess, started: boolean, ready: boolean): void {
    container.process = process;
    const state = { type: "running", startedAtMs: process.startedAtMs } as const;
    container.view = { ...container.view, state, started, ready };
    container.probes = this.#probes(container, started, ready);
    process.observe((exit) => this.#exited(container, process, exit));
  }

  #target(spec: Container, process?: ContainerProcess): ActionTarget {
    return {
      ip: this.record.ip,
      container: spec,
      enter: () => (process ? enterProcess(process) : this.enter(spec.name)),
      environment: () => this.environment(spec.name),
      connect: this.#context.connect,
    };
  }

  /** Readiness and liveness are asked for once the startup probe has succeeded. */
  #probes(container: Running, started: boolean, ready: boolean): Running["probes"] {
    const { startupProbe, readinessProbe, livenessProbe } = container.spec;
    const target = this.#target(container.spec);
    const make = (
      kind: string,
      probe: Probe,
      initial: boolean | undefined,
      onChange: (ok: boolean) => void,
    ) => {
      const onFailure = (message: string) =>
        this.#tell("Warning", "Unhealthy", `${kind} probe failed: ${message}`);
      const worker = new ProbeWorker(probe, target, initial, { onChange, onFailure });
      return { worker, endsWithPod: kind !== "Readiness" };
    };
    if (startupProbe && !started)
      return [make("Startup", startupProbe, undefined, (ok) => this.#startup(container, ok))];
    const alive = (ok: boolean) => ok || this.#killUnhealthy(container, "liveness");
    return [
      ...(readinessProbe
        ? [make("Readiness", readinessProbe, ready, (ok) => this.#ready(container, ok))]
        : []),
      ...(livenessProbe ? [make("Liveness", livenessProbe, true, alive)] : []),
    ];
  }

  #startup(container: Running, ok: boolean): void {
    for (const { worker } of container.probes) worker.stop();
    if (!ok) {
      this.#killUnhealthy(container, "startup");
      return;
    }
    const ready = container.spec.readinessProbe === undefined;
    container.view = { ...container.view, started: true, ready };
    container.probes = this.#probes(container, true, ready);
    this.#report();
    void this.#advance();
  }

  #ready(container: Running, ok: boolean): void {
    container.view = { ...container.view, ready: ok };
    this.#report();
  }

  #killUnhealthy({ spec, process }: Running, probe: string): void {
    this.#tell("Normal", "Killing", `Container ${spec.name} failed ${probe} probe, will be restarted`);
    process?.signal("SIGKILL");
  }

  #exited(container: Running, { startedAtMs }: ContainerProcess, exit: ContainerExit): void {
    for (const { worker } of container.probes) worker.stop();
    container.probes = [];
    const state = { type: "terminated", startedAtMs, ...exit } as const;
    container.view = { ...container.view, ready: false, started: false, state };
    const restarts = this.#phase !== "ending" && this.#shouldRestart(container, exit.exitCode);
    if (restarts) this.#restartLater(container, exit.finishedAtMs - startedAtMs);
    this.#report();
    void this.#advance();
  }

  /** An init container that has done its work is not needed again; a sidecar always is. */
  #shouldRestart(container: Running, exitCode: number): boolean {
    const policy = this.#pod.spec?.restartPolicy ?? "Always";
    const isInit = this.#inits.includes(container);
    if (isInit && isSidecar(container.spec)) return true;
    if (isInit) return exitCode !== 0 && policy !== "Never";
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
