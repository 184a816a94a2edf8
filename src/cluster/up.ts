/**
 * Brings a lab up: checks everything that can be checked first, records what it is about to make, starts the cluster
 * process under a small shell that starts it again when it dies, and waits until every pod is ready.
 */
import { spawn } from "node:child_process";
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { HttpKubeClient, type KubeClient, type Node, type Pod } from "../kube/index.js";
import { netnsExists, nodeNetnsName, OwnedJournal } from "../node/index.js";
import { checkHostRoutes, type LabPlan } from "../topology/index.js";
import { askApi } from "./ask.js";
import { listLabs, removeLab, removeRootIfEmpty } from "./down.js";
import { ensureHostNetns, enterHost, hostRoutes } from "./hostNetwork.js";
import { LabPaths } from "./paths.js";
import { readPidFile, writePidFile } from "./pidfile.js";
import { readRecord, writeRecord } from "./record.js";
import type { NodeState } from "./supervisor.js";
import { takeUpLock } from "./upLock.js";

export interface UpOptions {
  readonly netns?: string;
  readonly store?: readonly string[];
  readonly storeListen?: string;
  readonly apiPort?: number;
  readonly onProgress?: (line: string) => void;
}

/** What stands in the way of a lab; its message says what to do. */
export class UpError extends Error {
  override readonly name = "UpError";
}

/**
 * Starts the cluster process again when it dies, at most 20 times in a row; 0 and 2 are its own decisions to end. What
 * it says goes to the lab's log.
 */
const SUPERVISOR = `n=0
while [ $n -lt 20 ]; do
  started=$(date +%s); "$@"; code=$?
  [ $code -eq 0 ] || [ $code -eq 2 ] && exit $code
  [ $(($(date +%s) - started)) -gt 60 ] && n=0
  echo "the cluster process ended with code $code, starting it again"
  n=$((n + 1)); sleep 0.5
done
echo "the cluster process ended $n times in a row and is not started again: podwire down, then up"
exit 1`;

const POLL_MS = 50;
const LAST_LINES = 5;

/** Makes the lab and starts its cluster process; on an error nothing of it is left. */
export async function startLab(plan: LabPlan, options: UpOptions = {}): Promise<LabPaths> {
  checkPrivileges();
  const release = takeUpLock(plan.name);
  if (!release)
    throw new UpError(
      `lab ${plan.name} is being brought up by another podwire at this moment: wait for that`,
    );
  try {
    return await makeLab(plan, options);
  } finally {
    release();
    removeRootIfEmpty();
  }
}

async function makeLab(plan: LabPlan, options: UpOptions): Promise<LabPaths> {
  const paths = new LabPaths(plan.name);
  await clearOldLab(paths, options.onProgress);
  if (options.netns === undefined || existsSync(`/run/netns/${options.netns}`)) {
    checkHostRoutes(plan, await hostRoutes(options.netns));
  }
  await checkOtherLabs(plan, options.netns);
  checkNamespaces(plan);
  mkdirSync(paths.nodesDir, { recursive: true, mode: 0o700 });
  try {
    const journal = new OwnedJournal(paths.journal);
    if (options.netns !== undefined) await ensureHostNetns(options.netns, journal);
    journal.close();
    writeRecord(paths, {
      plan,
      ...(options.netns === undefined ? {} : { netns: options.netns }),
      ...(options.store ? { store: options.store } : {}),
      ...(options.storeListen ? { storeListen: options.storeListen } : {}),
      apiPort: options.apiPort ?? 0,
      createdAtMs: Date.now(),
    });
    startCluster(paths, options.netns);
  } catch (error) {
    await removeLab(paths);
    throw error;
  }
  return paths;
}

function checkPrivileges(): void {
  if (process.getuid?.() !== 0)
    throw new UpError("podwire makes network devices and namespaces: run it as root (sudo)");
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
  } catch {
    throw new UpError(
      "/dev/net/tun is missing: load the driver (modprobe tun) or allow the device in this VM or container",
    );
  }
}

/** A lab of the same name that runs is in the way; one that died is cleared away. */
async function clearOldLab(paths: LabPaths, onProgress: ((line: string) => void) | undefined): Promise<void> {
  if (!existsSync(paths.dir)) return;
  const name = paths.dir.split("/").at(-1);
  if (readPidFile(paths.clusterPid) || readPidFile(paths.supervisorPid)) {
    throw new UpError(
      `lab ${name} is already up: podwire down ${name} first, or give the topology another name`,
    );
  }
  onProgress?.(`clearing away what is left of an earlier lab ${name}`);
  const { problems } = await removeLab(paths);
  if (problems.length > 0)
    throw new UpError(`an earlier lab ${name} could not be cleared away: ${problems.join("; ")}`);
}

/** Two labs may run at once when they are in different namespaces or share no underlay address. */
async function checkOtherLabs(plan: LabPlan, netns: string | undefined): Promise<void> {
  for (const other of listLabs()) {
    const record = readRecord(new LabPaths(other));
    if (!record || other === plan.name || record.netns !== netns) continue;
    const taken = plan.nodes.find((node) =>
      record.plan.nodes.some((theirs) => theirs.underlay === node.underlay),
    );
    if (taken)
      throw new UpError(
        `node ${taken.name}: underlay address ${taken.underlay} is used by lab ${other}; set another (nodes[].underlay)`,
      );
  }
}

/** Namespaces are named after the lab: two labs of one name, in whatever run directories, would be in each other's. */
function checkNamespaces(plan: LabPlan): void {
  const taken = plan.nodes.map((node) => nodeNetnsName(plan.name, node.name)).find(netnsExists);
  if (taken === undefined) return;
  throw new UpError(
    `namespace ${taken} is there already, of a lab ${plan.name} in another run directory (PODWIRE_RUN_DIR): take that down, give the topology another name, or ip netns del ${taken} if no lab has it`,
  );
}

function startCluster(paths: LabPaths, netns: string | undefined): void {
  const log = openSync(paths.log, "a", 0o600);
  const [program = "sh", ...args] = [
    ...enterHost(netns),
    "sh",
    "-c",
    SUPERVISOR,
    "podwire-supervisor",
    process.execPath,
    ...paths.clusterArgs,
  ];
  const child = spawn(program, args, { detached: true, stdio: ["ignore", log, log], cwd: "/" });
  closeSync(log);
  child.unref();
  if (child.pid === undefined) throw new UpError(`${program} could not be started`);
  writePidFile(paths.supervisorPid, child.pid);
}

/** How far a lab is. */
export interface Readiness {
  readonly ready: boolean;
  readonly nodesReady: number;
  readonly nodes: number;
  readonly podsReady: number;
  readonly pods: number;
  /** One line for each thing that is not ready, and why. */
  readonly waitingFor: readonly string[];
}

/** Waits until every node and every pod is ready; resolves with the last look when the time is over. */
export async function waitReady(
  paths: LabPaths,
  timeoutMs: number,
  onProgress: (now: Readiness) => void,
): Promise<Readiness> {
  const client = new HttpKubeClient({ socketPath: paths.apiSocket });
  let last: Readiness = {
    ready: false,
    nodesReady: 0,
    nodes: 0,
    podsReady: 0,
    pods: 0,
    waitingFor: ["the API server"],
  };
  for (const until = Date.now() + timeoutMs; Date.now() < until; ) {
    if (existsSync(paths.failure)) throw new UpError(readFileSync(paths.failure, "utf8").trim());
    if (!readPidFile(paths.supervisorPid) && !existsSync(paths.failure)) {
      throw new UpError(`the cluster process ended: ${lastWords(paths.log)}`);
    }
    last = await look(paths, client).catch((error: unknown) => {
      if (error instanceof UpError) throw error;
      return last;
    });
    onProgress(last);
    if (last.ready) return last;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return last;
}

/** The end of a log that goes with its lab. */
function lastWords(log: string): string {
  try {
    const lines = readFileSync(log, "utf8").trim().split("\n");
    return lines.slice(-LAST_LINES).join("\n") || "it said nothing";
  } catch {
    return "it left no log";
  }
}

/** One look at a lab through its API. */
export async function look(paths: LabPaths, client: KubeClient): Promise<Readiness> {
  const record = readRecord(paths);
  const [nodes, pods, status] = await Promise.all([
    client.list<Node>("nodes"),
    client.list<Pod>("pods"),
    askApi<{ nodes: NodeState[] }>(paths, "/podwire/v1/status"),
  ]);
  const failed = status.nodes.find((node) => node.state === "failed");
  if (failed) throw new UpError(`node ${failed.name} cannot run: it ${failed.lastExit}`);
  const planned = record?.plan.nodes.map((node) => node.name) ?? [];
  const { createdAtMs = 0 } = record ?? {};
  const readyNodes = new Set(
    nodes.items.filter((node) => nodeReady(node, createdAtMs)).map((node) => node.metadata?.name),
  );
  const waitingNodes = planned
    .filter((name) => !readyNodes.has(name))
    .map((name) => whyNodeNotReady(paths, name, status.nodes));
  const waitingPods = pods.items.filter((pod) => !podReady(pod, createdAtMs)).map(whyNotReady);
  const desired = await missingReplicas(client);
  const waitingFor = [...waitingNodes, ...desired, ...waitingPods];
  const applied = existsSync(paths.applied);
  return {
    ready: applied && waitingFor.length === 0,
    nodesReady: planned.length - waitingNodes.length,
    nodes: planned.length,
    podsReady: pods.items.length - waitingPods.length,
    pods: pods.items.length,
    waitingFor: applied ? waitingFor : ["the topology's manifests", ...waitingFor],
  };
}

/** Controllers that have not made all their pods yet. */
async function missingReplicas(client: KubeClient): Promise<string[]> {
  type Controller = {
    metadata?: { name?: string };
    spec?: { replicas?: number };
    status?: { replicas?: number };
  };
  const lists = await Promise.all([client.list("replicationcontrollers"), client.list("replicasets")]);
  return lists
    .flatMap((list) => list.items as Controller[])
    .filter((one) => (one.status?.replicas ?? 0) !== (one.spec?.replicas ?? 1))
    .map(
      (one) => `${one.metadata?.name}: ${one.status?.replicas ?? 0} of ${one.spec?.replicas ?? 1} pods made`,
    );
}

function isReady(conditions: readonly { type: string; status: string }[] | undefined): boolean {
  return conditions?.some((condition) => condition.type === "Ready" && condition.status === "True") ?? false;
}

/** A store that outlives its labs still holds what an earlier one said: only what was said since then counts. */
function isSince(time: string | undefined, sinceMs: number): boolean {
  return time !== undefined && Date.parse(time) >= Math.floor(sinceMs / 1000) * 1000;
}

function nodeReady({ status }: Node, sinceMs: number): boolean {
  const ready = status?.conditions?.find((condition) => condition.type === "Ready");
  return ready?.status === "True" && isSince(ready.lastHeartbeatTime, sinceMs);
}

function podReady({ status }: Pod, sinceMs: number): boolean {
  if (status?.phase === "Succeeded") return true;
  const started = status?.containerStatuses?.every(({ state }) =>
    isSince(state?.running?.startedAt, sinceMs),
  );
  return isReady(status?.conditions) && started === true;
}

function whyNotReady(pod: Pod): string {
  const name = `pod ${pod.metadata?.namespace}/${pod.metadata?.name}`;
  const unscheduled = pod.status?.conditions?.find(
    (one) => one.type === "PodScheduled" && one.status === "False",
  );
  if (unscheduled) return `${name}: ${unscheduled.message ?? "not scheduled"}`;
  if (!pod.spec?.nodeName) return `${name}: waiting for a node`;
  const waiting = pod.status?.containerStatuses?.find((container) => !container.ready);
  const state = waiting?.state;
  if (state?.waiting) return `${name}: ${state.waiting.reason} ${state.waiting.message ?? ""}`.trim();
  if (state?.terminated)
    return `${name}: container ${waiting?.name} ended with exit code ${state.terminated.exitCode}`;
  if (waiting) return `${name}: container ${waiting.name} runs but is not ready (readiness probe)`;
  return `${name}: ${pod.status?.phase ?? "Pending"}`;
}

function whyNodeNotReady(paths: LabPaths, name: string, states: readonly NodeState[]): string {
  const state = states.find((one) => one.name === name);
  if (!state?.lastExit) return `node ${name}: has not reported yet`;
  return `node ${name}: ${state.lastExit}, started again ${state.restarts} times; see ${paths.node(name).log}`;
}

/** Removes a lab that did not come up. */
export async function abandon(paths: LabPaths): Promise<void> {
  await removeLab(paths);
  rmSync(paths.failure, { force: true });
}
