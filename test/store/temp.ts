/** Directories and servers that a test makes and takes away again. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { connectStore, type Store } from "../../src/store/index.js";

export function tempDir(): string {
  return mkdtempSync(join(tmpdir(), "podwire-store-"));
}

/** A directory for the running test. */
export function testDir(): string {
  const dir = tempDir();
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A client for the running test. */
export function testClient(endpoints: readonly string[], timeoutMs?: number): Store {
  const store = connectStore({ endpoints, timeoutMs });
  onTestFinished(() => store.close());
  return store;
}
