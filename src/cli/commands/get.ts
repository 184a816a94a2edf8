import type { Command } from "commander";
import { stringify } from "yaml";
import { type HttpKubeClient, type KubeObject, RESOURCES, type ResourceName } from "../../kube/index.js";
import { CliError, Exit, findLab, kubeClient, print, printJson } from "../context.js";
import { printTable } from "../printers.js";
import { parseTargets, type Target } from "../targets.js";

interface GetOptions {
  readonly namespace: string;
  readonly allNamespaces?: boolean;
  readonly selector?: string;
  readonly fieldSelector?: string;
  readonly output?: string;
  readonly watch?: boolean;
  readonly lab?: string;
}

const OUTPUTS = ["wide", "json", "yaml", "name"];

export function define(command: Command): void {
  command
    .argument("<target...>", "pods | svc/NAME | rc NAME ... | pods,services | all")
    .option("-n, --namespace <name>", "namespace", "default")
    .option("-A, --all-namespaces", "objects of all namespaces")
    .option("-l, --selector <labels>", "such as app=web,tier!=cache")
    .option("--field-selector <fields>", "such as spec.nodeName=node-1")
    .option("-o, --output <format>", `${OUTPUTS.join(" | ")}`)
    .option("-w, --watch", "after the list, each change as it comes, until Ctrl-C")
    .option("--lab <name>", "name of the lab")
    .action(async (words: string[], options: GetOptions) => {
      if (options.output && !OUTPUTS.includes(options.output)) {
        throw new CliError(`-o ${options.output}: give one of ${OUTPUTS.join(", ")}`, Exit.usage);
      }
      const client = kubeClient(findLab(options.lab));
      const targets = parseTargets(words);
      if (options.watch) return watchTarget(client, targets, options);
      const found = await Promise.all(targets.map((target) => fetchTarget(client, target, options)));
      show(targets, found, options);
    });
}

/** The objects of one target; a name that does not exist is the API server's own NotFound. */
export async function fetchTarget(
  client: HttpKubeClient,
  target: Target,
  options: GetOptions,
): Promise<KubeObject[]> {
  const namespace = namespaceFor(target.resource, options);
  if (target.names.length > 0) {
    return Promise.all(
      target.names.map((name) => client.get(target.resource, namespace ?? options.namespace, name)),
    );
  }
  const list = await client.list(target.resource, {
    ...(namespace ? { namespace } : {}),
    ...(options.selector ? { labelSelector: options.selector } : {}),
    ...(options.fieldSelector ? { fieldSelector: options.fieldSelector } : {}),
  });
  const info = RESOURCES.find((one) => one.name === target.resource);
  return list.items.map((item) => ({
    apiVersion: info?.apiVersion ?? "v1",
    kind: info?.kind ?? "",
    ...item,
  }));
}

function namespaceFor(resource: ResourceName, options: GetOptions): string | undefined {
  const namespaced = RESOURCES.find((info) => info.name === resource)?.namespaced ?? true;
  return namespaced && !options.allNamespaces ? options.namespace : undefined;
}

function show(
  targets: readonly Target[],
  found: readonly (readonly KubeObject[])[],
  options: GetOptions,
): void {
  const all = found.flat();
  if (options.output === "json" || options.output === "yaml") {
    const single = targets.length === 1 && targets[0]?.names.length === 1;
    const value = single ? all[0] : { apiVersion: "v1", kind: "List", items: all };
    if (options.output === "json") printJson(value);
    else print(stringify(value).trimEnd());
    return;
  }
  if (options.output === "name") {
    for (const [index, target] of targets.entries()) {
      const kind = RESOURCES.find((info) => info.name === target.resource)?.singular ?? target.resource;
      for (const object of found[index] ?? []) print(`${kind}/${object.metadata?.name}`);
    }
    return;
  }
  if (all.length === 0) {
    process.stderr.write(
      options.allNamespaces
        ? "No resources found\n"
        : `No resources found in ${options.namespace} namespace.\n`,
    );
    return;
  }
  const many = targets.length > 1;
  const tables = targets.flatMap((target, index) => {
    const objects = found[index] ?? [];
    const info = RESOURCES.find((one) => one.name === target.resource);
    return objects.length === 0
      ? []
      : [
          printTable(target.resource, objects, {
            wide: options.output === "wide",
            namespaced: (options.allNamespaces ?? false) && (info?.namespaced ?? true),
            ...(many && info ? { prefix: info.singular } : {}),
          }),
        ];
  });
  print(tables.join("\n\n"));
}

async function watchTarget(
  client: HttpKubeClient,
  targets: readonly Target[],
  options: GetOptions,
): Promise<void> {
  const [target] = targets;
  if (!target || targets.length > 1) throw new CliError("--watch takes one resource type", Exit.usage);
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  const namespace = namespaceFor(target.resource, options);
  const select = {
    ...(namespace ? { namespace } : {}),
    ...(options.selector ? { labelSelector: options.selector } : {}),
    ...(target.names[0] ? { fieldSelector: `metadata.name=${target.names[0]}` } : {}),
  };
  const list = await client.list(target.resource, select);
  const columns = { wide: options.output === "wide", namespaced: options.allNamespaces ?? false };
  print(printTable(target.resource, list.items, columns));
  const resourceVersion = list.metadata.resourceVersion ?? "0";
  for await (const event of client.watch(target.resource, {
    ...select,
    resourceVersion,
    signal: stop.signal,
  })) {
    if (event.type === "ERROR") throw new CliError(event.object.message ?? "the watch ended");
    if (event.type === "BOOKMARK") continue;
    print(printTable(target.resource, [event.object], columns).split("\n").slice(1).join("\n"));
  }
}
