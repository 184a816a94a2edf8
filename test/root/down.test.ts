/** Removal of a lab from its records alone: exactly what is in them goes, whoever made the rest. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { listLabs, removeLab } from "../../src/cluster/down.js";
import { LabPaths } from "../../src/cluster/paths.js";
import { writePidFile } from "../../src/cluster/pidfile.js";
import { netnsExists, OwnedJournal, type OwnedResource, processStartTime } from "../../src/node/owned.js";
import { run } from "../../src/node/run.js";
import { eventually } from "./lab.js";
import { PodLab } from "./pod-lab.js";

const ALIAS = "podwire:demo";
let lab: PodLab;
beforeAll(() => {
  lab = new PodLab();
});
afterAll(() => lab.close());

/** A lab's directory with one node; `record` is what stands in `lab.json`. */
function makeLab(name: string, record: object): LabPaths {
  const paths = new LabPaths(name, join(lab.dir, "run"));
  mkdirSync(paths.node("n1").dir, { recursive: true });
  writeFileSync(paths.record, JSON.stringify(record));
  return paths;
}

function journal(path: string, ...resources: OwnedResource[]): void {
  const owned = new OwnedJournal(path);
  for (const resource of resources) owned.record(resource);
  owned.close();
}

/** A persistent TAP with an alias, as a node leaves its own. */
async function tap(netns: string, name: string, alias: string): Promise<void> {
  await run("ip", ["-n", netns, "tuntap", "add", "dev", name, "mode", "tap"]);
  await run("ip", ["-n", netns, "link", "set", "dev", name, "alias", alias]);
}

async function links(netns: string): Promise<string[]> {
  const shown = JSON.parse(await run("ip", ["-n", netns, "-j", "link", "show"])) as { ifname: string }[];
  return shown.map(({ ifname }) => ifname).sort();
}

/** A process in a namespace that writes a file when it is told to end. */
function startPod(netns: string, done: string, script: string): number {
  const child = spawn("ip", ["netns", "exec", netns, "sh", "-c", script, "sh", done], {
    stdio: "ignore",
    detached: true,
  });
  child.unref();
  return child.pid ?? -1;
}

it("ends processes, removes namespaces and its own links in the user's namespace, and leaves the rest", async () => {
  const host = await lab.netns();
  const podNetns = await lab.netns();
  const paths = makeLab("demo", { netns: host });
  await tap(host, "pw-n1", ALIAS);
  await tap(host, "pw-n2", "somebody else's");
  const [ours, theirs] = ["pw-n1", "pw-n2"].map((name) => ({ kind: "link", name, alias: ALIAS }) as const);
  journal(paths.node("n1").journal, ours!, theirs!, { kind: "netns", name: podNetns });
  const [up, done] = [join(lab.dir, "up"), join(lab.dir, "done")];
  const script = `trap 'echo >"$1"; exit 0' TERM; echo >${up}; while :; do sleep 0.05; done`;
  const pod = startPod(podNetns, done, script);
  await eventually("the pod", async () => existsSync(up), Boolean);
  const node = spawn("sleep", ["300"], { stdio: "ignore" });
  writePidFile(paths.node("n1").pid, node.pid);

  expect(await removeLab(paths)).toEqual({ removed: 3, problems: [] });
  expect(processStartTime(node.pid ?? 0)).toBeUndefined();
  expect(processStartTime(pod)).toBeUndefined();
  expect(existsSync(done)).toBe(true);
  expect(netnsExists(podNetns)).toBe(false);
  expect(await links(host)).toEqual(["lo", "pw-n2"]);
  expect(existsSync(paths.dir)).toBe(false);
  expect(listLabs(join(lab.dir, "run"))).toEqual([]);
  expect(await removeLab(paths)).toEqual({ removed: 0, problems: [] });
});

it("removes the namespace that plays the host when the lab made it, after all that is in it", async () => {
  const host = await lab.netns();
  const paths = makeLab("made", { netns: host });
  await tap(host, "pw-n1", ALIAS);
  journal(paths.journal, { kind: "hostns", name: host });
  journal(
    paths.node("n1").journal,
    { kind: "link", name: "pw-n1", alias: ALIAS },
    { kind: "netns", name: "pwtest-never-made" },
  );
  expect(await removeLab(paths)).toEqual({ removed: 3, problems: [] });
  expect(netnsExists(host)).toBe(false);
});

it("keeps the other labs, and the records of what could not be removed", async () => {
  const paths = makeLab("stuck", {});
  const other = makeLab("other", {});
  // A journal that cannot be read must not pass for an empty one.
  mkdirSync(paths.journal);
  await expect(removeLab(paths)).rejects.toThrow(`journal ${paths.journal} cannot be read`);
  expect(listLabs(join(lab.dir, "run"))).toEqual(["other", "stuck"]);
  await removeLab(other);
  expect(listLabs(join(lab.dir, "run"))).toEqual(["stuck"]);
});
