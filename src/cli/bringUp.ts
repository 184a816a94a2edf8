/** `up` and `demo`: from a topology file to a lab that is ready, then until Ctrl-C. */
import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";
import pc from "picocolors";
import { abandon, type LabPaths, type Readiness, removeLab, startLab, waitReady } from "../cluster/index.js";
import { type LabPlan, loadTopology } from "../topology/index.js";
import { Exit, print } from "./context.js";
import { followTrace } from "./traceOutput.js";

export interface BringUpOptions {
  readonly detach?: boolean;
  readonly netns?: string;
  readonly trace?: boolean;
  readonly store?: string;
  readonly storeListen?: string;
  readonly apiPort?: number;
  readonly timeout: number;
  /** Printed once the lab is ready. */
  readonly hints?: (plan: LabPlan) => readonly string[];
}

/** Resolves with the exit code. */
export async function bringUp(topology: string, options: BringUpOptions): Promise<number> {
  const plan = await loadTopology(topology);
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
  const started = Date.now();
  note(`lab ${pc.bold(plan.name)} from ${basename(topology)}: ${plan.nodes.length} nodes`);
  const paths = await startLab(plan, {
    ...(options.netns === undefined ? {} : { netns: options.netns }),
    ...(options.store === undefined ? {} : { store: options.store.split(",") }),
    ...(options.storeListen === undefined ? {} : { storeListen: options.storeListen }),
    ...(options.apiPort === undefined ? {} : { apiPort: options.apiPort }),
    onProgress: note,
  });
  let state: Readiness;
  try {
    state = await waitReady(paths, options.timeout * 1000, progress(interrupted.signal));
  } catch (error) {
    await abandon(paths);
    if (interrupted.signal.aborted) return Exit.failed;
    throw error;
  }
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  if (state.ready) note(`${pc.green("ready")} after ${seconds} s: ${state.nodes} nodes, ${state.pods} pods`);
  else
    note(
      [`${pc.yellow("not ready")} after ${seconds} s:`, ...state.waitingFor.map((line) => `  ${line}`)].join(
        "\n",
      ),
    );
  for (const line of options.hints?.(plan) ?? []) print(line);
  if (options.detach) return state.ready ? Exit.ok : Exit.failed;
  await untilInterrupted(paths, interrupted.signal, options.trace ?? plan.options.trace);
  return takeDown(paths, plan.name);
}

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** One line that is rewritten on a terminal; a line for each change elsewhere. */
function progress(interrupted: AbortSignal): (now: Readiness) => void {
  let last = "";
  return (now) => {
    if (interrupted.aborted) throw new Error("interrupted");
    const next = now.waitingFor[0] ? `, waiting for ${now.waitingFor[0]}` : "";
    const line = `nodes ${now.nodesReady}/${now.nodes}, pods ${now.podsReady}/${now.pods}${next}`;
    if (line === last) return;
    last = line;
    if (!process.stderr.isTTY) return note(line);
    process.stderr.write(`\r\x1b[K${now.ready ? "" : line.slice(0, (process.stderr.columns ?? 80) - 1)}`);
  };
}

/** Shows the lab's log, and the trace when asked for, until Ctrl-C. */
async function untilInterrupted(paths: LabPaths, signal: AbortSignal, trace: boolean): Promise<void> {
  note(pc.dim("Ctrl-C takes the lab down"));
  const from = statSync(paths.log, { throwIfNoEntry: false })?.size ?? 0;
  const stopLog = tail(paths.log, from);
  const following = trace ? followTrace(paths, { signal }) : Promise.resolve();
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve());
    // An abort listener does not keep the program alive.
    const alive = setInterval(() => {}, 1 << 30);
    signal.addEventListener("abort", () => clearInterval(alive));
  });
  stopLog();
  await following.catch(() => {});
}

function tail(path: string, from: number): () => void {
  let offset = from;
  const timer = setInterval(() => {
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size <= offset) return;
    createReadStream(path, { start: offset, end: size - 1 }).pipe(process.stderr, { end: false });
    offset = size;
  }, 250);
  return () => clearInterval(timer);
}

async function takeDown(paths: LabPaths, name: string): Promise<number> {
  note(`\ntaking lab ${name} down`);
  const { problems } = await removeLab(paths);
  for (const problem of problems) note(`${pc.red("not removed")}: ${problem}`);
  if (problems.length === 0) note("everything it made is removed");
  return problems.length === 0 ? Exit.ok : Exit.failed;
}
