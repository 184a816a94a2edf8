/** One pod's worker over real namespaces, TAPs and processes, with all that it told. */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import type { Container, ContainerStatus, Pod, PodStatus } from "../../src/kube/index.js";
import { podMac, type SandboxRecord, type SandboxStore } from "../../src/node/pods/sandbox.js";
import { PodWorker } from "../../src/node/pods/worker.js";
import { eventually } from "./lab.js";
import { NETWORK, type PodLab } from "./pod-lab.js";

let count = 2;

const made: TestPod[] = [];

/** Ends what tests that failed left alive. */
export async function endPods(): Promise<void> {
  await Promise.all(made.splice(0).map((pod) => pod.worker.stop(0)));
}

/** A command of a shell; `$$$$` is what Kubernetes makes the shell's `$$` of. */
export const shell = (script: string, more: Partial<Container> = {}): Container =>
  ({ name: "main", image: "sh", command: ["sh", "-c", script], ...more }) as Container;

/** A pod with its worker and all that the worker told. */
export class TestPod {
  readonly statuses: PodStatus[] = [];
  readonly events: string[] = [];
  worker: PodWorker;
  #waiting: (() => void)[] = [];

  constructor(
    private readonly lab: PodLab,
    readonly pod: Pod,
    readonly record: SandboxRecord,
    readonly sandboxes: SandboxStore,
  ) {
    this.worker = this.#newWorker(pod);
  }

  static async create(lab: PodLab, containers: Container[], spec: object = {}): Promise<TestPod> {
    const ip = `172.16.53.${count++}`;
    const name = `web-${count}`;
    const record = {
      uid: `uid-${name}`,
      namespace: "default",
      name,
      netns: lab.netnsName(),
      ip,
      mac: podMac(ip),
    };
    const metadata = { name, namespace: "default", uid: record.uid };
    const sandboxes = lab.sandboxes();
    await sandboxes.create(record, NETWORK);
    const pod = new TestPod(lab, { metadata, spec: { containers, ...spec } } as Pod, record, sandboxes);
    made.push(pod);
    return pod;
  }

  #newWorker(pod: Pod): PodWorker {
    const images = {
      sh: { command: ["sh"] },
      echo: { command: this.lab.echoProgram(), env: { PODWIRE_PORTS: "8080/TCP", PATH: "/image" } },
    };
    return new PodWorker(
      {
        nodeName: "node-1",
        hostIp: "10.0.0.11",
        zone: "cluster.local",
        images,
        sandboxes: this.sandboxes,
        services: () => [],
        connect: (host, port) => connect({ host, port }),
        report: (_pod, status) => {
          this.statuses.push(status);
          for (const wake of this.#waiting.splice(0)) wake();
        },
        event: (_pod, type, reason, message) => this.events.push(`${type} ${reason}: ${message}`),
      },
      pod,
      this.record,
    );
  }

  /** What the next node process makes of the pod, from the disk and from what the API last heard. */
  restartNode(): void {
    this.worker.release();
    this.worker = this.#newWorker({ ...this.pod, status: this.statuses.at(-1) });
    this.statuses.length = 0;
    this.events.length = 0;
  }

  async until(holds: (status: PodStatus) => boolean): Promise<PodStatus> {
    for (let next = 0; ; next++) {
      while (next >= this.statuses.length) await new Promise<void>((resolve) => this.#waiting.push(resolve));
      const status = this.statuses[next] as PodStatus;
      if (holds(status)) return status;
    }
  }

  log(container = "main"): string {
    return readFileSync(join(this.worker.containerDir(container), "log"), "utf8");
  }

  logged(text: string): Promise<string> {
    return eventually(
      `${text} in the log`,
      async () => this.log(),
      (log) => log.includes(text),
    );
  }
}

export const main = (status: PodStatus): ContainerStatus => status.containerStatuses?.[0] as ContainerStatus;
export const isReady = (status: PodStatus): boolean =>
  status.conditions?.some(({ type, status: holds }) => type === "Ready" && holds === "True") ?? false;
