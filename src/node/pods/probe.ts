/** Readiness and liveness probes as the kubelet runs them: exec, TCP and HTTP, with thresholds. */
import { execFile } from "node:child_process";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import type { Container, Probe } from "../../kube/index.js";

/** What a probe needs to know of the container it asks. */
export interface ProbeTarget {
  readonly ip: string;
  readonly container: Container;
  /** Arguments that bring a command into the pod's namespaces, or undefined when nothing runs. */
  readonly enter: () => readonly string[] | undefined;
  /** The container's environment, which an exec probe's command gets too. */
  readonly environment: () => Readonly<Record<string, string>>;
}

/** What a probe tells. */
export interface ProbeEvents {
  /** The answer that counts has changed, after as many answers in a row as the threshold asks for. */
  readonly onChange: (ok: boolean) => void;
  /** A failure, for another reason than the one before; whether it counts is `onChange`'s matter. */
  readonly onFailure: (message: string) => void;
}

/** As much of an HTTP answer as is read (kubelet pkg/probe/http). */
const MAX_BODY_BYTES = 10 * 1024;

/** Runs one probe on its schedule and reports each change of the answer (kubelet prober/worker.go). */
export class ProbeWorker {
  readonly #probe: Probe;
  readonly #target: ProbeTarget;
  readonly #events: ProbeEvents;
  #timer: NodeJS.Timeout | undefined;
  /** Why the last probe failed; undefined when it did not. */
  #failure: string | undefined;
  #streak = 0;
  #result: boolean;
  #stopped = false;

  /** `initial` is what counts until the first change: false for readiness, true for liveness. */
  constructor(probe: Probe, target: ProbeTarget, initial: boolean, events: ProbeEvents) {
    this.#probe = probe;
    this.#result = initial;
    this.#target = target;
    this.#events = events;
    this.#schedule((probe.initialDelaySeconds ?? 0) * 1000);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(delayMs: number): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#run(), delayMs);
    this.#timer.unref();
  }

  async #run(): Promise<void> {
    const failure = await probeOnce(this.#probe, this.#target).then(() => undefined, reason);
    if (this.#stopped) return;
    this.#note(failure);
    this.#schedule((this.#probe.periodSeconds ?? 10) * 1000);
  }

  #note(failure: string | undefined): void {
    const ok = failure === undefined;
    const same = ok === (this.#failure === undefined);
    this.#streak = same ? this.#streak + 1 : 1;
    if (!ok && failure !== this.#failure) this.#events.onFailure(failure);
    this.#failure = failure;
    const needed = ok ? (this.#probe.successThreshold ?? 1) : (this.#probe.failureThreshold ?? 3);
    if (this.#streak < needed || ok === this.#result) return;
    this.#result = ok;
    this.#events.onChange(ok);
  }
}

/** A connection tried on several addresses fails with an error that has no words of its own. */
function reason(error: Error | AggregateError): string {
  const first: Error = error instanceof AggregateError ? error.errors[0] : error;
  return first.message || "failed";
}

/** Asks once; rejects with the reason when the answer is not good. */
export async function probeOnce(probe: Probe, target: ProbeTarget): Promise<void> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  if (probe.exec) return probeExec(probe.exec.command ?? [], target, timeoutMs);
  if (probe.tcpSocket) {
    return probeTcp(
      probe.tcpSocket.host ?? target.ip,
      probePort(probe.tcpSocket.port, target.container),
      timeoutMs,
    );
  }
  if (probe.httpGet) return probeHttp(probe.httpGet, target, timeoutMs);
  throw new Error("only exec, tcpSocket and httpGet probes are supported");
}

/** A probe's port by number or by the name of a container port. */
export function probePort(port: number | string, container: Container): number {
  if (typeof port === "number") return port;
  const named = container.ports?.find((candidate) => candidate.name === port);
  const number = named?.containerPort ?? Number(port);
  if (!Number.isInteger(number)) throw new Error(`no container port is named ${port}`);
  return number;
}

function probeExec(command: readonly string[], target: ProbeTarget, timeoutMs: number): Promise<void> {
  const enter = target.enter();
  if (!enter) return Promise.reject(new Error("the container does not run"));
  const [program = "", ...args] = [...enter, ...command];
  return new Promise((resolve, reject) => {
    const options = {
      timeout: timeoutMs,
      killSignal: "SIGKILL",
      env: target.environment(),
      cwd: target.container.workingDir ?? "/",
    } as const;
    execFile(program, args, options, (error, stdout, stderr) => {
      if (!error) resolve();
      else if (error.killed)
        reject(new Error(`command ${command.join(" ")} timed out after ${timeoutMs} ms`));
      else
        reject(
          new Error(
            `command failed: ${(stderr || stdout || `exit code ${error.code}`).trim().slice(0, 200)}`,
          ),
        );
    });
  });
}

function probeTcp(host: string, port: number, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`dial tcp ${host}:${port}: i/o timeout`)));
    socket.on("error", reject);
    socket.once("connect", () => {
      socket.destroy();
      resolve();
    });
  });
}

function probeHttp(
  get: NonNullable<Probe["httpGet"]>,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<void> {
  const port = probePort(get.port, target.container);
  const headers: Record<string, string> = { "User-Agent": "kube-probe/podwire", Connection: "close" };
  for (const header of get.httpHeaders ?? []) headers[header.name] = header.value;
  const host = get.host ?? target.ip;
  const path = get.path ?? "/";
  const options = { host, port, path, headers, agent: false, rejectUnauthorized: false };
  return new Promise((resolve, reject) => {
    const asked = get.scheme === "HTTPS" ? httpsRequest(options) : httpRequest(options);
    const late = () =>
      asked.destroy(new Error(`Get "${path}" from ${host}:${port}: no answer in ${timeoutMs} ms`));
    const timer = setTimeout(late, timeoutMs);
    asked.once("response", (response) => {
      const code = response.statusCode ?? 0;
      if (code >= 200 && code < 400) resolve();
      else reject(new Error(`HTTP probe failed with statuscode: ${code}`));
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_BODY_BYTES) asked.destroy();
      });
    });
    asked.on("error", reject);
    asked.once("close", () => clearTimeout(timer));
    asked.end();
  });
}
