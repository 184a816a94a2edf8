/** An API server over a store in memory, with a client in process and one over its Unix socket. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ApiServer,
  type ApiServerOptions,
  HttpKubeClient,
  type KubeClient,
  type Pod,
  type ReplicationController,
  type Service,
  type Status,
  StatusError,
  startApiServer,
  type WatchEvent,
} from "../../src/kube/index.js";
import { MemoryStore, type Store } from "../../src/store/index.js";

export interface Lab {
  readonly store: Store;
  readonly server: ApiServer;
  readonly socketPath: string;
  readonly local: KubeClient;
  readonly http: HttpKubeClient;
  close(): Promise<void>;
}

export async function startLab(options: Partial<ApiServerOptions> = {}): Promise<Lab> {
  const dir = mkdtempSync(join(tmpdir(), "podwire-kube-"));
  const socketPath = join(dir, "api.sock");
  const store = options.store ?? new MemoryStore();
  const server = await startApiServer({
    serviceCidrs: ["10.254.0.0/16"],
    listen: { socketPath },
    ...options,
    store,
  }).catch((error: unknown) => {
    rmSync(dir, { recursive: true });
    throw error;
  });
  return {
    store,
    server,
    socketPath,
    local: server.client,
    http: new HttpKubeClient({ socketPath }),
    close: async () => {
      await server.close();
      rmSync(dir, { recursive: true });
    },
  };
}

export const pod = (name: string, more: Partial<Pod> = {}): Pod => ({
  metadata: { name, namespace: "default" },
  spec: { containers: [{ name: "main", image: "podwire/echo:1" }] },
  ...more,
});

/** A pod on a node: the kubelet deletes it, not the API server. */
export const boundPod = (name: string, nodeName: string): Pod => ({
  ...pod(name),
  spec: { nodeName, containers: [{ name: "main", image: "podwire/echo:1" }] },
});

export const service = (name: string, spec: Service["spec"] = {}): Service => ({
  metadata: { name, namespace: "default" },
  spec: { selector: { app: name }, ports: [{ port: 80 }], ...spec },
});

export const controller = (name: string, replicas: number): ReplicationController => ({
  metadata: { name, namespace: "default" },
  spec: {
    replicas,
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: "main", image: "echo:1" }] },
    },
  },
});

/** The Status that a call is refused with. */
export async function refusal(call: Promise<unknown>): Promise<Status> {
  try {
    await call;
  } catch (error) {
    if (error instanceof StatusError) return error.status;
    throw error;
  }
  throw new Error("the call was not refused");
}

/** The next events of a watch, as `TYPE name`. */
export async function take<T extends { metadata?: { name?: string } }>(
  events: AsyncIterator<WatchEvent<T>>,
  count: number,
): Promise<string[]> {
  const seen: string[] = [];
  while (seen.length < count) {
    const { done, value } = await events.next();
    if (done) return [...seen, "END"];
    seen.push(
      value.type === "ERROR"
        ? `ERROR ${value.object.code} ${value.object.reason}`
        : `${value.type} ${value.object.metadata?.name ?? ""}`,
    );
  }
  return seen;
}
