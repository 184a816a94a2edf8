/** Pid files that cannot name the wrong process: each holds the pid and the process's start time (proc(5)). */
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { kill, processStartTime } from "../node/index.js";

export interface ProcessRef {
  readonly pid: number;
  readonly startTime: string;
}

export function writePidFile(path: string, pid: number = process.pid): ProcessRef {
  const ref = { pid, startTime: processStartTime(pid) ?? "" };
  writeFileSync(`${path}.new`, JSON.stringify(ref), { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return ref;
}

/** The process that a pid file names, if it still runs. */
export function readPidFile(path: string): ProcessRef | undefined {
  try {
    const ref = JSON.parse(readFileSync(path, "utf8")) as ProcessRef;
    return isAlive(ref) ? ref : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Processes whose command lines end in these arguments: those that a pid file would name, had the process that
 * started them lived to write it.
 */
export function findProcesses(args: readonly string[]): ProcessRef[] {
  const end = `\0${args.join("\0")}\0`;
  return readdirSync("/proc").flatMap((entry) => {
    const pid = Number(entry);
    const startTime = Number.isInteger(pid) && pid !== process.pid ? processStartTime(pid) : undefined;
    return startTime !== undefined && commandLine(pid).endsWith(end) ? [{ pid, startTime }] : [];
  });
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

export function isAlive(ref: ProcessRef): boolean {
  const now = processStartTime(ref.pid);
  return now !== undefined && now === ref.startTime;
}

/** Sends SIGTERM, waits, then SIGKILL; returns when the process is gone. */
export async function endProcess(ref: ProcessRef, graceMs: number): Promise<void> {
  if (!isAlive(ref)) return;
  kill(ref.pid, graceMs > 0 ? "SIGTERM" : "SIGKILL");
  if (await gone(ref, graceMs)) return;
  kill(ref.pid, "SIGKILL");
  if (!(await gone(ref, 5000))) throw new Error(`process ${ref.pid} does not end, not even by SIGKILL`);
}

async function gone(ref: ProcessRef, withinMs: number): Promise<boolean> {
  for (const until = Date.now() + withinMs; Date.now() <= until; ) {
    if (!isAlive(ref)) return true;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return !isAlive(ref);
}
