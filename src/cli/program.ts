/**
 * The `podwire` command.
 *
 * Theory of operation. Each subcommand is a file under commands/ that is loaded when it is used; its `define` gives
 * commander the arguments, options and action. Commands talk to a lab through its API server's socket and end the
 * program with one of the codes of `Exit`; errors are sentences, printed by `report`. Only `up`, `down`, `host` and
 * `node` touch the machine themselves, through src/cluster.
 */
import { Command, CommanderError } from "commander";
import { Exit, helpHint, report } from "./context.js";

/** Fills in one subcommand's arguments, options and action. */
export type DefineCommand = (command: Command) => void;

interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<{ readonly define: DefineCommand }>;
}

/** In the order that --help shows. */
const COMMANDS: readonly Entry[] = [
  { name: "up", summary: "bring a topology up", load: () => import("./commands/up.js") },
  {
    name: "down",
    summary: "take a lab down and remove all that it made",
    load: () => import("./commands/down.js"),
  },
  {
    name: "status",
    summary: "show the lab: nodes, leases, underlay paths, Services",
    load: () => import("./commands/status.js"),
  },
  { name: "get", summary: "list objects, as kubectl get does", load: () => import("./commands/get.js") },
  {
    name: "describe",
    summary: "show objects in detail, with their events",
    load: () => import("./commands/describe.js"),
  },
  {
    name: "apply",
    summary: "create or update objects from manifests",
    load: () => import("./commands/apply.js"),
  },
  { name: "delete", summary: "delete objects", load: () => import("./commands/delete.js") },
  { name: "scale", summary: "set the number of replicas", load: () => import("./commands/scale.js") },
  { name: "logs", summary: "print a container's output", load: () => import("./commands/logs.js") },
  { name: "exec", summary: "run a command in a pod", load: () => import("./commands/exec.js") },
  { name: "host", summary: "run a command on the lab's host side", load: () => import("./commands/host.js") },
  {
    name: "ping",
    summary: "ping a pod, node, Service or address from a pod or the host",
    load: () => import("./commands/ping.js"),
  },
  { name: "pingall", summary: "ping between all pods", load: () => import("./commands/pingall.js") },
  { name: "trace", summary: "follow packets through the nodes", load: () => import("./commands/trace.js") },
  {
    name: "conntrack",
    summary: "list, delete or follow tracked connections",
    load: () => import("./commands/conntrack.js"),
  },
  {
    name: "sysctl",
    summary: "read or set how a node tracks connections",
    load: () => import("./commands/sysctl.js"),
  },
  { name: "store", summary: "read and watch the store", load: () => import("./commands/store.js") },
  {
    name: "node",
    summary: "run one node by hand, on this or another machine",
    load: () => import("./commands/node.js"),
  },
  {
    name: "demo",
    summary: "bring the demo up and show what to try",
    load: () => import("./commands/demo.js"),
  },
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

/** Runs one command line, given without the program's name; resolves with the exit code. */
export async function run(argv: readonly string[]): Promise<number> {
  const program = describeProgram();
  const wanted = argv.find((word) => !word.startsWith("-"));
  for (const { name, summary, load } of COMMANDS) {
    const command = program.command(name).description(summary).exitOverride();
    if (name !== wanted && wanted !== "help") continue;
    (await load()).define(command);
    for (const one of [command, ...command.commands]) helpHint(one);
  }
  try {
    await program.parseAsync(["node", "podwire", ...argv]);
    return Number(process.exitCode ?? Exit.ok);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? Exit.ok : Exit.usage;
    return report(error);
  }
}
