/** One `up` of a lab at a time: a lock file beside the labs, which names its process by id and start time. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runRoot } from "./paths.js";
import { readPidFile, writePidFile } from "./pidfile.js";

const MAX_TRIES = 5;

/** Takes the lock of a lab; undefined when a living process has it, else what gives it back. */
export function takeUpLock(lab: string, root: string = runRoot()): (() => void) | undefined {
  mkdirSync(root, { recursive: true, mode: 0o755 });
  // No lab has such a name, and labs are directories.
  const path = join(root, `.${lab}.up`);
  const draft = `${path}.${process.pid}`;
  writePidFile(draft);
  try {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      if (linked(draft, path)) return () => rmSync(path, { force: true });
      if (readPidFile(path)) return undefined;
      removeStale(path);
    }
    return undefined;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Makes the lock file with its content in one step; false when there is one. */
function linked(draft: string, path: string): boolean {
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Moves the file aside before it is deleted: if another process was faster, it is that one's fresh lock, put back. */
function removeStale(path: string): void {
  const aside = `${path}.stale.${process.pid}`;
  try {
    const stale = readFileSync(path, "utf8");
    renameSync(path, aside);
    if (readFileSync(aside, "utf8") !== stale) linked(aside, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  rmSync(aside, { force: true });
}
