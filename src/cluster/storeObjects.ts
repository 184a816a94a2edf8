/**
 * A lab's objects in an etcd that outlives it. They go with the lab, unless there were others before: then nobody can say
 * whose is whose, and all stay.
 */
import { existsSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CommandError, netnsExists, run } from "../node/index.js";
import type { Store } from "../store/index.js";
import { enterHost } from "./hostNetwork.js";
import type { LabPaths } from "./paths.js";
import type { LabRecord } from "./record.js";

const FORGET_MAIN = fileURLToPath(new URL("./forgetMain.js", import.meta.url));

/** Keys that a lab writes, all by prefix. */
function prefixes({ plan }: LabRecord): readonly string[] {
  return ["/registry/", `${plan.network.pods.prefix}/`];
}

/** Notes, before the lab writes anything, whether what it will write is all there is. */
export async function claimStore(paths: LabPaths, record: LabRecord, store: Store): Promise<void> {
  if (!record.store || existsSync(paths.applied) || existsSync(paths.ownsStore)) return;
  for (const key of prefixes(record))
    if ((await store.range(key, { prefix: true, countOnly: true })).count > 0) return;
  writeFileSync(paths.ownsStore, "", { mode: 0o600 });
}

export async function deleteObjects(record: LabRecord, store: Store): Promise<void> {
  await store.txn(
    [],
    prefixes(record).map((key) => ({ type: "delete", key, prefix: true }) as const),
  );
}

/** Deletes them from where the lab is, which the etcd may be in reach of alone; undefined, or why they are still there. */
export async function forgetObjects(paths: LabPaths, record: LabRecord): Promise<string | undefined> {
  const netns = record.netns !== undefined && netnsExists(record.netns) ? record.netns : undefined;
  const [lab, root] = paths.clusterArgs.slice(1) as [string, string];
  const [program = "", ...args] = [...enterHost(netns), process.execPath, FORGET_MAIN, lab, root];
  try {
    await run(program, args);
    return undefined;
  } catch (error) {
    const why = error instanceof CommandError ? error.stderr.trim() : (error as Error).message;
    return `objects in the store: ${why}; start it, or leave them there with --keep-store`;
  }
}
