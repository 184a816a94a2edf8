/** What every command shares: which lab is meant, how errors end the program, how output is written. */
import pc from "picocolors";
import {
  LabPaths,
  type LabRecord,
  LabUnreachableError,
  listLabs,
  readPidFile,
  readRecord,
} from "../cluster/index.js";
import { HttpKubeClient } from "../kube/index.js";

/** Exit codes that a script can rely on. */
export const Exit = {
  ok: 0,
  /** The command was understood and could not do it. */
  failed: 1,
  /** The command line, a topology or a manifest is wrong; nothing was done. */
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
  const paths = new LabPaths(wanted);
  const record = readRecord(paths);
  if (!record)
    throw new CliError(
      `no lab ${wanted} is up${labs.length ? `; these are: ${labs.join(", ")}` : ""}`,
      Exit.usage,
    );
  return { name: wanted, paths, record };
}

export function kubeClient(lab: Lab): HttpKubeClient {
  return new HttpKubeClient({ socketPath: lab.paths.apiSocket });
}

/** Prints what went wrong and says how the program ends. */
export function report(error: unknown): number {
  const err = error instanceof Error ? error : new Error(String(error));
  const code = (err as NodeJS.ErrnoException).code;
  if (code === "ECONNREFUSED" || code === "ENOENT" || error instanceof LabUnreachableError) {
    process.stderr.write(`${pc.red("error")}: ${away(err)}\n`);
    return Exit.failed;
  }
  process.stderr.write(`${pc.red("error")}: ${err.message}\n`);
  if (err instanceof CliError) return err.exitCode;
  return err.name === "TopologyError" || err.name === "ManifestError" ? Exit.usage : Exit.failed;
}

function away(error: Error): string {
  for (const name of listLabs()) {
    if (readPidFile(new LabPaths(name).supervisorPid)) continue;
    return `${error.message}\nlab ${name}'s cluster process is not running and nothing restarts it: podwire down ${name}, then up`;
  }
  return error.message;
}

/** Writes a line to standard output. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** JSON as `-o json` prints it. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}
