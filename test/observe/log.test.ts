import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { closeLog, createLog, type LogOptions, lastWords } from "../../src/observe/index.js";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "podwire-log-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

function open(options: Partial<LogOptions> = {}) {
  const console = new PassThrough();
  const file = join(directory, "node.log");
  const log = createLog({ component: "k8s-node-1", file, console, ...options });
  const readable = () => String(console.read() ?? "").replaceAll(/^\d\d:\d\d:\d\d\.\d{3}/gm, "TIME");
  const entries = () =>
    readFileSync(file, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  return { log, readable, entries, console };
}

describe("the log", () => {
  it("is readable on the console", async () => {
    const { log, readable } = open();
    log.info("lease acquired", { subnet: "172.16.2.0/24", ttlSeconds: 86400 });
    log.warn("peer is silent", { peer: "k8s node 2", empty: "" });
    log.error("store lost", { error: new Error("connect refused"), retry: { afterMs: 100 } });
    await closeLog(log);
    expect(readable()).toBe(
      [
        "TIME info  k8s-node-1: lease acquired subnet=172.16.2.0/24 ttlSeconds=86400",
        'TIME warn  k8s-node-1: peer is silent peer="k8s node 2" empty=""',
        'TIME error k8s-node-1: store lost error="connect refused" retry={"afterMs":100}',
        "",
      ].join("\n"),
    );
  });

  it("is JSON in the file", async () => {
    const { log, entries } = open();
    log.error("store lost", { error: new Error("connect refused"), retries: 3 });
    await closeLog(log);
    const [entry] = entries();
    expect(entry).toMatchObject({
      level: "error",
      component: "k8s-node-1",
      message: "store lost",
      retries: 3,
    });
    expect(entry.error).toMatch(/^Error: connect refused\n/);
    expect(new Date(entry.time).toISOString()).toBe(entry.time);
  });

  it("keeps to its level", async () => {
    const { log, readable } = open({ level: "warn" });
    log.info("unheard");
    log.debug("unheard");
    log.warn("heard");
    await closeLog(log);
    expect(readable()).toBe("TIME warn  k8s-node-1: heard\n");
  });

  it("has its last line in the file when closed, after a burst", async () => {
    const { log, entries } = open();
    for (let i = 0; i < 5000; i++) log.info("line", { i, filling: "x".repeat(200) });
    await closeLog(log);
    expect(entries().map((entry) => entry.i)).toEqual(Array.from({ length: 5000 }, (_, i) => i));
  });

  it("appends to what is there", async () => {
    for (const message of ["first run", "second run"]) {
      const { log, entries } = open();
      log.info(message);
      await closeLog(log);
      expect(entries().at(-1).message).toBe(message);
    }
  });

  it("says once that its file cannot be written, and goes on", async () => {
    const { log, readable, console } = open({ file: join(directory, "missing", "node.log") });
    await once(console, "readable");
    log.info("still here");
    await closeLog(log);
    expect(readable()).toMatch(
      /^The log file .*node\.log cannot be written: ENOENT.*\nTIME info {2}k8s-node-1: still here\n$/,
    );
  });

  it("paints levels only when asked", async () => {
    const { log, readable } = open({ colour: true });
    log.error("red");
    await closeLog(log);
    expect(readable()).toContain("\u001b[31merror\u001b[39m");
  });
});

describe("the last words of a process", () => {
  it("are all told when it crashes twice, and it ends once, with the first code", async () => {
    const { log, readable, entries, console } = open();
    const codes: number[] = [];
    const ended = once(console, "ended");
    const end = lastWords(
      log,
      (code) => {
        codes.push(code);
        console.emit("ended");
      },
      console,
    );
    void end(1, "first");
    void end(2, "second");
    log.warn("a part that does not know yet");
    void end(3);
    await ended;
    log.warn("nor does this one");
    await new Promise((resolve) => setImmediate(resolve));
    expect(codes).toEqual([1]);
    expect(entries().map(({ message }) => message)).toEqual(["first"]);
    const said = readable();
    expect(said).toContain("k8s-node-1: first\n");
    expect(said).toContain("second\n");
  });
});
