/**
 * The cluster process of one lab: the embedded store, the API server, the controllers and the node processes'
 * supervisor. Started again after a crash it finds its store on disk and takes up the nodes that still run.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { startControllers } from "../control/index.js";
import { type ApiServer, type KubeClient, type Node, StatusError, startApiServer } from "../kube/index.js";
import {
  connectStore,
  createIfAbsent,
  type Store,
  type StoreServer,
  startStoreServer,
} from "../store/index.js";
import { applyManifests, ManifestError } from "./apply.js";
import { CLUSTER_ZONE, dnsManifests } from "./dns.js";
import { routeServices } from "./hostNetwork.js";
import type { LabPaths } from "./paths.js";
import { writePidFile } from "./pidfile.js";
import {
  flannelConfig,
  hostTapName,
  type LabRecord,
  nodeConfig,
  readRecord,
  storeEndpoints,
} from "./record.js";
import { askNode, serveExtra } from "./routes.js";
import { type NodeState, NodeSupervisor } from "./supervisor.js";

export type ClusterLog = (level: "info" | "warn" | "error", message: string) => void;

/** The lab cannot come up as it is described; its message says what to change. */
export class ClusterSetupError extends Error {
  override readonly name = "ClusterSetupError";
}

/** A node without a heartbeat for this long is NotReady. */
const NODE_GRACE_MS = 4000;
const GATEWAY_CHECK_MS = 250;
/** How long manifests wait for all nodes. */
const NODES_READY_MS = 15_000;

export interface Cluster {
  stop(): Promise<void>;
}

export async function runCluster(paths: LabPaths, log: ClusterLog): Promise<Cluster> {
  const record = readRecord(paths);
  if (!record)
    throw new ClusterSetupError(`${paths.record} is missing or unreadable: run podwire down, then up again`);
  writePidFile(paths.clusterPid);
  const supervisors = record.plan.nodes.map(
    (node) =>
      new NodeSupervisor(nodeConfig(paths, record, node), (name, message) =>
        log("warn", `node ${name} ${message}`),
      ),
  );
  // First of all: their start-up overlaps with ours, and they wait for store and API by themselves.
  for (const supervisor of supervisors) supervisor.start();
  const server = record.store ? undefined : await startEmbeddedStore(paths, record, log);
  const store = connectStore({ endpoints: [...storeEndpoints(paths, record)] });
  await createIfAbsent(
    store,
    `${record.plan.network.pods.prefix}/config`,
    Buffer.from(flannelConfig(record.plan)),
  );
  const api = await startApi(paths, record, store, supervisors, log);
  const controllers = startControllers({ client: api.client, log, nodeGraceMs: NODE_GRACE_MS });
  const gateway = new ServiceGateway(record, supervisors, log);
  log("info", `API server on ${api.address}, store on ${storeEndpoints(paths, record).join(", ")}`);
  await applyOnce(paths, record, api.client);
  return {
    stop: async () => {
      gateway.stop();
      await Promise.all(supervisors.map((supervisor) => supervisor.stop()));
      await controllers.stop();
      await api.close();
      await store.close();
      await server?.close();
    },
  };
}

function startEmbeddedStore(paths: LabPaths, record: LabRecord, log: ClusterLog): Promise<StoreServer> {
  const listen = [`unix:${paths.storeSocket}`, ...(record.storeListen ? [record.storeListen] : [])];
  return startStoreServer({ dir: paths.storeDir, listen, log });
}

async function startApi(
  paths: LabPaths,
  record: LabRecord,
  store: Store,
  supervisors: readonly NodeSupervisor[],
  log: ClusterLog,
): Promise<ApiServer> {
  if (!existsSync(paths.token)) writeFileSync(paths.token, randomBytes(32).toString("hex"), { mode: 0o600 });
  const { network } = record.plan;
  let client: KubeClient | undefined;
  const api = await startApiServer({
    store,
    serviceNetwork: network.services,
    nodePortRange: network.nodePorts,
    listen: { socketPath: paths.apiSocket, host: "127.0.0.1", port: record.apiPort },
    token: readFileSync(paths.token, "utf8"),
    log,
    extraRoutes: async (request, response, url) => {
      if (!client) return false;
      const nodes = () => record.plan.nodes.map((node) => node.name);
      const status = () => labStatus(paths, record, supervisors, api.address);
      return serveExtra({ paths, client, nodes, status }, request, response, url);
    },
  });
  client = api.client;
  return api;
}

/** Everything `podwire status` shows that is not a Kubernetes object. */
async function labStatus(
  paths: LabPaths,
  record: LabRecord,
  supervisors: readonly NodeSupervisor[],
  address: string,
): Promise<object> {
  const nodes = await Promise.all(
    supervisors.map(async ({ state }) => ({
      ...state,
      status: await askNode<object>(paths, state.name, "/status"),
    })),
  );
  return {
    lab: record.plan.name,
    topology: record.plan.file,
    ...(record.netns ? { netns: record.netns } : {}),
    createdAt: new Date(record.createdAtMs).toISOString(),
    pid: process.pid,
    api: address,
    store: storeEndpoints(paths, record),
    networks: {
      nodes: record.plan.network.nodes,
      pods: record.plan.network.pods.network,
      services: record.plan.network.services,
    },
    host: record.plan.network.host,
    nodes,
  };
}

/**
 * Creates the topology's objects at the lab's first start only: later the store knows better than the file. All nodes
 * are there first, or the early ones would get all the pods.
 */
async function applyOnce(paths: LabPaths, record: LabRecord, client: KubeClient): Promise<void> {
  const mark = `${paths.record}.applied`;
  if (existsSync(mark)) return;
  await nodesReady(client, record.plan.nodes.length);
  try {
    // First, or a Service of the topology may be given the address where everybody expects DNS.
    if (record.plan.options.dns) await createDns(client, record.plan.network.services);
    await applyManifests(client, record.plan.manifests);
  } catch (error) {
    if (error instanceof StatusError || error instanceof ManifestError)
      throw new ClusterSetupError(error.message);
    throw error;
  }
  writeFileSync(mark, "", { mode: 0o600 });
  rmSync(paths.failure, { force: true });
}

async function createDns(client: KubeClient, serviceNetwork: string): Promise<void> {
  const [service, controller] = dnsManifests({ serviceNetwork, zone: CLUSTER_ZONE, replicas: 1 });
  const creates = [client.create("services", service), client.create("replicationcontrollers", controller)];
  for (const { status, reason } of (await Promise.allSettled(creates)) as PromiseRejectedResult[]) {
    // A cluster process that died after this point has made them already.
    const exists = reason instanceof StatusError && reason.status.reason === "AlreadyExists";
    if (status === "rejected" && !exists) throw reason;
  }
}

/** Resolves when so many nodes are ready, or when waiting longer would only hide that one never will be. */
async function nodesReady(client: KubeClient, count: number): Promise<void> {
  for (const until = Date.now() + NODES_READY_MS; Date.now() < until; ) {
    const { items } = await client.list<Node>("nodes");
    const ready = items.filter((node) =>
      node.status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True"),
    );
    if (ready.length >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Keeps the host's route to ClusterIPs on a node that runs: the first one, until it is gone for good. */
class ServiceGateway {
  readonly #record: LabRecord;
  readonly #supervisors: readonly NodeSupervisor[];
  readonly #log: ClusterLog;
  readonly #timer: NodeJS.Timeout;
  #current: string | undefined;

  constructor(record: LabRecord, supervisors: readonly NodeSupervisor[], log: ClusterLog) {
    this.#record = record;
    this.#supervisors = supervisors;
    this.#log = log;
    this.#timer = setInterval(() => void this.#check(), GATEWAY_CHECK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #check(): Promise<void> {
    const usable = (state: NodeState) => state.state === "running";
    const wanted = this.#supervisors.find((supervisor) => usable(supervisor.state))?.state.name;
    if (!wanted || wanted === this.#current) return;
    const { plan } = this.#record;
    const node = plan.nodes.find((candidate) => candidate.name === wanted);
    if (!node) return;
    try {
      await routeServices(plan.network.services, plan.network.host, {
        nodeIp: node.ip,
        tap: hostTapName(plan.name, node.name),
      });
      if (this.#current) this.#log("info", `ClusterIPs are now reached through ${wanted}`);
      this.#current = wanted;
    } catch {
      // The TAP is not there yet; the next round tries again.
    }
  }
}
