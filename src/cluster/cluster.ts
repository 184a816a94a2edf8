/**
 * The cluster process of one lab: the embedded store, the API server, the controllers and the node processes'
 * supervisor. Started again after a crash it finds its store on disk and takes up the nodes that still run.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { startControllers } from "../control/index.js";
import {
  type ApiServer,
  apiServiceAddress,
  type KubeClient,
  StatusError,
  startApiServer,
} from "../kube/index.js";
import {
  connectStore,
  createIfAbsent,
  type Store,
  type StoreServer,
  StoreUnavailableError,
  startStoreServer,
} from "../store/index.js";
import { AddressAnnouncer } from "./announcer.js";
import { applyManifests, ManifestError } from "./apply.js";
import { CLUSTER_ZONE, dnsManifests } from "./dns.js";
import type { LabPaths } from "./paths.js";
import { writePidFile } from "./pidfile.js";
import { makeCredentials, POD_API_PORT, startPodApi } from "./podApi.js";
import { flannelConfig, type LabRecord, nodeConfig, readRecord, storeEndpoints } from "./record.js";
import { askNode, serveExtra } from "./routes.js";
import { readyNodes, ServiceGateway } from "./serviceGateway.js";
import { claimStore } from "./storeObjects.js";
import { NodeSupervisor } from "./supervisor.js";

export type ClusterLog = (level: "info" | "warn" | "error", message: string) => void;

/** The lab cannot come up as it is described; its message says what to change. */
export class ClusterSetupError extends Error {
  override readonly name = "ClusterSetupError";
}

/** A node without a heartbeat for this long is NotReady. */
const NODE_GRACE_MS = 4000;
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
  makeCredentials(paths, record);
  // First of all: their start-up overlaps with ours, and they wait for store and API by themselves.
  for (const supervisor of supervisors) supervisor.start();
  const server = record.store ? undefined : await startEmbeddedStore(paths, record, log);
  const store = connectStore({ endpoints: [...storeEndpoints(paths, record)] });
  await writeFlannelConfig(paths, record, store, log);
  const api = await startApi(paths, record, store, supervisors, log);
  const controllers = startControllers({
    client: api.client,
    log,
    nodeGraceMs: NODE_GRACE_MS,
    loadBalancerPool: record.plan.network.loadBalancerPool,
    apiServer: {
      serviceIp: apiServiceAddress(record.plan.network.services),
      address: record.plan.network.host,
      port: POD_API_PORT,
    },
  });
  const stopPodApi = startPodApi(paths, record, api, log);
  const gateway = new ServiceGateway(record, supervisors, api.client, log);
  const announcer = new AddressAnnouncer(record, () => gateway.usable, api.client, log);
  log("info", `API server on ${api.address}, store on ${storeEndpoints(paths, record).join(", ")}`);
  await applyOnce(paths, record, api.client);
  return {
    stop: async () => {
      stopPodApi();
      gateway.stop();
      announcer.stop();
      await Promise.all(supervisors.map((supervisor) => supervisor.stop()));
      await controllers.stop();
      await api.close();
      await store.close();
      await server?.close();
    },
  };
}

/** The first that the store is asked for: a lab that was up waits for it, a new one fails. */
async function writeFlannelConfig(
  paths: LabPaths,
  record: LabRecord,
  store: Store,
  log: ClusterLog,
): Promise<void> {
  const { prefix } = record.plan.network.pods;
  for (;;) {
    try {
      await claimStore(paths, record, store);
      await createIfAbsent(store, `${prefix}/config`, Buffer.from(flannelConfig(record.plan)));
      return;
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      if (!existsSync(paths.applied))
        throw new ClusterSetupError(`${error.message}; start etcd there, or name another with --store`);
      log("warn", `${error.message}; trying again`);
    }
  }
}

function startEmbeddedStore(paths: LabPaths, record: LabRecord, log: ClusterLog): Promise<StoreServer> {
  const listen = [`unix:${paths.storeSocket}`, ...(record.storeListen ? [record.storeListen] : [])];
  return settingUp("the store", startStoreServer({ dir: paths.storeDir, listen, log }));
}

/** A place that cannot be listened on is the user's to change; starting again would not help. */
async function settingUp<T>(what: string, starting: Promise<T>): Promise<T> {
  try {
    return await starting;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    const isPlace =
      ["EADDRINUSE", "EADDRNOTAVAIL", "EACCES"].includes(code) || /listen/.test((error as Error).message);
    if (isPlace) throw new ClusterSetupError(`${what} cannot start: ${(error as Error).message}`);
    throw error;
  }
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
  const starting = startApiServer({
    store,
    serviceCidrs: [network.services, ...(network.ipv6 ? [network.ipv6.services] : [])],
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
  const api = await settingUp("the API server", starting);
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
  if (existsSync(paths.applied)) return;
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
  writeFileSync(paths.applied, "", { mode: 0o600 });
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
    if ((await readyNodes(client)).size >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
