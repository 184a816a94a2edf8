/** Drives the built `podwire` as a user does, each lab in a namespace and a run directory of its own. */
import { type ExecFileException, execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const CLI = `${ROOT}/dist/cli/main.js`;

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever its exit code. */
export function exec(
  words: readonly string[],
  options: { input?: string; timeoutMs?: number; env?: NodeJS.ProcessEnv } = {},
): Promise<Output> {
  const [program = "", ...args] = words;
  return new Promise((resolve) => {
    const child = execFile(
      program,
      args,
      {
        timeout: options.timeoutMs ?? 60_000,
        maxBuffer: 256 << 20,
        env: options.env ?? process.env,
        killSignal: "SIGKILL",
      },
      (error: ExecFileException | null, stdout, stderr) => {
        const code = error ? (typeof error.code === "number" ? error.code : 255) : 0;
        resolve({ code, stdout, stderr: error && !stderr ? `${stderr}${error.message}` : stderr });
      },
    );
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.input ?? "");
  });
}

export class TestLab {
  readonly netns: string;
  readonly runDir: string;
  readonly env: NodeJS.ProcessEnv;

  constructor(name: string) {
    this.netns = `pwt-${name}-${process.pid}`;
    this.runDir = `/run/podwire-test-${name}-${process.pid}`;
    this.env = { ...process.env, PODWIRE_RUN_DIR: this.runDir, NO_COLOR: "1" };
  }

  podwire(...args: string[]): Promise<Output> {
    return exec([process.execPath, CLI, ...args], { env: this.env, timeoutMs: 110_000 });
  }

  /** Runs `podwire` and returns what it printed; a failure is an error with its words. */
  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.podwire(...args);
    if (code !== 0) throw new Error(`podwire ${args.join(" ")} ended with ${code}:\n${stdout}${stderr}`);
    return stdout;
  }

  up(topology: string, ...more: string[]): Promise<string> {
    return this.ok("up", topology, "--netns", this.netns, "--detach", ...more);
  }

  /** Runs a program on the lab's host side. */
  host(...words: string[]): Promise<Output> {
    return exec(["nsenter", `--net=/run/netns/${this.netns}`, "--", ...words]);
  }

  async curl(url: string, ...more: string[]): Promise<Output> {
    return this.host("curl", "-sS", "--max-time", "5", ...more, url);
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.ok(...args, "-o", "json")) as T;
  }

  /** Takes the lab down and fails when anything of it is left. */
  async down(): Promise<void> {
    await this.ok("down", "--all");
  }

  /** Everything on the machine that a lab could leave behind, as lines. */
  async footprint(): Promise<string[]> {
    const links = await exec(["ip", "-o", "link", "show"]);
    const routes = await exec(["ip", "-4", "route", "show", "table", "all"]);
    const netns = existsSync("/run/netns") ? readdirSync("/run/netns") : [];
    return [
      ...links.stdout.split("\n").map((line) => `link ${line.split(":")[1]?.trim() ?? ""}`),
      ...routes.stdout.split("\n").map((line) => `route ${line}`),
      ...netns.map((name) => `netns ${name}`),
      ...(existsSync(this.runDir) ? [`directory ${this.runDir}`] : []),
      ...this.processes().map((line) => `process ${line}`),
    ].sort();
  }

  /** Command lines of processes that name this lab's directory or run in a namespace of ours. */
  processes(): string[] {
    return readdirSync("/proc").flatMap((pid) => {
      if (!/^\d+$/.test(pid)) return [];
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        const environment = readFileSync(`/proc/${pid}/environ`, "utf8");
        const [, pod] = /PODWIRE_POD=([^\0]*)/.exec(environment) ?? [];
        if (pod !== undefined) return [`${command} of pod ${pod}`];
        return command.includes(this.runDir) ? [command] : [];
      } catch {
        return [];
      }
    });
  }
}

/** Asks again until it holds; fails with the last answer. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T>,
  holds: (value: T) => boolean,
  withinMs = 15_000,
): Promise<T> {
  let last: unknown;
  for (const until = Date.now() + withinMs; Date.now() < until; ) {
    try {
      const value = await ask();
      if (holds(value)) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(
    `${what}: not within ${withinMs} ms; last: ${last instanceof Error ? last.message : JSON.stringify(last)}`,
  );
}

/** Parts of the line that podwire/echo answers with. */
export function identity(line: string): { pod: string; node: string; ip: string; client: string } {
  const parts = Object.fromEntries(
    line
      .trim()
      .split(" ")
      .map((part) => part.split("=") as [string, string]),
  );
  return { pod: parts.pod ?? "", node: parts.node ?? "", ip: parts.ip ?? "", client: parts.client ?? "" };
}
