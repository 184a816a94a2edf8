/** Sends pod statuses to the API: the newest of each pod, one at a time, until it is there (status_manager.go). */
import { type KubeClient, type Pod, type PodStatus, StatusError } from "../../kube/index.js";

const RETRY_MS = 500;

interface Pending {
  pod: Pod;
  status: PodStatus;
  sent?: string;
  sending: boolean;
}

export class StatusReporter {
  readonly #client: KubeClient;
  readonly #log: (level: "info" | "warn", message: string) => void;
  readonly #pods = new Map<string, Pending>();
  #stopped = false;

  constructor(client: KubeClient, log: (level: "info" | "warn", message: string) => void) {
    this.#client = client;
    this.#log = log;
  }

  stop(): void {
    this.#stopped = true;
  }

  forget(uid: string): void {
    this.#pods.delete(uid);
  }

  report(pod: Pod, status: PodStatus): void {
    const uid = pod.metadata?.uid ?? "";
    const pending = this.#pods.get(uid) ?? { pod, status, sending: false };
    pending.pod = pod;
    pending.status = status;
    this.#pods.set(uid, pending);
    if (!pending.sending) void this.#send(uid, pending);
  }

  async #send(uid: string, pending: Pending): Promise<void> {
    pending.sending = true;
    while (!this.#stopped && this.#pods.get(uid) === pending) {
      const text = JSON.stringify(pending.status);
      if (text === pending.sent) break;
      if (await this.#put(pending)) pending.sent = text;
      else await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
    }
    pending.sending = false;
  }

  /** Whether the API has it, or can never have it. */
  async #put({ pod, status }: Pending): Promise<boolean> {
    const { name, namespace, uid } = pod.metadata ?? {};
    try {
      // No resourceVersion: this node alone writes the status, and the newest is the true one.
      await this.#client.update<Pod>(
        "pods",
        { ...pod, metadata: { name, namespace, uid }, status },
        "status",
      );
      return true;
    } catch (error) {
      const code = error instanceof StatusError ? error.status.code : undefined;
      if (code === 404 || code === 409) return true;
      this.#log("warn", `status of pod ${namespace}/${name} not sent: ${(error as Error).message}`);
      return code === 422;
    }
  }
}
