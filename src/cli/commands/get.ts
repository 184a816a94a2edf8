import { type Command, Option } from "commander";
import { stringify } from "yaml";
import type { HttpKubeClient, KubeObject } from "../../kube/index.js";
import {
  CliError,
  Exit,
  findLab,
  kubeClient,
  labelSelector,
  print,
  printJson,
  untilInterrupt,
} from "../context.js";
import { printTable } from "../printers.js";
import { parseTargets, type Target, typeName } from "../targets.js";

/** Which objects of a type are meant. */
export interface Selection {
  readonly namespace: string;
  readonly allNamespaces?: boolean;
  readonly selector?: string;
  readonly fieldSelector?: string;
}

interface GetOptions extends Selection {
  readonly output?: "wide" | "json" | "yaml" | "name";
  readonly watch?: boolean;
  readonly lab?: string;
}

export function define(command: Command): void {
  command
    .argument("<target...>", "pods | svc/NAME | rc NAME ... | pods,services | all")
    .option("-n, --namespace <name>", "namespace", "default")
    .option("-A, --all-namespaces", "objects of all namespaces")
    .option("-l, --selector <labels>", "such as app=web,tier!=cache", labelSelector)
    .option("--field-selector <fields>", "such as spec.nodeName=node-1")
    .addOption(
      new Option("-o, --output <format>", "instead of a table").choices(["wide", "json", "yaml", "name"]),
    )
    .option("-w, --watch", "after the list, each change as it comes, until Ctrl-C")
    .option("--lab <name>", "name of the lab")
    .action(async (words: string[], options: GetOptions) => {
      const targets = parseTargets(words);
      const client = kubeClient(findLab(options.lab));
      if (options.watch) return watchTarget(client, targets, options);
      const found = await Promise.all(targets.map((target) => fetchTarget(client, target, options)));
      showAll(targets, found, options);
    });
}

/** The objects of one target; a name that does not exist is the API server's own NotFound. */
export async function fetchTarget(
  client: HttpKubeClient,
  { info, names }: Target,
  selection: Selection,
): Promise<KubeObject[]> {
  if (names.length > 0) {
    return Promise.all(names.map((name) => client.get(info.name, selection.namespace, name)));
  }
  const { items } = await client.list(info.name, query({ info, names }, selection));
  return items.map((item) => typed({ info }, item));
}

/** Items of a list do not name their type. */
function typed({ info }: Pick<Target, "info">, object: KubeObject): KubeObject {
  return { apiVersion: info.apiVersion, kind: info.kind, ...object };
}

/** What is asked for a list or a watch of the target. */
function query({ info, names }: Target, selection: Selection): Record<string, string> {
  const fields = [selection.fieldSelector, names[0] && `metadata.name=${names[0]}`].filter(Boolean).join(",");
  return {
    ...(info.namespaced && !selection.allNamespaces ? { namespace: selection.namespace } : {}),
    ...(selection.selector ? { labelSelector: selection.selector } : {}),
    ...(fields ? { fieldSelector: fields } : {}),
  };
}

function showAll(
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
  } else if (all.length > 0) {
    const blocks = targets.flatMap((target, index) => {
      const objects = found[index] ?? [];
      return objects.length === 0 ? [] : [block(target, objects, options, targets.length > 1)];
    });
    print(blocks.join(options.output === "name" ? "\n" : "\n\n"));
  } else if (options.output !== "name") {
    const everywhere = options.allNamespaces || targets.every(({ info }) => !info.namespaced);
    const where = everywhere ? "" : ` in ${options.namespace} namespace.`;
    process.stderr.write(`No resources found${where}\n`);
  }
}

/** Objects of one type as a table or as names. */
function block(
  { info }: Target,
  objects: readonly KubeObject[],
  { output, allNamespaces = false }: GetOptions,
  many: boolean,
): string {
  if (output === "name")
    return objects.map(({ metadata }) => `${typeName(info)}/${metadata?.name}`).join("\n");
  return printTable(info.name, objects, {
    wide: output === "wide",
    namespaced: allNamespaces && info.namespaced,
    ...(many ? { prefix: typeName(info) } : {}),
  });
}

async function watchTarget(
  client: HttpKubeClient,
  targets: readonly Target[],
  options: GetOptions,
): Promise<void> {
  const [target] = targets;
  if (!target || targets.length > 1 || target.names.length > 1)
    throw new CliError("--watch takes one resource type, or one name of it", Exit.usage);
  const selected = query(target, options);
  const { items, metadata } = await client.list(target.info.name, selected);
  let header = true;
  const show = (objects: readonly KubeObject[]) => {
    if (options.output === "json" || options.output === "yaml") {
      for (const one of objects.map((object) => typed(target, object)))
        if (options.output === "json") printJson(one);
        else print(`---\n${stringify(one).trimEnd()}`);
      return;
    }
    const lines = block(target, objects, options, false).split("\n");
    print((header || options.output === "name" ? lines : lines.slice(1)).join("\n"));
    header = false;
  };
  if (items.length > 0) show(items);
  const resourceVersion = metadata.resourceVersion ?? "0";
  const watching = { ...selected, resourceVersion, signal: untilInterrupt() };
  for await (const event of client.watch(target.info.name, watching)) {
    if (event.type === "ERROR") throw new CliError(event.object.message ?? "the watch ended");
    if (event.type !== "BOOKMARK") show([event.object]);
  }
}
