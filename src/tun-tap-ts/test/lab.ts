/** Namespaces, child processes and waiting for the tests of this package. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { openTap, type TapDevice, type TapOptions } from "../src/index.js";

export const PACKAGE_ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Runs iproute2; throws with its message. */
export function ip(...args: string[]): string {
  return execFileSync("ip", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** What a test made, to be undone in reverse order. */
export class Lab {
  readonly #undo: (() => void)[] = [];
  #names = 0;

  /** Undo `action` at the end. */
  later(action: () => void): void {
    this.#undo.push(action);
  }

  /** A fresh namespace with loopback up; returns its name. */
  netns(): string {
    const name = `ttt-${process.pid}-${this.#names++}`;
    ip("netns", "add", name);
    this.later(() => ip("netns", "del", name));
    ip("-n", name, "link", "set", "lo", "up");
    return name;
  }

  /** A device `eth0` in a fresh namespace, with this address and up. */
  host(cidr: string, options: TapOptions = {}): { tap: TapDevice; ns: string } {
    const ns = this.netns();
    const tap = openTap({ name: "eth0", netns: nsPath(ns), ...options });
    this.later(() => tap.close());
    ip("-n", ns, "addr", "add", cidr, "dev", "eth0");
    ip("-n", ns, "link", "set", "eth0", "up");
    return { tap, ns };
  }

  cleanUp(): void {
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }
}

export const nsPath = (ns: string): string => `/run/netns/${ns}`;

/** Starts a program inside a namespace; standard output is piped, standard error shown. */
export function spawnIn(ns: string, program: string, ...args: string[]): ChildProcess {
  return spawn("ip", ["netns", "exec", ns, program, ...args], { stdio: ["ignore", "pipe", "inherit"] });
}

/** Exit code and standard output of a child. */
export async function finish(child: ChildProcess): Promise<{ code: number | null; out: string }> {
  let out = "";
  child.stdout?.on("data", (chunk) => {
    out += chunk;
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, out };
}

/** Waits for the first output line. */
export async function firstLine(child: ChildProcess): Promise<string> {
  const [chunk] = (await once(child.stdout!, "data")) as [Buffer];
  return chunk.toString();
}

/** Lets the event loop turn until the condition holds; throws after some ten seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 5000; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error(`waited in vain for ${what}`);
}

/** Some turns of the event loop, for what must not happen. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setTimeout(resolve, 2));
}

const SERVER = `
const hash = require("crypto").createHash("sha256");
require("net").createServer((s) => {
  s.on("data", (d) => hash.update(d));
  s.on("end", () => { console.log(hash.digest("hex")); process.exit(0); });
}).listen(5001, () => console.log("ready"));`;
const CLIENT = `
const [host, mib] = process.argv.slice(1);
const s = require("net").connect(5001, host);
const block = Buffer.alloc(1 << 20);
let n = 0;
const more = () => {
  while (n < Number(mib)) {
    for (let i = 0; i < block.length; i += 4) block.writeUInt32LE((i * 2654435761 + n) >>> 0, i);
    n++;
    if (!s.write(Buffer.from(block))) return s.once("drain", more);
  }
  s.end();
};
more();
s.on("error", (e) => { console.error(e.message); process.exit(1); });`;

/** SHA-256 of what the client of {@link transfer} sends. */
export function expectedHash(mib: number): string {
  const hash = createHash("sha256");
  const block = Buffer.alloc(1 << 20);
  for (let n = 0; n < mib; n++) {
    for (let i = 0; i < block.length; i += 4) block.writeUInt32LE((i * 2654435761 + n) >>> 0, i);
    hash.update(block);
  }
  return hash.digest("hex");
}

/** Sends bytes by TCP from one namespace to an address in another; returns the SHA-256 of what arrived. */
export async function transfer(from: string, to: string, host: string, mib: number): Promise<string> {
  const server = spawnIn(to, process.execPath, "-e", SERVER);
  try {
    await firstLine(server);
    const received = finish(server);
    const sent = await finish(spawnIn(from, process.execPath, "-e", CLIENT, host, String(mib)));
    if (sent.code !== 0) throw new Error("the client failed");
    return (await received).out.trim();
  } finally {
    server.kill();
  }
}
