import type { Command } from "commander";
import { type Applied, applyManifests } from "../../cluster/index.js";
import { RESOURCES } from "../../kube/index.js";
import { findLab, kubeClient, print } from "../context.js";
import { readManifests } from "../manifests.js";

export function define(command: Command): void {
  command
    .requiredOption("-f, --filename <file...>", "manifest files, YAML or JSON; - for standard input")
    .option("-n, --namespace <name>", "namespace of objects that name none", "default")
    .option("--lab <name>", "name of the lab")
    .addHelpText(
      "after",
      "\nAll files are checked before anything is changed; exit code 2 when one is wrong.",
    )
    .action(async (options: { filename: string[]; namespace: string; lab?: string }) => {
      const lab = findLab(options.lab);
      const manifests = readManifests(options.filename, lab, options.namespace);
      const client = kubeClient(lab);
      for (const done of await applyManifests(client, manifests)) print(outcome(done));
    });
}

function outcome(done: Applied): string {
  const kind = RESOURCES.find((info) => info.name === done.resource)?.singular ?? done.resource;
  return `${kind}/${done.name} ${done.outcome}`;
}
