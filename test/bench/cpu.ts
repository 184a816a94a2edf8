/** CPU time: of the whole machine from /proc/stat, of processes from /proc/PID/stat. */
import { readFileSync } from "node:fs";

/** USER_HZ, which Linux fixes for what /proc shows. */
const TICKS_PER_SECOND = 100;

export interface CpuTime {
  readonly systemSeconds: number;
  readonly ownSeconds: number;
}

/** Seconds of CPU so far. `pids` are the processes that carry the packets. */
export function cpuTime(pids: readonly number[]): CpuTime {
  const ownTicks = pids.reduce((sum, pid) => sum + processTicks(pid), 0);
  return { systemSeconds: busyTicks() / TICKS_PER_SECOND, ownSeconds: ownTicks / TICKS_PER_SECOND };
}

/** All but idle and iowait; guest time is in user time already (proc(5)). */
function busyTicks(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = readFileSync("/proc/stat", "utf8")
    .slice("cpu".length, 200)
    .trim()
    .split("\n")[0]!
    .split(/\s+/)
    .map(Number);
  return user + nice + system + irq + softirq;
}

/** User and system time of all threads; fields 14 and 15, counted behind the name, which may hold blanks. */
function processTicks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}
