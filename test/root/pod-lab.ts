/** Real namespaces, directories and TAPs for tests of the pod runtime; everything is named `pwtest-` and removed again. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openTap, type TapDevice } from "tun-tap-ts";
import ts from "typescript";
import { killNetnsProcesses, netnsExists, OwnedJournal } from "../../src/node/owned.js";
import type { PodAttacher, SandboxRecord } from "../../src/node/pods/sandbox.js";
import { SandboxStore } from "../../src/node/pods/sandbox.js";
import { run } from "../../src/node/run.js";
import { exec, type Output, ROOT } from "./lab.js";

export const NETWORK = { gateway: "172.16.53.1", prefixLength: 24, mtuBytes: 1472 };

/** Opens TAPs as the node process does, and forgets them as its death would. */
export class TapAttacher implements PodAttacher {
  readonly taps = new Map<string, TapDevice>();

  attach(sandbox: SandboxRecord): void {
    const netns = `/run/netns/${sandbox.netns}`;
    this.taps.set(sandbox.uid, openTap({ name: "eth0", netns, vnetHdr: true, persist: true }));
  }

  detach(sandbox: SandboxRecord): void {
    this.taps.get(sandbox.uid)?.close();
    this.taps.delete(sandbox.uid);
  }

  close(): void {
    for (const tap of this.taps.values()) tap.close();
    this.taps.clear();
  }
}

export class PodLab {
  readonly dir = mkdtempSync(join(tmpdir(), "pwtest-"));
  /** What stands for the node's namespace; made by who needs it. */
  readonly nodeNetns = `pwtest-${process.pid}-node`;
  readonly #attachers: TapAttacher[] = [];
  readonly #journals: OwnedJournal[] = [];
  readonly #netns: string[] = [];

  netnsName(): string {
    const name = `pwtest-${process.pid}-${this.#netns.length}`;
    this.#netns.push(name);
    return name;
  }

  /** A namespace with its loopback up. */
  async netns(): Promise<string> {
    const name = this.netnsName();
    await run("ip", ["netns", "add", name]);
    await run("ip", ["-n", name, "link", "set", "lo", "up"]);
    return name;
  }

  get journalPath(): string {
    return join(this.dir, "owned.jsonl");
  }

  /** A store over the lab's directory as a newly started node process has it. */
  sandboxes(attacher: PodAttacher = this.attacher()): SandboxStore {
    const journal = new OwnedJournal(this.journalPath);
    this.#journals.push(journal);
    return new SandboxStore(join(this.dir, "pods"), journal, attacher, this.nodeNetns);
  }

  attacher(): TapAttacher {
    const attacher = new TapAttacher();
    this.#attachers.push(attacher);
    return attacher;
  }

  /** The echo image as a program: the only file that it is made of, without types. */
  echoProgram(): string[] {
    const source = readFileSync(`${ROOT}/src/node/images/echo.ts`, "utf8");
    const compilerOptions = { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022 };
    const path = join(this.dir, "echo.mjs");
    writeFileSync(path, ts.transpileModule(source, { compilerOptions }).outputText);
    return [process.execPath, path];
  }

  /** Command lines of processes that name this lab's directory: shells and programs of its containers. */
  processes(): string[] {
    return readdirSync("/proc").flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        return command.includes(this.dir) ? [command.replaceAll("\0", " ")] : [];
      } catch {
        return [];
      }
    });
  }

  async close(): Promise<void> {
    for (const attacher of this.#attachers) attacher.close();
    for (const journal of this.#journals) journal.close();
    for (const name of this.#netns) {
      if (!netnsExists(name)) continue;
      await killNetnsProcesses(name);
      await run("ip", ["netns", "del", name]);
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Runs a program in a namespace to its end, whatever its exit code. */
export function within(netns: string, words: readonly string[], input?: string): Promise<Output> {
  return exec(["ip", "netns", "exec", netns, ...words], input === undefined ? {} : { input });
}

/** Parent of a process (proc(5), field 4 of stat). */
export function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}
