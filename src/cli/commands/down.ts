import type { Command } from "commander";
import { LabPaths, listLabs, removeLab } from "../../cluster/index.js";
import { CliError, Exit, noSuchLab, print } from "../context.js";

export function define(command: Command): void {
  command
    .argument("[lab]", "name of the lab (not needed when only one is up)")
    .option("--lab <name>", "the same as an option")
    .option("--all", "every lab on this machine")
    .option("--keep-store", "leave the lab's objects in the etcd of `up --store`")
    .addHelpText(
      "after",
      "\nWorks from the records on disk: also after processes were killed. Exit code 1 when something could not be removed." +
        "\nFrom an etcd of `up --store` the lab's objects are deleted, unless there were objects before the lab.",
    )
    .action(
      async (name: string | undefined, options: { lab?: string; all?: boolean; keepStore?: boolean }) => {
        const labs = chosen(name ?? options.lab, options.all ?? false);
        for (const lab of labs) {
          const { removed, problems } = await removeLab(new LabPaths(lab), options);
          for (const problem of problems) process.stderr.write(`not removed: ${problem}\n`);
          if (problems.length > 0) process.exitCode = Exit.failed;
          else print(`lab ${lab} is down, ${removed} devices and namespaces removed`);
        }
      },
    );
}

function chosen(name: string | undefined, all: boolean): string[] {
  const labs = listLabs();
  if (all) return labs;
  if (name !== undefined) {
    if (!labs.includes(name)) throw noSuchLab(name, labs);
    return [name];
  }
  if (labs.length > 1) throw new CliError(`which lab? ${labs.join(", ")}, or --all`, Exit.usage);
  if (labs.length === 0) print("no lab is up");
  return labs;
}
