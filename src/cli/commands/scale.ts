import type { Command } from "commander";
import { type ReplicaSet, type ReplicationController, retryOnConflict } from "../../kube/index.js";
import { CliError, Exit, findLab, kubeClient, print, wholeNumber } from "../context.js";
import { parseTargets, typeName } from "../targets.js";

interface ScaleOptions {
  readonly replicas: number;
  readonly namespace: string;
  readonly lab?: string;
}

export function define(command: Command): void {
  command
    .argument("<target...>", "rc/NAME or rs/NAME (or: rc NAME)")
    .requiredOption("--replicas <count>", "how many pods there are to be", wholeNumber(0))
    .option("-n, --namespace <name>", "namespace", "default")
    .option("--lab <name>", "name of the lab")
    .action(async (words: string[], { replicas, namespace, lab }: ScaleOptions) => {
      const targets = parseTargets(words);
      for (const { info, names } of targets) {
        if (!info.subresources.includes("scale") || names.length === 0)
          throw new CliError(`${words.join(" ")}: give rc/NAME or rs/NAME`, Exit.usage);
      }
      const client = kubeClient(findLab(lab));
      for (const { info, names } of targets) {
        for (const name of names) {
          await retryOnConflict(async () => {
            const found = await client.get<ReplicationController | ReplicaSet>(info.name, namespace, name);
            await client.update(info.name, { ...found, spec: { ...found.spec, replicas } } as typeof found);
          });
          print(`${typeName(info)}/${name} scaled`);
        }
      }
    });
}
