import type { Command } from "commander";
import { applyManifests } from "../../cluster/index.js";
import { findLab, kubeClient, print } from "../context.js";
import { readManifests } from "../manifests.js";
import { findResource, typeName } from "../targets.js";

export function define(command: Command): void {
  command
    .requiredOption("-f, --filename <file...>", "manifest files, YAML or JSON; - for standard input")
    .option("-n, --namespace <name>", "namespace of objects that name none", "default")
    .option("--lab <name>", "name of the lab")
    .addHelpText(
      "after",
      "\nAll files are checked before anything is changed. Exit code 2 when one is wrong, or when the API server\n" +
        "refuses an object; those before it are applied then.",
    )
    .action(async (options: { filename: string[]; namespace: string; lab?: string }) => {
      const lab = findLab(options.lab);
      const manifests = readManifests(options.filename, lab, options.namespace);
      const client = kubeClient(lab);
      // One by one, so that what was done before an error is told.
      for (const manifest of manifests) {
        for (const { resource, name, outcome } of await applyManifests(client, [manifest]))
          print(`${typeName(findResource(resource))}/${name} ${outcome}`);
      }
    });
}
