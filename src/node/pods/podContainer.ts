/** One container of a pod over all its runs: started, probed, restarted with the kubelet's back-off, ended gracefully. */
import { setTimeout as pause } from "node:timers/promises";
import type { Container, ContainerStatus, Probe } from "../../kube/index.js";
import { UnknownImageError } from "../images/index.js";
import type { ActionTarget, Connector } from "./actions.js";
import { Backoff } from "./backoff.js";
import { type ContainerExit, ContainerProcess, type ContainerSpec } from "./container.js";
import { hasHook, runHook } from "./hooks.js";
import { ProbeWorker } from "./probe.js";
import { type ContainerView, containerState } from "./status.js";

/** Only a live pod restarts and reports: not while it takes up what runs, nor once it ends. */
export type PodPhase = "new" | "live" | "ending" | "ended";

/** What a container needs of its pod. */
export interface ContainerHost {
  readonly ip: string;
  readonly phase: PodPhase;
  /** Connects from the node. */
  readonly connect: Connector;
  /** Directory of the container's files. */
  dir(name: string): string;
  /** What to run now. @throws Error when the container cannot run as it is described */
  toRun(spec: Container): ContainerSpec;
  environment(spec: Container): Readonly<Record<string, string>>;
  restarts(container: PodContainer, exitCode: number): boolean;
  /** Milliseconds between SIGTERM and SIGKILL, when the pod itself stays. */
  readonly graceMs: number;
  tell(type: "Normal" | "Warning", reason: string, message: string): void;
  /** The container's view is another than before. */
  changed(): void;
}

interface RunningProbe {
  readonly worker: ProbeWorker;
  /** Readiness is asked for until the end of the pod. */
  readonly endsWithPod: boolean;
}

/** What a container has at least after its preStop hook (kuberuntime_container.go, minimumGracePeriodInSeconds). */
const LEAST_GRACE_MS = 2000;
/** The kubelet waits for a postStart hook without limit; nothing good comes after this. */
const POST_START_MS = 600_000;

function enterProcess({ pid }: ContainerProcess): string[] {
  return ["nsenter", "--target", String(pid), "--net", "--uts", "--mount", "--"];
}

export class PodContainer {
  readonly #host: ContainerHost;
  readonly #backoff = new Backoff();
  #view: ContainerView;
  #process: ContainerProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #begun = false;
  /** A start in progress; ends without an error. */
  #starting: Promise<void> | undefined;
  #probes: readonly RunningProbe[] = [];

  /** @param known what was last reported of it */
  constructor(
    readonly spec: Container,
    host: ContainerHost,
    reason: string,
    known: ContainerStatus | undefined,
  ) {
    this.#host = host;
    const { restartCount = 0, lastState } = known ?? {};
    const state = { type: "waiting", reason } as const;
    this.#view = { spec, state, restartCount, lastState, ready: false, started: false };
  }

  get view(): ContainerView {
    return this.#view;
  }

  /** Whether it was never started, nor taken up. */
  get untouched(): boolean {
    return this.#process === undefined && !this.#begun;
  }

  /** Ends without an error when the start in progress, if there is one, is over. */
  get starting(): Promise<void> | undefined {
    return this.#starting;
  }

  /** Arguments that put a command into its namespaces; undefined while it does not run. */
  enter(): string[] | undefined {
    const process = this.#view.state.type === "running" ? this.#process : undefined;
    return process && enterProcess(process);
  }

  /**
   * Takes up what an earlier node process started. Readiness counts on where that one left it, so that its restart
   * takes no endpoint away.
   */
  adopt(known: ContainerStatus | undefined): void {
    const process = ContainerProcess.adopt(this.#host.dir(this.spec.name));
    if (!process) return;
    const { readinessProbe, startupProbe } = this.spec;
    const started = startupProbe === undefined || known?.started === true;
    const wasReady = readinessProbe === undefined || known?.ready === true;
    // It may have ended just now, so that its exit code is not noted yet.
    this.#running(process, started && process.running, started && wasReady && process.running);
  }

  run(): Promise<void> {
    this.#begun = true;
    this.#starting = this.#start();
    return this.#starting;
  }

  /** The pod begins to end: no restarts, and readiness alone is still asked for. */
  quiet(): void {
    clearTimeout(this.#restart);
    for (const { worker, endsWithPod } of this.#probes) if (endsWithPod) worker.stop();
  }

  /** Lets go without ending anything (the node process ends, its pods run on). */
  release(): void {
    clearTimeout(this.#restart);
    for (const { worker } of this.#probes) worker.stop();
    this.#process?.release();
  }

  /** Asks it to end, and waits for it until the deadline; after its hook it has two seconds at least. */
  async end(deadlineMs: number): Promise<void> {
    const process = this.#process;
    if (!process?.running) return;
    await this.#askToEnd(process, deadlineMs);
    // Its end is told as well, once it has been noticed.
    for (let waits = 0; waits < 20 && !process.running && this.#view.state.type === "running"; waits++)
      await pause(20);
  }

  /** preStop hook, SIGTERM, and the wait; true when it has ended. */
  async #askToEnd(process: ContainerProcess, deadlineMs: number): Promise<boolean> {
    const leftMs = deadlineMs - Date.now();
    let untilMs = deadlineMs;
    if (hasHook(this.spec, "preStop") && leftMs > 0) {
      await runHook("preStop", this.#target(process), leftMs).catch((error: Error) =>
        this.#host.tell("Warning", "FailedPreStopHook", `PreStopHook failed: ${error.message}`),
      );
      untilMs = Math.max(deadlineMs, Date.now() + LEAST_GRACE_MS);
    }
    process.signal("SIGTERM");
    while (Date.now() < untilMs && process.running) await pause(20);
    return !process.running;
  }

  async #start(): Promise<void> {
    const { spec } = this;
    try {
      const process = await ContainerProcess.start(this.#host.toRun(spec));
      // It goes with its sandbox, or the next node process takes it up.
      if (this.#host.phase !== "live") return;
      this.#host.tell("Normal", "Started", `Started container ${spec.name}`);
      this.#process = process;
      if (hasHook(spec, "postStart")) await this.#postStart(process);
      const started = spec.startupProbe === undefined;
      this.#running(process, started, started && spec.readinessProbe === undefined);
      this.#host.changed();
    } catch (error) {
      this.#failed(error as Error);
    }
  }

  /** A container whose hook fails is ended, and restarted as its policy says. */
  async #postStart(process: ContainerProcess): Promise<void> {
    try {
      await runHook("postStart", this.#target(process), POST_START_MS);
    } catch (error) {
      this.#host.tell("Warning", "FailedPostStartHook", `PostStartHook failed: ${(error as Error).message}`);
      process.signal("SIGKILL");
    }
  }

  #running(process: ContainerProcess, started: boolean, ready: boolean): void {
    this.#process = process;
    const state = { type: "running", startedAtMs: process.startedAtMs } as const;
    this.#view = { ...this.#view, state, started, ready };
    this.#probes = this.#newProbes(started, ready);
    process.observe((exit) => this.#exited(process, exit));
  }

  #target(process?: ContainerProcess): ActionTarget {
    return {
      ip: this.#host.ip,
      container: this.spec,
      enter: () => (process ? enterProcess(process) : this.enter()),
      environment: () => this.#host.environment(this.spec),
      connect: this.#host.connect,
    };
  }

  /** Readiness and liveness are asked for once the startup probe has succeeded. */
  #newProbes(started: boolean, ready: boolean): RunningProbe[] {
    const { startupProbe, readinessProbe, livenessProbe } = this.spec;
    const target = this.#target();
    const make = (
      kind: string,
      probe: Probe,
      initial: boolean | undefined,
      onChange: (ok: boolean) => void,
    ) => {
      const onFailure = (message: string) =>
        this.#host.tell("Warning", "Unhealthy", `${kind} probe failed: ${message}`);
      const worker = new ProbeWorker(probe, target, initial, { onChange, onFailure });
      return { worker, endsWithPod: kind !== "Readiness" };
    };
    if (startupProbe && !started)
      return [make("Startup", startupProbe, undefined, (ok) => this.#startup(startupProbe, ok))];
    return [
      ...(readinessProbe ? [make("Readiness", readinessProbe, ready, (ok) => this.#ready(ok))] : []),
      ...(livenessProbe
        ? [make("Liveness", livenessProbe, true, (ok) => ok || this.#unhealthy("liveness", livenessProbe))]
        : []),
    ];
  }

  #startup(probe: Probe, ok: boolean): void {
    for (const { worker } of this.#probes) worker.stop();
    if (!ok) {
      this.#unhealthy("startup", probe);
      return;
    }
    const ready = this.spec.readinessProbe === undefined;
    this.#view = { ...this.#view, started: true, ready };
    this.#probes = this.#newProbes(true, ready);
    this.#host.changed();
  }

  #ready(ok: boolean): void {
    this.#view = { ...this.#view, ready: ok };
    this.#host.changed();
  }

  /** Ended as with its pod, but with the probe's own time if it has one; its end restarts it. */
  #unhealthy(kind: string, { terminationGracePeriodSeconds: seconds }: Probe): void {
    const process = this.#process;
    if (!process) return;
    this.#host.tell(
      "Normal",
      "Killing",
      `Container ${this.spec.name} failed ${kind} probe, will be restarted`,
    );
    for (const { worker, endsWithPod } of this.#probes) if (endsWithPod) worker.stop();
    const graceMs = seconds === undefined ? this.#host.graceMs : seconds * 1000;
    void this.#askToEnd(process, Date.now() + Math.max(graceMs, LEAST_GRACE_MS)).then(
      (ended) => ended || process.signal("SIGKILL"),
    );
  }

  #exited({ startedAtMs }: ContainerProcess, exit: ContainerExit): void {
    for (const { worker } of this.#probes) worker.stop();
    this.#probes = [];
    const state = { type: "terminated", startedAtMs, ...exit } as const;
    this.#view = { ...this.#view, ready: false, started: false, state };
    if (this.#host.restarts(this, exit.exitCode)) this.#restartLater(exit.finishedAtMs - startedAtMs);
    this.#host.changed();
  }

  #restartLater(ranMs: number): void {
    const waitMs = this.#backoff.afterRun(ranMs);
    const { name } = this.spec;
    this.#view = { ...this.#view, lastState: containerState(this.#view) };
    if (waitMs > 0) {
      const message = `back-off ${waitMs / 1000}s restarting failed container=${name}`;
      this.#view = { ...this.#view, state: { type: "waiting", reason: "CrashLoopBackOff", message } };
      this.#host.tell("Warning", "BackOff", `Back-off restarting failed container ${name}`);
    }
    this.#restart = setTimeout(() => {
      this.#view = { ...this.#view, restartCount: this.#view.restartCount + 1 };
      void this.run();
    }, waitMs);
  }

  #failed(error: Error): void {
    if (this.#host.phase === "ended") return;
    const reason = error instanceof UnknownImageError ? "ErrImagePull" : "RunContainerError";
    const state = { type: "waiting", reason, message: error.message } as const;
    this.#view = { ...this.#view, ready: false, state };
    this.#host.tell("Warning", "Failed", error.message);
    this.#host.changed();
    this.#restart = setTimeout(() => void this.run(), this.#backoff.afterFailure());
  }
}
