/**
 * Keeps the node processes running: starts each, takes up those that an earlier cluster process left running, and
 * starts again what died, at once the first time and then with a growing pause.
 */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { type NodeConfig, NodeExit } from "../node/index.js";
import { NODE_OPTIONS, NodePaths } from "./paths.js";
import { endProcess, findProcesses, isAlive, type ProcessRef, readPidFile, writePidFile } from "./pidfile.js";

const CHECK_MS = 200;
const PAUSE_MIN_MS = 500;
const PAUSE_MAX_MS = 10_000;
/** A node that ran this long had a good start: its next death is the first again. */
const STEADY_MS = 30_000;

export interface NodeState {
  readonly name: string;
  readonly pid?: number;
  readonly restarts: number;
  readonly state: "running" | "restarting" | "failed";
  readonly lastExit?: string;
}

export type SupervisorEvent = (node: string, message: string) => void;

export class NodeSupervisor {
  readonly #config: NodeConfig;
  readonly #paths: NodePaths;
  readonly #onEvent: SupervisorEvent;
  #process: ProcessRef | undefined;
  #startedAtMs = 0;
  #pauseMs = 0;
  #restarts = 0;
  #lastExit: string | undefined;
  #failed = false;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(config: NodeConfig, onEvent: SupervisorEvent) {
    this.#config = config;
    this.#paths = new NodePaths(config.dir);
    this.#onEvent = onEvent;
  }

  get state(): NodeState {
    const running = this.#process !== undefined;
    return {
      name: this.#config.name,
      restarts: this.#restarts,
      state: running ? "running" : this.#failed ? "failed" : "restarting",
      ...(this.#process ? { pid: this.#process.pid } : {}),
      ...(this.#lastExit ? { lastExit: this.#lastExit } : {}),
    };
  }

  start(): void {
    mkdirSync(this.#paths.dir, { recursive: true, mode: 0o700 });
    writeFileSync(this.#paths.config, JSON.stringify(this.#config, null, 2), { mode: 0o600 });
    const running = readPidFile(this.#paths.pid) ?? findProcesses(this.#paths.args)[0];
    if (running) this.#adopt(running);
    else this.#spawn();
  }

  /** Stops watching and ends the node process; its pods run on until they are swept. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    if (this.#process) await endProcess(this.#process, 2000);
  }

  #adopt(running: ProcessRef): void {
    this.#process = writePidFile(this.#paths.pid, running.pid);
    this.#startedAtMs = Date.now();
    this.#onEvent(this.#config.name, `still runs (pid ${running.pid}), taken up`);
    // Not our child: the kernel does not tell us of its end.
    const check = () => {
      if (this.#stopped) return;
      if (isAlive(running)) this.#timer = setTimeout(check, CHECK_MS);
      else this.#ended("ended", undefined);
    };
    check();
  }

  #spawn(): void {
    if (this.#stopped) return;
    const log = openSync(this.#paths.log, "a", 0o600);
    const child = spawn(process.execPath, [...NODE_OPTIONS, ...this.#paths.args], {
      detached: true,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    child.unref();
    if (child.pid === undefined) {
      this.#ended("could not be started", undefined);
      return;
    }
    this.#process = writePidFile(this.#paths.pid, child.pid);
    this.#startedAtMs = Date.now();
    child.once("exit", (code, signal) =>
      this.#ended(signal ? `was ended by ${signal}` : `ended with code ${code}`, code),
    );
  }

  #ended(how: string, code: number | null | undefined): void {
    this.#process = undefined;
    this.#failed = code === NodeExit.config;
    this.#lastExit = this.#failed ? `${how}: ${this.#lastWords()}` : how;
    if (this.#stopped) return;
    if (Date.now() - this.#startedAtMs > STEADY_MS) this.#pauseMs = 0;
    // What stands in its way may go: a subnet becomes free, a port is given back.
    const pauseMs = this.#failed ? PAUSE_MAX_MS : this.#pauseMs;
    this.#pauseMs = Math.min(Math.max(pauseMs * 2, PAUSE_MIN_MS), PAUSE_MAX_MS);
    this.#restarts++;
    const pause = pauseMs ? ` in ${pauseMs} ms` : "";
    this.#onEvent(this.#config.name, `${this.#lastExit}; starting it again${pause}`);
    this.#timer = setTimeout(() => this.#spawn(), pauseMs);
  }

  /** The last line that the node wrote, without time, level and name. */
  #lastWords(): string {
    const line = readFileSync(this.#paths.log, "utf8").trim().split("\n").at(-1) ?? "";
    return line.replace(/^\S+ +\w+ +\S+: /, "");
  }
}
