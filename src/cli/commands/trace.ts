import { type Command, Option } from "commander";
import { CliError, Exit, findLab, untilInterrupt, wholeNumber } from "../context.js";
import { type FollowOptions, followTrace } from "../traceOutput.js";

interface TraceOptions {
  readonly pod?: string[];
  readonly service?: string[];
  readonly address?: string[];
  readonly port?: string[];
  readonly node?: string[];
  readonly verdict?: string[];
  readonly protocol?: string[];
  readonly output: NonNullable<FollowOptions["output"]>;
  readonly count?: number;
  readonly lab?: string;
}

export function define(command: Command): void {
  const several = (flags: string, description: string) =>
    command.addOption(
      new Option(flags, description).argParser((value: string, all: string[] = []) => [...all, value]),
    );
  command.option("-f, --follow", "until Ctrl-C (the default)");
  several("--pod <name>", "packets of this pod: NAME or NAMESPACE/NAME");
  several("--service <name>", "connections to this Service");
  several("--address <ip>", "an address or a prefix, at either end");
  several("--port <port>", "a TCP or UDP port, at either end");
  several("--node <name>", "what this node did");
  several("--verdict <verdict>", "forward, deliver, drop, reject, or such as drop:ttl-exceeded");
  several("--protocol <name>", "tcp, udp, icmp, sctp or a number");
  command
    .option("-c, --count <packets>", "end after this many packets", wholeNumber(1))
    .addOption(
      new Option("-o, --output <format>", "text, wide (each stage too) or json")
        .choices(["text", "wide", "json"])
        .default("text"),
    )
    .option("--lab <name>", "name of the lab")
    .addHelpText(
      "after",
      "\nEach option may be given more than once (either fits); different options must all fit." +
        "\nThe second column is the packet's id, the same on every node: grep for it.",
    )
    .action(async (options: TraceOptions) => {
      const { lab: name, output, count, ...filter } = options;
      const lab = findLab(name);
      const known = lab.record.plan.nodes.map((node) => node.name);
      const unknown = filter.node?.find((node) => !known.includes(node));
      if (unknown !== undefined)
        throw new CliError(`no node ${unknown} in this lab; these are: ${known.join(", ")}`, Exit.usage);
      await followTrace(lab.paths, {
        filter,
        output,
        signal: untilInterrupt(),
        ...(count === undefined ? {} : { count }),
      });
    });
}
