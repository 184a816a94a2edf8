/** The lock of `up`, with real processes. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { takeUpLock } from "../../src/cluster/upLock.js";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "podwire-up-"));
});
afterEach(() => rmSync(root, { recursive: true }));

it("is one process's at a time, for each lab", () => {
  const release = takeUpLock("shop", root);
  expect(release).toBeDefined();
  expect(takeUpLock("shop", root)).toBeUndefined();
  const other = takeUpLock("web", root);
  expect(other).toBeDefined();
  release?.();
  other?.();
  const again = takeUpLock("shop", root);
  expect(again).toBeDefined();
  again?.();
  expect(readdirSync(root)).toEqual([]);
});

it("of a process that is gone, or that nobody can read, is taken over", () => {
  for (const stale of [
    `{"pid":${process.pid},"startTime":"1"}`,
    '{"pid":4194303,"startTime":"1"}',
    "{",
    "",
  ]) {
    writeFileSync(join(root, ".shop.up"), stale);
    const release = takeUpLock("shop", root);
    expect(release, stale).toBeDefined();
    release?.();
    expect(readdirSync(root)).toEqual([]);
  }
});
