/**
 * Sandboxes of pods with `hostNetwork`: a second name of the node's own namespace, under which the pod's resolv.conf and
 * hosts lie. Other pods' processes are in the same namespace, so that this pod's are told by those files: `ip netns
 * exec` has mounted them for the first one, and all that it started has the same mounts.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { killAll, netnsPids } from "../owned.js";
import { run } from "../run.js";

/** Gives the namespace of a node another name. */
export async function nameNodeNetns(nodeNetns: string, name: string): Promise<void> {
  const path = `/run/netns/${name}`;
  writeFileSync(path, "", { flag: "wx", mode: 0o444 });
  await run("mount", ["--bind", `/run/netns/${nodeNetns}`, path]);
}

/** SIGKILL to every process of the pod that has this name for its namespace, until none is left. */
export function killHostProcesses(name: string): Promise<void> {
  return killAll(`pod in namespace ${name}`, async () => {
    const pids = await netnsPids(name);
    return pids.filter((pid) => mountsOf(pid).includes(`/netns/${name}/`));
  });
}

function mountsOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/mountinfo`, "utf8");
  } catch {
    // It has ended meanwhile.
    return "";
  }
}
