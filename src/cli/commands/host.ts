import { spawn } from "node:child_process";
import { constants } from "node:os";
import type { Command } from "commander";
import { enterHost } from "../../cluster/index.js";
import { CliError, findLab } from "../context.js";

export function define(command: Command): void {
  command
    .argument("<command...>", "program and arguments, after --")
    .option("--lab <name>", "name of the lab")
    .passThroughOptions()
    .addHelpText(
      "after",
      "\nExample: podwire host -- curl http://10.0.0.11:30001/\nEnds with the command's own exit code.",
    )
    .action(async (words: string[], options: { lab?: string }) => {
      const { record } = findLab(options.lab);
      process.exitCode = await runInherited([...enterHost(record.netns), ...words]);
    });
}

/** Runs a program on this terminal; resolves with its exit code, 128 + signal when one ended it. */
export function runInherited(
  words: readonly string[],
  env?: Readonly<Record<string, string>>,
): Promise<number> {
  const [program = "", ...args] = words;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: "inherit", ...(env ? { env: { ...env } } : {}) });
    // The terminal sends Ctrl-C to the program as well; ending is its decision.
    process.on("SIGINT", () => {});
    for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
    child.once("error", (error: NodeJS.ErrnoException) =>
      reject(error.code === "ENOENT" ? new CliError(`${program}: command not found`, 127) : error),
    );
    child.once("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
}
