/** The journal of what was made: what survives a death in the middle of a line, and what it refuses to believe. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  kill,
  OwnedJournal,
  type OwnedResource,
  parseStat,
  processStartTime,
  readOwned,
} from "../../src/node/owned.js";

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "podwire-owned-"));
  path = join(dir, "owned.jsonl");
});
afterEach(() => rmSync(dir, { recursive: true }));

const netns = (name: string): OwnedResource => ({ kind: "netns", name });
const link: OwnedResource = { kind: "link", name: "pw-a", alias: "podwire:lab" };

function record(...resources: OwnedResource[]): void {
  const journal = new OwnedJournal(path);
  for (const resource of resources) journal.record(resource);
  journal.close();
}

it("holds every resource once, in order, across processes", () => {
  record(netns("a"), link, netns("a"));
  record(link, netns("b"));
  expect(readOwned(path)).toEqual([netns("a"), link, netns("b")]);
  expect(readFileSync(path, "utf8").split("\n")).toHaveLength(4);
});

it("is on disk when record returns", () => {
  const journal = new OwnedJournal(path);
  journal.record(link);
  expect(readOwned(path)).toEqual([link]);
  expect(journal.has(link)).toBe(true);
  expect(journal.has(netns("a"))).toBe(false);
  journal.close();
});

it("loses to a torn last line that line only, not the next record", () => {
  record(netns("a"), netns("b"));
  const whole = readFileSync(path, "utf8");
  for (let bytes = 0; bytes <= whole.length; bytes++) {
    const kept = whole.slice(0, bytes);
    writeFileSync(path, kept);
    record(netns("c"));
    const survivors = [netns("a"), netns("b")].filter((one) => kept.includes(JSON.stringify(one)));
    expect(readOwned(path)).toEqual([...survivors, netns("c")]);
  }
});

it("believes only lines that name a resource", () => {
  writeFileSync(
    path,
    `${JSON.stringify(link)}\nnull\n7\n"x"\n{}\n{"kind":"disk","name":"sda"}\n{"kind":"netns"}\n`,
  );
  expect(readOwned(path)).toEqual([link]);
});

it("is empty when there is none, and an error when it cannot be read", () => {
  expect(readOwned(path)).toEqual([]);
  expect(() => readOwned(dir)).toThrow(`journal ${dir} cannot be read`);
});

it("goes on after a line that is not JSON", () => {
  record(netns("a"));
  appendFileSync(path, "}{\n");
  record(netns("b"));
  expect(readOwned(path)).toEqual([netns("a"), netns("b")]);
});

it("tells a process from a later one by its start time", () => {
  expect(processStartTime(process.pid)).toMatch(/^\d+$/);
  expect(processStartTime(0)).toBeUndefined();
  const fields = Array.from({ length: 50 }, (_, index) => `f${index + 3}`);
  const stat = parseStat(`42 (a) b (c) ${fields.join(" ")}`);
  expect(stat).toEqual({ pid: 42, state: "f3", startTime: "f22", threads: "f20" });
  expect(kill(2 ** 22 + 1, "SIGTERM")).toBe(false);
});
