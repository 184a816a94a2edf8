/** What every command shares: which lab is meant, how errors end the program, how output is written. */
import { type Command, InvalidArgumentError, Option } from "commander";
import pc from "picocolors";
import {
  LabPaths,
  type LabRecord,
  LabUnreachableError,
  listLabs,
  readPidFile,
  readRecord,
} from "../cluster/index.js";
import { HttpKubeClient, parseLabelSelector } from "../kube/index.js";

/** Exit codes that a script can rely on. */
export const Exit = {
  ok: 0,
  /** The command was understood and could not do it. */
  failed: 1,
  /** The command line, a topology or a manifest is wrong. */
  usage: 2,
} as const;

/** An error whose message is all that the user needs; no stack is shown. */
export class CliError extends Error {
  override readonly name = "CliError";
  constructor(
    message: string,
    readonly exitCode: number = Exit.failed,
  ) {
    super(message);
  }
}

/** Errors of other folders that say the input is wrong. */
const USAGE_ERRORS: ReadonlySet<string> = new Set(["TopologyError", "ManifestError", "TraceFilterError"]);

export interface Lab {
  readonly name: string;
  readonly paths: LabPaths;
  readonly record: LabRecord;
}

/** The lab of `--lab`, or the only one there is. */
export function findLab(name: string | undefined): Lab {
  const labs = listLabs();
  const wanted = name ?? process.env.PODWIRE_LAB ?? (labs.length === 1 ? labs[0] : undefined);
  if (wanted === undefined) {
    const hint =
      labs.length === 0 ? "no lab is up: podwire up TOPOLOGY" : `which lab? --lab ${labs.join(" | --lab ")}`;
    throw new CliError(hint, Exit.usage);
  }
  if (!labs.includes(wanted)) throw noSuchLab(wanted, labs);
  const paths = new LabPaths(wanted);
  const record = readRecord(paths);
  // A node that runs by hand has a directory of its lab too, without a record.
  if (!record)
    throw new CliError(
      `lab ${wanted} was not brought up on this machine; podwire down ${wanted} removes what is here of it`,
    );
  return { name: wanted, paths, record };
}

/** Nothing of that name is up. */
export function noSuchLab(name: string, labs: readonly string[]): CliError {
  return new CliError(
    `no lab ${name} is up${labs.length ? `; these are: ${labs.join(", ")}` : ""}`,
    Exit.usage,
  );
}

export function kubeClient(lab: Lab): HttpKubeClient {
  return new HttpKubeClient({ socketPath: lab.paths.apiSocket });
}

/** Prints what went wrong and says how the program ends. */
export function report(error: unknown): number {
  const err = error instanceof Error ? error : new Error(String(error));
  const message = isAway(err) ? away(err) : err.message;
  process.stderr.write(`${pc.red("error")}: ${message}\n`);
  if (err instanceof CliError) return err.exitCode;
  return USAGE_ERRORS.has(err.name) ? Exit.usage : Exit.failed;
}

/** Whether nobody answered on the API server's socket, or it fell silent. */
function isAway(error: NodeJS.ErrnoException): boolean {
  if (error instanceof LabUnreachableError) return true;
  return error.syscall === "connect" || error.code === "ECONNRESET";
}

function away(error: Error): string {
  const lab = listLabs().find((name) => error.message.includes(new LabPaths(name).apiSocket));
  if (lab === undefined) return `the lab's cluster process does not answer (${error.message})`;
  return readPidFile(new LabPaths(lab).supervisorPid)
    ? `lab ${lab}'s cluster process does not answer at the moment; it is started again by itself: try again`
    : `lab ${lab}'s cluster process is not running and nothing starts it again: podwire down ${lab}, then up`;
}

/** Writes a line to standard output. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** JSON as `-o json` prints it. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** Aborts at the first Ctrl-C or SIGTERM; what follows the signal ends in good order. */
export function untilInterrupt(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop.abort());
  return stop.signal;
}

/** `-o text|json`, for commands that print data. */
export function outputOption(): Option {
  return new Option("-o, --output <format>", "text or json").choices(["text", "json"]).default("text");
}

/** An argument parser for whole numbers; commander adds the option's name to the error. */
export function wholeNumber(min: number, max: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : -1;
    if (value >= min && value <= max) return value;
    const range = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `${min} to ${max}`;
    throw new InvalidArgumentError(`Give a whole number, ${range}.`);
  };
}

/** An argument parser for label selectors. */
export function labelSelector(text: string): string {
  try {
    parseLabelSelector(text);
    return text;
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** Names the command to ask for help after an error in its command line. */
export function helpHint(command: Command): void {
  const names: string[] = [];
  for (let one: Command | null = command; one; one = one.parent) names.unshift(one.name());
  command.showHelpAfterError(`(${names.join(" ")} --help shows its options)`);
}
