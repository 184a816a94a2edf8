import type { Command } from "commander";
import { CliError, Exit, findLab } from "../context.js";
import { findPlace } from "../places.js";
import { runInherited } from "./host.js";

export function define(command: Command): void {
  command
    .argument("<from>", "host, or a pod (NAME or NAMESPACE/NAME)")
    .argument("<to>", "host, a pod, a node, svc/NAME or an address")
    .option("-c, --count <n>", "how many echo requests", "3")
    .option("-s, --size <bytes>", "payload")
    .option("-M, --pmtu <how>", "do: set Don't Fragment; dont: clear it")
    .option("--lab <name>", "name of the lab")
    .action(
      async (
        from: string,
        to: string,
        options: { count: string; size?: string; pmtu?: string; lab?: string },
      ) => {
        const lab = findLab(options.lab);
        const [source, target] = [await findPlace(lab, from), await findPlace(lab, to)];
        if (!source.enter)
          throw new CliError(`${from}: commands run in pods and on the host only`, Exit.usage);
        const size = options.size ? ["-s", options.size] : [];
        const pmtu = options.pmtu ? ["-M", options.pmtu] : [];
        process.exitCode = await runInherited([
          ...source.enter,
          "ping",
          "-c",
          options.count,
          ...size,
          ...pmtu,
          target.ip,
        ]);
      },
    );
}
