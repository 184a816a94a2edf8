/** A cluster for tests: the API over a store in memory, the controllers, and nodes whose kubelet is a few lines. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import { type ApiPlace, type Controllers, startControllers, type Timers } from "../../src/control/index.js";
import {
  type ApiServer,
  type ApiServerOptions,
  type EndpointSlice,
  type Endpoints,
  type Event,
  HttpKubeClient,
  Informer,
  type KubeClient,
  type KubeObject,
  type Node,
  type Pod,
  type ResourceName,
  startApiServer,
} from "../../src/kube/index.js";
import { MemoryStore } from "../../src/store/index.js";
import { type Answer, sendRaw } from "../kube/raw.js";

export interface ClusterOptions {
  readonly nodes?: readonly string[];
  /** Whether pods that are bound run and become ready by themselves; default true. */
  readonly kubelet?: boolean;
  readonly nodeGraceMs?: number;
  readonly now?: () => number;
  readonly timers?: Timers;
  readonly apiServer?: ApiPlace;
  readonly loadBalancerPool?: readonly string[];
  /** Whether the test's own client speaks HTTP to the API server; the controllers' is in process, as in a lab. */
  readonly http?: boolean;
  readonly api?: Partial<ApiServerOptions>;
}

const running: Cluster[] = [];
afterEach(async () => {
  for (const cluster of running.splice(0)) await cluster.stop();
});

export class Cluster {
  readonly client: KubeClient;
  readonly socketPath: string;
  readonly log: string[] = [];
  readonly #api: ApiServer;
  readonly #dir: string;
  #controllers: Controllers | undefined;
  readonly #options: ClusterOptions;
  #pods: Informer<Pod> | undefined;
  #nextIp = 1;

  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const dir = mkdtempSync(join(tmpdir(), "podwire-control-"));
    const socketPath = join(dir, "api.sock");
    const store = new MemoryStore();
    const listen = options.http ? { listen: { socketPath } } : {};
    const api = await startApiServer({ store, serviceCidrs: ["10.96.0.0/16"], ...listen, ...options.api });
    const cluster = new Cluster(api, options, dir);
    running.push(cluster);
    for (const name of options.nodes ?? ["n1", "n2", "n3"]) await cluster.addNode(name);
    if (options.kubelet ?? true) cluster.#startKubelet();
    await cluster.startControllers();
    return cluster;
  }

  private constructor(api: ApiServer, options: ClusterOptions, dir: string) {
    this.#api = api;
    this.#dir = dir;
    this.socketPath = join(dir, "api.sock");
    this.client = options.http ? new HttpKubeClient({ socketPath: this.socketPath }) : api.client;
    this.#options = options;
  }

  async startControllers(changes: Partial<ClusterOptions> = {}): Promise<void> {
    const {
      nodeGraceMs = 3_600_000,
      now,
      timers,
      apiServer,
      loadBalancerPool,
    } = { ...this.#options, ...changes };
    this.#controllers = startControllers({
      client: this.#api.client,
      log: (level, message) => this.log.push(`${level}: ${message}`),
      nodeGraceMs,
      ...(now && { now }),
      ...(timers && { timers }),
      ...(apiServer && { apiServer }),
      ...(loadBalancerPool && { loadBalancerPool }),
    });
    await this.#controllers.synced;
  }

  async stopControllers(): Promise<void> {
    await this.#controllers?.stop();
  }

  async stop(): Promise<void> {
    this.#pods?.stop();
    await this.stopControllers();
    await this.#api.close();
    rmSync(this.#dir, { recursive: true });
  }

  /** Requests as curl would send them; `type` is the body's media type. */
  raw(method: string, path: string, body?: unknown, type?: string): Promise<Answer> {
    const headers: Record<string, string> = type ? { "content-type": type } : {};
    return sendRaw({ socketPath: this.socketPath }, method, path, body, headers);
  }

  async addNode(
    name: string,
    options: { ready?: boolean; labels?: Record<string, string> } = {},
  ): Promise<void> {
    const { ready = true, labels = {} } = options;
    await this.client.create<Node>("nodes", { apiVersion: "v1", kind: "Node", metadata: { name, labels } });
    if (ready) await this.heartbeat(name, 1);
  }

  /** A status as a kubelet posts it; each with another time is another sign of life. */
  async heartbeat(name: string, second: number, status = "True"): Promise<void> {
    const lastHeartbeatTime = new Date(second * 1000).toISOString();
    const conditions = [{ type: "Ready", status, lastHeartbeatTime }];
    await this.client.update<Node>("nodes", { metadata: { name }, status: { conditions } }, "status");
  }

  async list<T extends KubeObject>(resource: ResourceName): Promise<T[]> {
    return (await this.client.list<T>(resource)).items;
  }

  async pods(): Promise<Pod[]> {
    return (await this.list<Pod>("pods")).filter((pod) => !pod.metadata?.deletionTimestamp);
  }

  /** Posts a pod's state, as its kubelet would. */
  async setPod(
    name: string,
    state: { ready?: boolean; phase?: "Running" | "Failed" | "Succeeded"; ip?: string },
  ): Promise<void> {
    const { ready = true, phase = "Running" } = state;
    await retrying(async () => {
      const pod = await this.client.get<Pod>("pods", "default", name);
      const podIPs = state.ip ? [{ ip: state.ip }] : (pod.status?.podIPs ?? this.#newIps());
      const podIP = podIPs[0]?.ip ?? "";
      const at = "2024-01-01T00:00:00Z";
      const condition = (type: string) => ({
        type,
        status: ready ? "True" : "False",
        lastTransitionTime: at,
      });
      const conditions = [condition("Ready"), condition("ContainersReady")];
      await this.client.update<Pod>(
        "pods",
        { ...pod, status: { ...pod.status, phase, podIP, podIPs, conditions } },
        "status",
      );
    });
  }

  async scale(
    resource: "replicationcontrollers" | "replicasets",
    name: string,
    replicas: number,
  ): Promise<void> {
    await retrying(async () => {
      const owner = await this.client.get<KubeObject & { spec?: object }>(resource, "default", name);
      await this.client.update(resource, { ...owner, spec: { ...owner.spec, replicas } } as KubeObject);
    });
  }

  /** Addresses of a Service's Endpoints. */
  async addresses(service: string): Promise<{ ready: string[]; notReady: string[] }> {
    const subsets = (await this.client.get<Endpoints>("endpoints", "default", service)).subsets ?? [];
    const ips = (list: "addresses" | "notReadyAddresses") =>
      subsets.flatMap((subset) => subset[list]?.map(({ ip }) => ip) ?? []).sort();
    return { ready: ips("addresses"), notReady: ips("notReadyAddresses") };
  }

  async slices(service: string): Promise<EndpointSlice[]> {
    const labelSelector = `kubernetes.io/service-name=${service}`;
    return (await this.client.list<EndpointSlice>("endpointslices", { labelSelector })).items;
  }

  /** Ready addresses of a Service's slices. */
  async sliceAddresses(service: string): Promise<string[]> {
    const endpoints = (await this.slices(service)).flatMap((slice) => slice.endpoints);
    return endpoints
      .filter((endpoint) => endpoint.conditions?.ready)
      .map(({ addresses }) => addresses[0] ?? "")
      .sort();
  }

  async events(reason: string): Promise<Event[]> {
    return (await this.list<Event>("events")).filter((event) => event.reason === reason);
  }

  #newIps(): { ip: string }[] {
    const id = this.#nextIp++;
    const isDual = (this.#options.api?.serviceCidrs?.length ?? 1) > 1;
    const ipv6 = isDual ? [{ ip: `fd00:244::${id.toString(16)}` }] : [];
    return [{ ip: `10.244.${id >> 8}.${id & 255}` }, ...ipv6];
  }

  #startKubelet(): void {
    this.#pods = new Informer<Pod>(this.#api.client, "pods");
    const sync = (pod: Pod) => void this.#syncPod(pod).catch(() => {});
    this.#pods.start({ onAdd: sync, onUpdate: sync, onDelete: () => {} });
  }

  async #syncPod(pod: Pod): Promise<void> {
    const { namespace, name = "", deletionTimestamp } = pod.metadata ?? {};
    if (deletionTimestamp) await this.client.delete("pods", namespace, name, { gracePeriodSeconds: 0 });
    else if (pod.spec?.nodeName && !pod.status?.podIP) await this.setPod(name, {});
  }
}

/** Repeats a read-and-write that lost against another writer. */
async function retrying(attempt: () => Promise<void>): Promise<void> {
  for (let left = 50; ; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0 || !/modified|conflict/i.test(String(error))) throw error;
    }
  }
}

/** Looks again until the check passes; fails with its last failure. */
export async function eventually<T>(check: () => T | Promise<T>, attempts = 400): Promise<T> {
  for (let left = attempts; ; left--) {
    try {
      return await check();
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** Gives every watch and queue a chance to act, for checks that nothing happened. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Time that passes only when told to. */
export class VirtualTime implements Timers {
  #now = Date.parse("2024-06-01T00:00:00Z");
  readonly #due = new Map<number, { at: number; callback: () => void }>();
  #next = 1;

  readonly now = (): number => this.#now;

  setTimeout(callback: () => void, ms: number): number {
    this.#due.set(this.#next, { at: this.#now + ms, callback });
    return this.#next++;
  }

  clearTimeout(handle: number): void {
    this.#due.delete(handle);
  }

  /** Lets time pass and calls what was due on the way, in order. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const [next] = [...this.#due].sort(([, a], [, b]) => a.at - b.at);
      if (!next || next[1].at > end) break;
      this.#due.delete(next[0]);
      this.#now = Math.max(this.#now, next[1].at);
      next[1].callback();
      await settle();
    }
    this.#now = end;
  }
}

/** A ReplicationController of `podwire/echo` pods labelled `app: <name>`. */
export function replicationController(name: string, replicas: number) {
  return {
    apiVersion: "v1" as const,
    kind: "ReplicationController" as const,
    metadata: { name, namespace: "default" },
    spec: { replicas, selector: { app: name }, template: podTemplate(name) },
  };
}

export function podTemplate(app: string) {
  return {
    metadata: { labels: { app } },
    spec: {
      containers: [{ name: "c", image: "podwire/echo", ports: [{ name: "http", containerPort: 8080 }] }],
    },
  };
}

export function pod(name: string, labels: Record<string, string>, spec: object = {}): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels },
    spec: { ...podTemplate("any").spec, ...spec },
  };
}

export function service(name: string, spec: object = {}) {
  return {
    apiVersion: "v1" as const,
    kind: "Service" as const,
    metadata: { name, namespace: "default" },
    spec: { selector: { app: name }, ports: [{ port: 80, targetPort: "http" }], ...spec },
  };
}
