import type { Command } from "commander";
import { type ReplicaSet, type ReplicationController, retryOnConflict } from "../../kube/index.js";
import { CliError, Exit, findLab, kubeClient, print } from "../context.js";
import { parseTargets } from "../targets.js";

export function define(command: Command): void {
  command
    .argument("<target...>", "rc/NAME or rs/NAME (or: rc NAME)")
    .requiredOption("--replicas <count>", "how many pods there are to be")
    .option("-n, --namespace <name>", "namespace", "default")
    .option("--lab <name>", "name of the lab")
    .action(async (words: string[], options: { replicas: string; namespace: string; lab?: string }) => {
      const replicas = Number(options.replicas);
      if (!/^\d+$/.test(options.replicas))
        throw new CliError(`--replicas ${options.replicas}: give a whole number, 0 or more`, Exit.usage);
      const client = kubeClient(findLab(options.lab));
      for (const { resource, names } of parseTargets(words)) {
        if (resource !== "replicationcontrollers" && resource !== "replicasets") {
          throw new CliError(`${resource} cannot be scaled: give rc/NAME or rs/NAME`, Exit.usage);
        }
        for (const name of names) {
          await retryOnConflict(async () => {
            const found = await client.get<ReplicationController | ReplicaSet>(
              resource,
              options.namespace,
              name,
            );
            const scaled = { ...found, spec: { ...found.spec, replicas } } as ReplicationController;
            await client.update(resource, scaled);
          });
          print(`${resource.slice(0, -1)}/${name} scaled`);
        }
      }
    });
}
