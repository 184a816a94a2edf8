/** One server for each directory: a lock file that names its process by id and start time, so that a stale one shows. */
import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

const MAX_TRIES = 5;

/** Takes the lock; the returned function gives it back. @throws Error when a living process has it */
export async function acquireLock(dir: string): Promise<() => Promise<void>> {
  const path = join(dir, "lock");
  const mine = `${process.pid} ${(await startTime(process.pid)) ?? ""}`;
  const draft = `${path}.${process.pid}.${process.hrtime.bigint()}`;
  await writeFile(draft, mine, { mode: 0o600 });
  try {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      if (await linked(draft, path)) return () => rm(path, { force: true });
      const owner = await readFile(path, "utf8").catch(() => undefined);
      if (owner === undefined) continue;
      if (await lives(owner)) {
        const pid = owner.split(" ")[0];
        throw new Error(
          `store ${dir} is in use by process ${pid}; stop that one first, or choose another directory`,
        );
      }
      await removeStale(path, owner);
    }
  } finally {
    await rm(draft, { force: true });
  }
  throw new Error(`store ${dir} cannot be locked: others keep taking ${path}; try again`);
}

/** Makes the lock file with its content in one step; false when there is one. */
async function linked(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Moves the file aside before it is deleted: if another process was faster, it is that one's fresh lock, put back. */
async function removeStale(path: string, stale: string): Promise<void> {
  const aside = `${path}.stale.${process.pid}`;
  try {
    await rename(path, aside);
    if ((await readFile(aside, "utf8")) !== stale) await linked(aside, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  await rm(aside, { force: true });
}

/** Whether the process that wrote the lock still runs, and is not another with its id. */
async function lives(owner: string): Promise<boolean> {
  const [pid, started] = owner.split(" ");
  if (!/^[1-9][0-9]*$/.test(pid)) return false;
  return started !== "" && (await startTime(Number(pid))) === started;
}

/** Start of a process in clock ticks since boot (proc_pid_stat(5), field 22); undefined when there is none. */
async function startTime(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  // The second field is the name in parentheses and may hold anything.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}
