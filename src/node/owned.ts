/**
 * The journal of everything made on the host. A line is on disk before the thing exists, so that `down` finds all of
 * it even after `kill -9` at the worst moment; removing what was never made is not an error.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  rmdirSync,
  rmSync,
  writeSync,
} from "node:fs";
import { run } from "./run.js";

/** Files that `ip netns exec` puts over those in /etc, one directory a namespace (ip-netns(8)). */
export const NETNS_FILES = "/etc/netns";

export type OwnedResource =
  /** A named network namespace; everything in it, processes included, goes with it. */
  | { readonly kind: "netns"; readonly name: string }
  /** The namespace that plays the host, when `up --netns` made it; processes in it are the user's and stay. */
  | { readonly kind: "hostns"; readonly name: string }
  /** A link in the lab's host-side namespace, marked with the alias `podwire:<lab>`. */
  | { readonly kind: "link"; readonly name: string; readonly alias: string; readonly netns?: string };

const KINDS: readonly string[] = ["netns", "hostns", "link"] satisfies OwnedResource["kind"][];

/** Append-only JSON lines. */
export class OwnedJournal {
  readonly #fd: number;
  readonly #seen: Set<string>;

  constructor(path: string) {
    this.#seen = new Set(readOwned(path).map((resource) => JSON.stringify(resource)));
    this.#fd = openSync(path, "a+", 0o600);
    // A torn last line must not swallow the next record.
    if (!endsLine(this.#fd)) writeSync(this.#fd, "\n");
  }

  /** Whether the resource was recorded, by this process or an earlier one. */
  has(resource: OwnedResource): boolean {
    return this.#seen.has(JSON.stringify(resource));
  }

  /** Records a resource; call it before the resource is made. */
  record(resource: OwnedResource): void {
    const line = JSON.stringify(resource);
    if (this.#seen.has(line)) return;
    this.#seen.add(line);
    writeSync(this.#fd, `${line}\n`);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Whether an empty file or one whose last byte is a newline. */
function endsLine(fd: number): boolean {
  const { size } = fstatSync(fd);
  const last = Buffer.alloc(1);
  return size === 0 || (readSync(fd, last, 0, 1, size - 1) === 1 && last[0] === 10);
}

/**
 * Reads a journal, empty when the file does not exist. A torn line (the process died while writing it) stands for
 * nothing that was made.
 */
export function readOwned(path: string): OwnedResource[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new Error(`journal ${path} cannot be read: ${(error as Error).message}`);
  }
  return text.split("\n").flatMap(parseOwned);
}

function parseOwned(line: string): OwnedResource[] {
  try {
    const resource = JSON.parse(line) as OwnedResource;
    return KINDS.includes(resource.kind) && typeof resource.name === "string" ? [resource] : [];
  } catch {
    return [];
  }
}

/** Removes a resource; returns what could not be removed and why, or undefined. */
export async function removeOwned(resource: OwnedResource): Promise<string | undefined> {
  try {
    if (resource.kind === "netns") await removeNetns(resource.name);
    else if (resource.kind === "link") await removeLink(resource);
    else if (netnsExists(resource.name)) await run("ip", ["netns", "del", resource.name]);
    return undefined;
  } catch (error) {
    return `${resource.kind} ${resource.name}: ${(error as Error).message}`;
  }
}

async function removeNetns(name: string): Promise<void> {
  if (netnsExists(name)) await killNetnsProcesses(name);
  await unnameNetns(name);
}

/** Removes the name of a namespace and the files under it; the namespace goes when nothing else holds it. */
export async function unnameNetns(name: string): Promise<void> {
  rmSync(`${NETNS_FILES}/${name}`, { recursive: true, force: true });
  try {
    rmdirSync(NETNS_FILES);
  } catch {
    // Not there, or others keep files in it.
  }
  if (netnsExists(name)) await run("ip", ["netns", "del", name]);
}

async function removeLink(link: Extract<OwnedResource, { kind: "link" }>): Promise<void> {
  if (link.netns !== undefined && !netnsExists(link.netns)) return;
  const where = link.netns === undefined ? [] : ["-n", link.netns];
  let shown: string;
  try {
    shown = await run("ip", [...where, "-j", "link", "show", "dev", link.name]);
  } catch {
    return;
  }
  const [found] = JSON.parse(shown) as { ifalias?: string }[];
  // Someone else's link of the same name is not ours to remove; ours carries no alias only if we died between two calls.
  if (found?.ifalias !== undefined && found.ifalias !== link.alias) return;
  await run("ip", [...where, "link", "del", "dev", link.name]);
}

/** Whether a named network namespace exists (iproute2 keeps them as files). */
export function netnsExists(name: string): boolean {
  return existsSync(`/run/netns/${name}`);
}

/** Process ids whose network namespace is the named one. */
export async function netnsPids(name: string): Promise<number[]> {
  const printed = await run("ip", ["netns", "pids", name]);
  return printed.split(/\s+/).filter(Boolean).map(Number);
}

/** SIGKILL to everything in a namespace, until nothing is left. */
export function killNetnsProcesses(name: string): Promise<void> {
  return killAll(`namespace ${name}`, () => netnsPids(name));
}

/** SIGKILL to all that are found, until none is (a process may fork while we look). */
export async function killAll(place: string, find: () => Promise<number[]>): Promise<void> {
  for (let round = 0; round < 50; round++) {
    const pids = await find();
    if (pids.length === 0) return;
    for (const pid of pids) {
      if (pid !== process.pid) kill(pid, "SIGKILL");
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`processes in ${place} do not end: ${(await find()).join(" ")}`);
}

/** Sends a signal; false when there is no such process. */
export function kill(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}

/**
 * Start time of a process in clock ticks since boot (proc(5), field 22 of stat), which with its pid names it for good;
 * undefined when it does not exist or is a zombie.
 */
export function processStartTime(pid: number): string | undefined {
  try {
    const { state, startTime, threads } = parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
    // A dead leader's devices and sockets are open until its last thread is gone.
    return state === "Z" && Number(threads) <= 1 ? undefined : startTime;
  } catch {
    return undefined;
  }
}

/** The fields of a `/proc/PID/stat` line that tell processes apart (proc(5)). */
export function parseStat(stat: string): {
  readonly pid: number;
  readonly state?: string;
  readonly startTime?: string;
  readonly threads?: string;
} {
  // Field 2 is the program's name in parentheses and may itself hold blanks and parentheses; field 3 follows it.
  const [state, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { pid: Number.parseInt(stat, 10), state, startTime: rest[18], threads: rest[16] };
}
