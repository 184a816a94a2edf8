/** Carries connections, and how they are tracked, from one node process to the next. */
import { type Datapath, readSysctl, SYSCTL_NAMES, writeSysctls } from "../datapath/index.js";
import type { ConntrackFile } from "./conntrackFile.js";

/** How often connections are saved: what a killed process loses at most. */
const SAVE_MS = 5000;

export type KeeperLog = (level: "info" | "warn", message: string) => void;

/**
 * Takes up what the process before has saved, and saves it for the next, now and then and when the result is called. The
 * clock of the connection table must be set.
 */
export function keepConntrack({ conntrack }: Datapath, file: ConntrackFile, log: KeeperLog): () => void {
  const read = () =>
    Object.fromEntries(SYSCTL_NAMES.map((name) => [name, String(readSysctl(conntrack, name))]));
  const configured = read();
  const saved = file.load();
  if (saved !== undefined) {
    try {
      writeSysctls(conntrack, saved.settings);
    } catch (error) {
      log("warn", `a setting of the process before does not hold any more: ${(error as Error).message}`);
    }
    const elapsedMs = Date.now() - saved.savedAtMs;
    let restored = 0;
    for (const slice of saved.slices) restored += conntrack.restore(slice, elapsedMs);
    if (restored > 0) log("info", `${restored} open connections go on`);
  }
  const current = () => {
    const changed = Object.entries(read()).filter(
      ([name, value]) => value !== configured[name] && !name.endsWith("_count"),
    );
    return { slices: conntrack.snapshots(), settings: Object.fromEntries(changed), savedAtMs: Date.now() };
  };
  const failed = (error: Error) => log("warn", `connections are not saved: ${error.message}`);
  const timer = setInterval(() => {
    file.save(current()).catch(failed);
  }, SAVE_MS);
  return () => {
    clearInterval(timer);
    try {
      file.saveLast(current());
    } catch (error) {
      failed(error as Error);
    }
  };
}
