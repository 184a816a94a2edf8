import { type Command, Option } from "commander";
import { CliError, Exit, findLab, wholeNumber } from "../context.js";
import { findPlace } from "../places.js";
import { runInherited } from "./host.js";

interface PingOptions {
  readonly count: number;
  readonly size?: number;
  readonly pmtu?: string;
  readonly lab?: string;
}

export function define(command: Command): void {
  command
    .argument("<from>", "host, or a pod (NAME or NAMESPACE/NAME)")
    .argument("<to>", "host, a pod, a node, svc/NAME or an address")
    .option("-c, --count <n>", "how many echo requests", wholeNumber(1), 3)
    .option("-s, --size <bytes>", "payload", wholeNumber(0, 65_507))
    .addOption(
      new Option("-M, --pmtu <how>", "do: set Don't Fragment; dont: clear it").choices([
        "do",
        "want",
        "dont",
      ]),
    )
    .option("--lab <name>", "name of the lab")
    .addHelpText("after", "\nEnds with ping's own exit code: 0 when an answer came.")
    .action(async (from: string, to: string, { count, size, pmtu, lab: name }: PingOptions) => {
      const lab = findLab(name);
      const [source, target] = [await findPlace(lab, from), await findPlace(lab, to)];
      if (!source.enter) throw new CliError(`${from}: commands run in pods and on the host only`, Exit.usage);
      const flags = [...(size === undefined ? [] : ["-s", String(size)]), ...(pmtu ? ["-M", pmtu] : [])];
      const ping = ["ping", "-c", String(count), ...flags, target.ip];
      process.exitCode = await runInherited([...source.enter, ...ping]);
    });
}
