/** Runs system programs (`ip`, `nsenter`) with argument vectors; no shell ever sees a string. */
import { execFile } from "node:child_process";

/** A program ended with an error; the message holds its own words. */
export class CommandError extends Error {
  constructor(
    readonly command: readonly string[],
    readonly exitCode: number | string | undefined,
    readonly stderr: string,
  ) {
    super(`${command.join(" ")}: ${stderr.trim() || `exit ${exitCode}`}`);
    this.name = "CommandError";
  }
}

/** Runs one program to its end and returns what it printed. `input` goes to its standard input. */
export function run(command: string, args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, [...args], { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error) {
        const text =
          stderr || (error.code === "ENOENT" ? `${command}: not found; install it first` : error.message);
        reject(new CommandError([command, ...args], error.code ?? undefined, text));
      } else resolve(stdout);
    });
    // A program that fails at once closes its input; its exit code tells the story, not the EPIPE.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input ?? "");
  });
}

/** Runs several `ip` commands in one process, in a named namespace or in the current one. */
export async function ipBatch(commands: readonly string[], netns?: string): Promise<void> {
  const where = netns === undefined ? [] : ["-n", netns];
  await run("ip", [...where, "-batch", "-"], `${commands.join("\n")}\n`);
}
