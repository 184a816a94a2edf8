/** Namespaces and processes that the bench makes, and their removal however it ends. */
import { type ChildProcess, execFile, type SpawnOptions, spawn } from "node:child_process";
import { accessSync, constants, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";

const NAME = /^pwb-(\d+)-/;
const READY_TIMEOUT_MS = 15_000;

/** What a path needs is missing, or does not work on this machine: it is skipped with these words. */
export class Unusable extends Error {}

/** A process of the bench with what it has printed. */
export interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Standard output and error, mixed. */
  output(): string;
  readonly ended: Promise<number>;
}

export class Lab {
  readonly #running = new Set<Running>();
  #closing: Promise<void> | undefined;

  /** Removes what benches that were killed have left: namespaces of processes that are gone. */
  static async sweep(): Promise<void> {
    for (const name of namespaces()) {
      const owner = Number(NAME.exec(name)?.[1] ?? process.pid);
      if (!isAlive(owner)) await removeNetns(name);
    }
  }

  /** Whether all is being removed, so that what fails now fails because of that. */
  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** Makes a namespace with loopback up; returns its full name. */
  async netns(role: string): Promise<string> {
    if (this.isClosing) throw new Error("the bench is stopping");
    const name = `pwb-${process.pid}-${role}`;
    await run("ip", ["netns", "add", name]);
    await this.ip(name, ["link set lo up"]);
    const settings = [
      "net.ipv4.ip_local_port_range=1024 65535",
      "net.core.somaxconn=4096",
      "net.ipv4.ip_forward=1",
    ];
    await this.run(name, ["sysctl", "-qw", ...settings]);
    return name;
  }

  /** Runs `ip` commands in a namespace. */
  async ip(netns: string, commands: readonly string[]): Promise<void> {
    await run("ip", ["-n", netns, "-batch", "-"], `${commands.join("\n")}\n`);
  }

  /** Runs a program in a namespace to its end; returns what it printed. */
  run(netns: string, words: readonly string[], input?: string, timeoutMs = 60_000): Promise<string> {
    const [program, args] = entering(netns, words);
    return run(program, args, input, timeoutMs);
  }

  /** Starts a program in a namespace. It ends with the lab. */
  start(netns: string, words: readonly string[], options: SpawnOptions = {}): Running {
    const [program, args] = entering(netns, words);
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], ...options });
    let printed = "";
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (bytes: Buffer) => (printed += bytes.toString()));
    child.stdin?.on("error", () => undefined);
    const ended = new Promise<number>((resolve) => {
      child.on("error", (error) => {
        printed += error.message;
        resolve(255);
      });
      child.on("close", (code) => resolve(code ?? 255));
    });
    const running: Running = { child, pid: child.pid ?? 0, output: () => printed, ended };
    this.#running.add(running);
    void ended.then(() => this.#running.delete(running));
    return running;
  }

  /** Starts a program and waits until it has printed `sign`. */
  async startReady(
    netns: string,
    words: readonly string[],
    sign: string,
    options?: SpawnOptions,
  ): Promise<Running> {
    const running = this.start(netns, words, options);
    let isDone = false;
    void running.ended.then(() => (isDone = true));
    for (const until = Date.now() + READY_TIMEOUT_MS; !running.output().includes(sign); await sleep(20)) {
      if (isDone || Date.now() > until)
        throw new Unusable(`${words[0]} did not start: ${lastLine(running.output())}`);
    }
    return running;
  }

  /** Stops what runs, and removes the namespaces with all that is in them. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#remove();
    return this.#closing;
  }

  async #remove(): Promise<void> {
    const ended = [...this.#running].map((running) => running.ended);
    for (const { child } of this.#running) child.kill("SIGTERM");
    await Promise.race([Promise.all(ended), sleep(2000)]);
    const own = namespaces().filter((name) => Number(NAME.exec(name)?.[1]) === process.pid);
    for (const name of own) await removeNetns(name);
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export const lastLine = (text: string): string => text.trim().split("\n").at(-1) || "it said nothing";

/** Full path of an installed program. @throws Unusable */
export function installed(program: string): string {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  for (const folder of folders) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Looked for in the next one.
    }
  }
  throw new Unusable(`${program} is not installed`);
}

/** Runs a program to its end. @throws Error with the program's own words */
export function run(
  program: string,
  args: readonly string[],
  input?: string,
  timeoutMs = 60_000,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: 64 << 20, timeout: timeoutMs, killSignal: "SIGKILL" } as const;
    const child = execFile(program, [...args], options, (error, stdout, stderr) => {
      if (error)
        reject(new Error(`${program} ${args.join(" ")}: ${lastLine(stderr || stdout || error.message)}`));
      else resolve(stdout);
    });
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input ?? "");
  });
}

function entering(netns: string, words: readonly string[]): [string, string[]] {
  return ["nsenter", [`--net=/run/netns/${netns}`, "--", ...words]];
}

function namespaces(): string[] {
  try {
    return readdirSync("/run/netns").filter((name) => NAME.test(name));
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Ends every process in a namespace of ours, then the namespace. */
async function removeNetns(name: string): Promise<void> {
  if (!namespaces().includes(name)) return;
  for (let round = 0; round < 50; round++) {
    const pids = (await run("ip", ["netns", "pids", name])).split(/\s+/).filter(Boolean).map(Number);
    if (pids.length === 0) break;
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }
    await sleep(20);
  }
  await run("ip", ["netns", "del", name]);
}
