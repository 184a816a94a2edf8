/**
 * Ends a lab and removes all that it made, from the records on disk alone: works the same after a clean run, after
 * `kill -9` of any process, and when called twice.
 */
import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  kill,
  netnsExists,
  netnsPids,
  type OwnedResource,
  processStartTime,
  readOwned,
  removeOwned,
  removeSecretsPath,
} from "../node/index.js";
import { type LabPaths, NodePaths, runRoot } from "./paths.js";
import { endProcess, findProcesses, readPidFile } from "./pidfile.js";
import { readRecord } from "./record.js";
import { forgetObjects } from "./storeObjects.js";

/** How long pods get between SIGTERM and SIGKILL, in milliseconds. */
const POD_GRACE_MS = 2000;

export interface DownReport {
  readonly removed: number;
  /** What could not be removed, and why; empty when the machine is as before. */
  readonly problems: readonly string[];
}

/** Names of labs that have a directory. */
export function listLabs(root: string = runRoot()): string[] {
  if (!existsSync(root)) return [];
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

export interface DownOptions {
  /** Leaves the lab's objects in an etcd that outlives it. */
  readonly keepStore?: boolean;
}

/** Removes one lab. Never throws for what is already gone. */
export async function removeLab(paths: LabPaths, options: DownOptions = {}): Promise<DownReport> {
  await endProcesses(paths);
  const record = readRecord(paths);
  const { netns } = record ?? {};
  const resources = journals(paths).flatMap((path) =>
    readOwned(path).map((resource) => inHost(resource, netns)),
  );
  await endPods(resources);
  const problems: string[] = [];
  if (record?.store && existsSync(paths.ownsStore) && !options.keepStore) {
    const problem = await forgetObjects(paths, record);
    if (problem) problems.push(problem);
  }
  const seen = new Set<string>();
  for (const resource of resources) {
    if (seen.has(JSON.stringify(resource))) continue;
    seen.add(JSON.stringify(resource));
    const problem = await removeOwned(resource);
    if (problem) problems.push(problem);
  }
  removeSecretsPath();
  // The records stay while something could not be removed, so that another `down` can finish the work.
  if (problems.length === 0) removeFiles(paths);
  return { removed: seen.size, problems };
}

/** Nodes know their links by the name alone: they run in the namespace that plays the host. */
function inHost(resource: OwnedResource, netns: string | undefined): OwnedResource {
  return resource.kind === "link" && netns !== undefined ? { ...resource, netns } : resource;
}

/** Each kind before the one that it starts, or it would start again what we end. */
async function endProcesses(paths: LabPaths): Promise<void> {
  await endAll(paths.supervisorPid, [], 0);
  await endAll(paths.clusterPid, paths.clusterArgs, 4000);
  await Promise.all(
    nodeDirs(paths).map((dir) => {
      const node = new NodePaths(dir);
      return endAll(node.pid, node.args, 1000);
    }),
  );
}

/** Ends the process that the pid file names, and any whose starter was killed before it wrote the file. */
async function endAll(pidFile: string, args: readonly string[], graceMs: number): Promise<void> {
  const named = readPidFile(pidFile);
  const found = args.length > 0 ? findProcesses(args) : [];
  await Promise.all([...(named ? [named] : []), ...found].map((ref) => endProcess(ref, graceMs)));
}

function nodeDirs(paths: LabPaths): string[] {
  if (!existsSync(paths.nodesDir)) return [];
  return readdirSync(paths.nodesDir).map((name) => join(paths.nodesDir, name));
}

/** Nodes' things first: the lab's own namespace holds their links. */
function journals(paths: LabPaths): string[] {
  return [...nodeDirs(paths).map((dir) => new NodePaths(dir).journal), paths.journal];
}

/** SIGTERM to all processes of all pods at once, then a common wait; what is left is killed with its namespace. */
async function endPods(resources: readonly OwnedResource[]): Promise<void> {
  const names = resources.flatMap((resource) =>
    resource.kind === "netns" && netnsExists(resource.name) ? [resource.name] : [],
  );
  const pids = (await Promise.all(names.map((name) => netnsPids(name).catch(() => [])))).flat();
  for (const pid of pids) kill(pid, "SIGTERM");
  for (const until = Date.now() + POD_GRACE_MS; Date.now() < until; ) {
    if (pids.every((pid) => processStartTime(pid) === undefined)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function removeFiles(paths: LabPaths): void {
  rmSync(paths.dir, { recursive: true, force: true });
  removeRootIfEmpty(join(paths.dir, ".."));
}

export function removeRootIfEmpty(root: string = runRoot()): void {
  try {
    rmdirSync(root);
  } catch {
    // Other labs still live there.
  }
}
