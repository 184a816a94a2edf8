/** The file of network policies between two node processes. */
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { PolicyMemory, type Remembered } from "../../src/node/policyMemory.js";
import { eventually } from "../root/lab.js";

let dir = "";
let known: Remembered;
const failures: string[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "podwire-policies-"));
  known = { policies: [{ metadata: { name: "deny" } }], pods: [{ metadata: { name: "a" } }], namespaces: [] };
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));
const memory = (path = join(dir, "policies.json")) =>
  new PolicyMemory(
    path,
    () => known,
    (error) => failures.push(error.message),
  );

it("is its owner's alone, and tells the next process what was known", async () => {
  expect(memory().load()).toBeUndefined();
  memory().changed();
  const loaded = await eventually(
    "the file",
    async () => memory().load(),
    (found) => found !== undefined,
  );
  expect(loaded).toEqual(known);
  expect(statSync(join(dir, "policies.json")).mode & 0o777).toBe(0o600);
});

it("is written at the end, when a change waits, and not otherwise", () => {
  const one = memory();
  one.stop();
  expect(readdirSync(dir)).toEqual([]);
  one.changed();
  one.stop();
  expect(memory().load()).toEqual(known);
});

it("goes with the last policy", () => {
  const one = memory();
  one.changed();
  one.stop();
  known = { ...known, policies: [] };
  one.changed();
  one.stop();
  expect(readdirSync(dir)).toEqual([]);
});

it("that is damaged counts as none; one that cannot be written is told", () => {
  writeFileSync(join(dir, "policies.json"), '{"policies": [');
  expect(memory().load()).toBeUndefined();
  const nowhere = memory(join(dir, "missing", "policies.json"));
  nowhere.changed();
  nowhere.stop();
  expect(failures.join()).toContain("ENOENT");
});
