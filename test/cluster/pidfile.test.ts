/** Pid files and the ending of processes, with real ones that the test starts. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { endProcess, findProcesses, isAlive, readPidFile, writePidFile } from "../../src/cluster/pidfile.js";

let dir: string;
let path: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "podwire-pid-"));
  path = join(dir, "x.pid");
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  rmSync(dir, { recursive: true });
});

/** Starts a shell script and waits for its first line. */
async function start(script: string): Promise<ChildProcess & { pid: number }> {
  const child = spawn("sh", ["-c", script], { stdio: ["ignore", "pipe", "ignore"] });
  children.push(child);
  await new Promise((resolve) => child.stdout?.once("data", resolve));
  return child as ChildProcess & { pid: number };
}

const signalOf = (child: ChildProcess) =>
  new Promise((resolve) => child.once("exit", (_code, signal) => resolve(signal)));

it("names a process while it runs, and nothing afterwards", async () => {
  const child = await start("echo; exec sleep 300");
  const ref = writePidFile(path, child.pid);
  expect(ref.pid).toBe(child.pid);
  expect(readPidFile(path)).toEqual(ref);
  const end = signalOf(child);
  await endProcess(ref, 10_000);
  expect(await end).toBe("SIGTERM");
  expect(isAlive(ref)).toBe(false);
  expect(readPidFile(path)).toBeUndefined();
  await endProcess(ref, 10_000);
});

it("kills what ignores SIGTERM, or at once without a grace period", async () => {
  for (const [script, graceMs] of [
    ["trap '' TERM; echo; while :; do sleep 1; done", 50],
    ["echo; sleep 300", 0],
  ] as const) {
    const child = await start(script);
    const end = signalOf(child);
    await endProcess(writePidFile(path, child.pid), graceMs);
    expect(await end).toBe("SIGKILL");
  }
});

it("does not end another process that was given the id", async () => {
  const child = await start("echo; sleep 300");
  const { pid } = writePidFile(path, child.pid);
  const other = { pid, startTime: "1" };
  writeFileSync(path, JSON.stringify(other));
  expect(readPidFile(path)).toBeUndefined();
  await endProcess(other, 0);
  expect(child.signalCode).toBeNull();
  expect(child.kill(0)).toBe(true);
});

it.each(["", "null", "{", "[]", '{"pid":0,"startTime":"1"}', '{"pid":-1}'])("reads %j as nobody", (text) => {
  writeFileSync(path, text);
  expect(readPidFile(path)).toBeUndefined();
});

it("is nobody's when there is none", () => {
  expect(readPidFile(path)).toBeUndefined();
});

it("finds a process without a pid file by the end of its command line, and no other", async () => {
  const child = spawn("sh", ["-c", "echo; read -r line", "name", "start", path], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  children.push(child);
  await new Promise((resolve) => child.stdout.once("data", resolve));
  expect(findProcesses(["start", path]).map(({ pid }) => pid)).toEqual([child.pid]);
  expect(findProcesses(["tart", path])).toEqual([]);
  expect(findProcesses(["start"])).toEqual([]);
  const [found] = findProcesses([path]);
  await endProcess(found!, 0);
  expect(findProcesses([path])).toEqual([]);
});
