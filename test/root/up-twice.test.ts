/** Two who do the same to one lab, and a node by hand. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readPidFile } from "../../src/cluster/index.js";
import { CrashLab } from "./crash-lab.js";
import { eventually } from "./lab.js";
import { Running } from "./running.js";

const lab = new CrashLab("twice", { nodes: 1 });
let byHand: Running | undefined;
afterAll(async () => {
  await byHand?.end();
  await lab.close();
});

describe("two `up` of one lab at once", () => {
  it("bring up one lab, and one of them is told why it does not", async () => {
    const before = await lab.footprint();
    const up = () => lab.podwire("up", lab.topology, "--netns", lab.netns, "--detach");
    const outputs = await Promise.all([up(), up()]);
    expect(outputs.map(({ code }) => code).sort(), JSON.stringify(outputs)).toEqual([0, 1]);
    const loser = outputs.find(({ code }) => code === 1);
    expect(loser?.stderr).toMatch(/error: lab .* (is being brought up by another podwire|is already up)/);
    await eventually("the lab", () => lab.ready("node-1"), Boolean);
    await lab.ok("down", lab.name);
    expect(await lab.footprint()).toEqual(before);
  });
});

describe("a node that was started by hand", () => {
  it("has a pid file, is not started twice, and ends with `down`", async () => {
    const other = `${lab.name}-hand`;
    const args = [
      ...["node", "--lab", other, "--name", "n9", "--ip", "10.99.0.9", "--host-ip", "10.99.0.1"],
      ...["--underlay", "127.99.0.9", "--services", "10.98.0.0/16"],
      ...["--store", `unix:${lab.runDir}/none.sock`, "--api", `unix:${lab.runDir}/none.sock`],
    ];
    byHand = new Running(lab, ...args);
    const pidFile = join(lab.runDir, other, "nodes", "n9", "node.pid");
    const named = await eventually(
      "the pid file",
      async () => readPidFile(pidFile),
      (ref) => ref !== undefined,
    );
    const again = await lab.podwire(...args);
    expect([again.code, again.stderr]).toEqual([
      1,
      expect.stringContaining(`node n9 of lab ${other} runs on this machine already (pid ${named?.pid})`),
    ]);
    await lab.ok("down", other);
    expect(await byHand.ended).not.toBe(-1);
    expect(existsSync(`/proc/${named?.pid}`)).toBe(false);
    expect(existsSync(pidFile)).toBe(false);
  });
});
