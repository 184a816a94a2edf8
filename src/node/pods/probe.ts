/** Readiness and liveness probes as the kubelet runs them: exec, TCP, HTTP and gRPC, with thresholds. */
import type { Probe } from "../../kube/index.js";
import { type ActionTarget, dialTcp, getHttp, portOf, runInside } from "./actions.js";
import { checkGrpc } from "./grpcHealth.js";

/** What a probe tells. */
export interface ProbeEvents {
  /** The answer that counts has changed, after as many answers in a row as the threshold asks for. */
  readonly onChange: (ok: boolean) => void;
  /** A failure, for another reason than the one before; whether it counts is `onChange`'s matter. */
  readonly onFailure: (message: string) => void;
}

/** Runs one probe on its schedule and reports each change of the answer (kubelet prober/worker.go). */
export class ProbeWorker {
  readonly #probe: Probe;
  readonly #target: ActionTarget;
  readonly #events: ProbeEvents;
  #timer: NodeJS.Timeout | undefined;
  /** Why the last probe failed; undefined when it did not. */
  #failure: string | undefined;
  #streak = 0;
  #result: boolean | undefined;
  #stopped = false;

  /** `initial` is what counts until the first change: false for readiness, true for liveness, nothing for startup. */
  constructor(probe: Probe, target: ActionTarget, initial: boolean | undefined, events: ProbeEvents) {
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
export async function probeOnce(probe: Probe, target: ActionTarget): Promise<void> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  const { exec, tcpSocket, httpGet, grpc } = probe;
  if (exec) return runInside(exec.command ?? [], target, timeoutMs);
  if (tcpSocket) {
    return dialTcp(tcpSocket.host ?? target.ip, portOf(tcpSocket.port, target.container), target, timeoutMs);
  }
  if (grpc) return checkGrpc(grpc.port, grpc.service ?? "", target, timeoutMs);
  if (!httpGet) throw new Error("only exec, tcpSocket, httpGet and grpc probes are supported");
  const code = await getHttp(httpGet, target, timeoutMs);
  if (code < 200 || code >= 400) throw new Error(`HTTP probe failed with statuscode: ${code}`);
}
