import type { Command } from "commander";
import { openApi } from "../../cluster/index.js";
import { findLab, untilInterrupt, wholeNumber } from "../context.js";

interface LogOptions {
  readonly namespace: string;
  readonly container?: string;
  readonly follow?: boolean;
  readonly tail?: number;
  readonly previous?: boolean;
  readonly lab?: string;
}

export function define(command: Command): void {
  command
    .argument("<pod>", "name, or pod/NAME")
    .argument("[container]")
    .option("-n, --namespace <name>", "namespace", "default")
    .option("-c, --container <name>", "container, when the pod has several")
    .option("-f, --follow", "go on as the log grows, until Ctrl-C")
    .option("--tail <lines>", "only the last lines", wholeNumber(0))
    .option("-p, --previous", "of the container before its last restart")
    .option("--lab <name>", "name of the lab")
    .action(async (pod: string, container: string | undefined, options: LogOptions) => {
      const query = new URLSearchParams();
      const chosen = options.container ?? container;
      if (chosen) query.set("container", chosen);
      if (options.follow) query.set("follow", "true");
      if (options.previous) query.set("previous", "true");
      if (options.tail !== undefined) query.set("tailLines", String(options.tail));
      const name = encodeURIComponent(pod.replace(/^pods?\//, ""));
      const path = `/api/v1/namespaces/${encodeURIComponent(options.namespace)}/pods/${name}/log?${query}`;
      const signal = untilInterrupt();
      const answer = await openApi(findLab(options.lab).paths, path, { signal });
      try {
        for await (const chunk of answer) process.stdout.write(chunk as Buffer);
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    });
}
