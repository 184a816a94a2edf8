/** `up` and `demo`: from a topology file to a lab that is ready, then until Ctrl-C. */
import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";
import pc from "picocolors";
import { abandon, type LabPaths, type Readiness, removeLab, startLab, waitReady } from "../cluster/index.js";
import { type LabPlan, loadTopology } from "../topology/index.js";
import { CliError, Exit, print } from "./context.js";
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

const LOG_POLL_MS = 250;

/** Resolves with the exit code. Throws what stands in the way; nothing of the lab is left then. */
export async function bringUp(topology: string, options: BringUpOptions): Promise<number> {
  checkNetns(options.netns);
  const plan = loadTopology(topology);
  const interrupted = new AbortController();
  // Stays: a second Ctrl-C must not end the clean-up. A terminal that closes ends the lab as well.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => interrupted.abort());
  process.stderr.on("error", () => {});
  const started = Date.now();
  note(`lab ${pc.bold(plan.name)} from ${basename(topology)}: ${count(plan.nodes.length, "node")}`);
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
    if (interrupted.signal.aborted) throw new CliError("interrupted; everything that was made is removed");
    throw error;
  }
  tellReadiness(state, Date.now() - started);
  for (const line of options.hints?.(plan) ?? []) print(line);
  if (options.detach) return state.ready ? Exit.ok : Exit.failed;
  await untilInterrupted(paths, interrupted.signal, options.trace ?? plan.options.trace);
  return takeDown(paths, plan.name);
}

/** The name becomes a file's under /run/netns. */
function checkNetns(name: string | undefined): void {
  if (name !== undefined && !/^[\w][\w.-]*$/.test(name))
    throw new CliError(`--netns ${name}: give a name of letters, digits, "-", "_" and "."`, Exit.usage);
}

const count = (many: number, what: string): string => `${many} ${what}${many === 1 ? "" : "s"}`;

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

function tellReadiness(state: Readiness, tookMs: number): void {
  const after = `after ${(tookMs / 1000).toFixed(1)} s`;
  if (state.ready) {
    note(`${pc.green("ready")} ${after}: ${count(state.nodes, "node")}, ${count(state.pods, "pod")}`);
  } else {
    note(`${pc.yellow("not ready")} ${after}, waiting for:`);
    for (const line of state.waitingFor) note(`  ${line}`);
  }
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
  const following = trace ? followTrace(paths, { signal }) : Promise.resolve();
  following.catch((error: Error) => note(`the trace ended: ${error.message}`));
  await new Promise<void>((resolve) => {
    // Gone: `podwire down` in another terminal.
    const stop = tail(paths.log, from, resolve);
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => {
      stop();
      resolve();
    });
  });
  await following.catch(() => {});
}

/** Copies what is added to a file to standard error. The timer keeps the program alive. */
function tail(path: string, from: number, onGone: () => void): () => void {
  let offset = from;
  const timer = setInterval(() => {
    const size = statSync(path, { throwIfNoEntry: false })?.size;
    if (size === undefined) {
      clearInterval(timer);
      return onGone();
    }
    if (size <= offset) return;
    createReadStream(path, { start: offset, end: size - 1 }).pipe(process.stderr, { end: false });
    offset = size;
  }, LOG_POLL_MS);
  return () => clearInterval(timer);
}

async function takeDown(paths: LabPaths, name: string): Promise<number> {
  note(`\ntaking lab ${name} down`);
  const { problems } = await removeLab(paths);
  for (const problem of problems) note(`${pc.red("not removed")}: ${problem}`);
  if (problems.length === 0) note("everything it made is removed");
  return problems.length === 0 ? Exit.ok : Exit.failed;
}
