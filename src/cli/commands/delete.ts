import type { Command } from "commander";
import { type HttpKubeClient, type ResourceInfo, resourceOf, StatusError } from "../../kube/index.js";
import {
  CliError,
  Exit,
  findLab,
  kubeClient,
  type Lab,
  labelSelector,
  print,
  wholeNumber,
} from "../context.js";
import { readManifests } from "../manifests.js";
import { findResource, parseTargets, typeName } from "../targets.js";

interface DeleteOptions {
  readonly namespace: string;
  readonly filename?: string[];
  readonly selector?: string;
  readonly all?: boolean;
  readonly wait: boolean;
  readonly force?: boolean;
  readonly gracePeriod?: number;
  readonly ignoreNotFound?: boolean;
  readonly lab?: string;
}

interface Victim {
  readonly info: ResourceInfo;
  readonly namespace: string | undefined;
  readonly name: string;
}

const WAIT_MS = 60_000;
const POLL_MS = 100;

export function define(command: Command): void {
  command
    .argument("[target...]", "pod/NAME | svc NAME ... | pods -l app=web")
    .option("-f, --filename <file...>", "what these manifests name; - for standard input")
    .option("-n, --namespace <name>", "namespace", "default")
    .option("-l, --selector <labels>", "those with these labels", labelSelector)
    .option("--all", "all of the type in the namespace")
    .option("--grace-period <seconds>", "time between SIGTERM and SIGKILL", wholeNumber(0))
    .option("--force", "at once: the same as --grace-period 0")
    .option("--ignore-not-found", "what is not there is no error")
    .option("--no-wait", "return before they are gone")
    .option("--lab <name>", "name of the lab")
    .action(async (words: string[], options: DeleteOptions) => {
      if ((words.length === 0) === (options.filename === undefined))
        throw new CliError("what is to be deleted? give TYPE/NAME, TYPE -l LABELS, or -f FILE", Exit.usage);
      const lab = findLab(options.lab);
      const client = kubeClient(lab);
      const victims = options.filename
        ? named(lab, options.filename, options.namespace)
        : await chosen(client, words, options);
      for (const victim of victims) await remove(client, victim, options);
      if (options.wait) await untilGone(client, victims);
    });
}

/** In reverse: what was made last goes first, and Namespaces last. */
function named(lab: Lab, files: readonly string[], namespace: string): Victim[] {
  const victims = readManifests(files, lab, namespace).map(({ object }) => ({
    info: findResource(resourceOf(object.apiVersion, object.kind)),
    namespace: object.metadata.namespace,
    name: object.metadata.name,
  }));
  return victims.reverse();
}

async function chosen(
  client: HttpKubeClient,
  words: readonly string[],
  { namespace, selector, all }: DeleteOptions,
): Promise<Victim[]> {
  const lists = parseTargets(words).map(async ({ info, names }): Promise<Victim[]> => {
    const place = info.namespaced ? { namespace } : {};
    if (names.length > 0) return names.map((name) => ({ info, namespace: place.namespace, name }));
    if (!selector && !all)
      throw new CliError(`which ${info.name}? give names, -l LABELS, or --all`, Exit.usage);
    const { items } = await client.list(info.name, {
      ...place,
      ...(selector ? { labelSelector: selector } : {}),
    });
    return items.map(({ metadata }) => ({ info, namespace: place.namespace, name: metadata?.name ?? "" }));
  });
  const victims = (await Promise.all(lists)).flat();
  if (victims.length === 0) process.stderr.write("No resources found\n");
  return victims;
}

async function remove(
  client: HttpKubeClient,
  { info, namespace, name }: Victim,
  { force, gracePeriod, ignoreNotFound }: DeleteOptions,
): Promise<void> {
  const gracePeriodSeconds = force ? 0 : gracePeriod;
  try {
    const options = gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds };
    await client.delete(info.name, namespace, name, options);
  } catch (error) {
    if (ignoreNotFound && isNotFound(error)) return;
    throw error;
  }
  print(`${typeName(info)} "${name}" deleted`);
}

const isNotFound = (error: unknown): boolean => error instanceof StatusError && error.status.code === 404;

async function untilGone(client: HttpKubeClient, victims: readonly Victim[]): Promise<void> {
  const left = new Set(victims);
  for (const until = Date.now() + WAIT_MS; left.size > 0 && Date.now() < until; ) {
    for (const victim of left) if (await isGone(client, victim)) left.delete(victim);
    if (left.size > 0) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  if (left.size > 0)
    throw new CliError(`not gone after ${WAIT_MS / 1000} s: ${[...left].map((one) => one.name).join(", ")}`);
}

async function isGone(client: HttpKubeClient, { info, namespace, name }: Victim): Promise<boolean> {
  try {
    await client.get(info.name, namespace, name);
    return false;
  } catch (error) {
    if (isNotFound(error)) return true;
    throw error;
  }
}
