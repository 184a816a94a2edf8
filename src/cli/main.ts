#!/usr/bin/env node
/** The `podwire` command: its options by commander, each subcommand in a file of its own that is loaded when it is used. */
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { Exit, report } from "./context.js";

/** Fills in one subcommand's arguments, options and action. */
export type DefineCommand = (command: Command) => void;

/** Name, one-line summary, and the file under commands/. In the order that --help shows. */
const COMMANDS: readonly (readonly [name: string, summary: string])[] = [
  ["up", "bring a topology up"],
  ["down", "take a lab down and remove all that it made"],
  ["status", "show the lab: nodes, leases, underlay paths, Services"],
  ["get", "list objects, as kubectl get does"],
  ["describe", "show objects in detail, with their events"],
  ["apply", "create or update objects from manifests"],
  ["delete", "delete objects"],
  ["scale", "set the number of replicas"],
  ["logs", "print a container's output"],
  ["exec", "run a command in a pod"],
  ["host", "run a command on the lab's host side"],
  ["ping", "ping from one pod, node or the host to another"],
  ["pingall", "ping between all pods"],
  ["trace", "follow packets through the nodes"],
  ["conntrack", "list or delete tracked connections of a node"],
  ["store", "read and watch the store"],
  ["node", "run one node by hand, on this or another machine"],
  ["demo", "bring the demo up and show what to try"],
];

function describeProgram(): Command {
  const program = new Command("podwire");
  program
    .description(
      "The Kubernetes network in user space: pods, Services and a flannel overlay on one Linux VM, each packet visible.",
    )
    .version("0.1.0")
    .enablePositionalOptions()
    .showHelpAfterError("(podwire --help lists the commands)")
    .exitOverride();
  return program;
}

async function run(argv: readonly string[]): Promise<number> {
  const program = describeProgram();
  const wanted = argv.find((word) => !word.startsWith("-"));
  for (const [name, summary] of COMMANDS) {
    const command = program.command(name).description(summary).exitOverride();
    if (name !== wanted && wanted !== "help") continue;
    const module = (await import(`./commands/${name}.js`)) as { define: DefineCommand };
    module.define(command);
  }
  try {
    await program.parseAsync(["node", "podwire", ...argv]);
    return Number(process.exitCode ?? Exit.ok);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? Exit.ok : Exit.usage;
    if (error instanceof InvalidArgumentError) return Exit.usage;
    return report(error);
  }
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // The reader went away (`podwire trace | head`): nothing is left to say.
  if (error.code === "EPIPE") process.exit(Exit.ok);
  throw error;
});
const code = await run(process.argv.slice(2));
// Sockets of finished requests may be kept alive; what was written has to be out before the end.
process.stdout.write("", () => process.exit(code));
