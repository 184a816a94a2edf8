import type { Command } from "commander";
import {
  type HttpKubeClient,
  RESOURCES,
  type ResourceName,
  resourceOf,
  StatusError,
} from "../../kube/index.js";
import { CliError, Exit, findLab, kubeClient, type Lab, print } from "../context.js";
import { readManifests } from "../manifests.js";
import { parseTargets } from "../targets.js";

interface DeleteOptions {
  readonly namespace: string;
  readonly filename?: string[];
  readonly selector?: string;
  readonly all?: boolean;
  readonly wait: boolean;
  readonly force?: boolean;
  readonly gracePeriod?: string;
  readonly ignoreNotFound?: boolean;
  readonly lab?: string;
}

interface Victim {
  readonly resource: ResourceName;
  readonly namespace: string | undefined;
  readonly name: string;
}

const WAIT_MS = 60_000;

export function define(command: Command): void {
  command
    .argument("[target...]", "pod/NAME | svc NAME ... | pods -l app=web")
    .option("-f, --filename <file...>", "what these manifests name; - for standard input")
    .option("-n, --namespace <name>", "namespace", "default")
    .option("-l, --selector <labels>", "those with these labels")
    .option("--all", "all of the type in the namespace")
    .option("--grace-period <seconds>", "time between SIGTERM and SIGKILL")
    .option("--force", "at once: the same as --grace-period 0")
    .option("--ignore-not-found", "what is not there is no error")
    .option("--no-wait", "return before they are gone")
    .option("--lab <name>", "name of the lab")
    .action(async (words: string[], options: DeleteOptions) => {
      const lab = findLab(options.lab);
      const client = kubeClient(lab);
      const victims = options.filename
        ? named(lab, options.filename, options.namespace)
        : await chosen(client, words, options);
      for (const victim of victims) await remove(client, victim, options);
      if (options.wait) await untilGone(client, victims);
    });
}

function named(lab: Lab, files: readonly string[], namespace: string): Victim[] {
  return readManifests(files, lab, namespace).map(({ object }) => ({
    resource: resourceOf(object.apiVersion, object.kind),
    namespace: object.metadata.namespace,
    name: object.metadata.name,
  }));
}

async function chosen(
  client: HttpKubeClient,
  words: readonly string[],
  options: DeleteOptions,
): Promise<Victim[]> {
  if (words.length === 0)
    throw new CliError("what is to be deleted? give TYPE/NAME, TYPE -l LABELS, or -f FILE", Exit.usage);
  const victims: Victim[] = [];
  for (const { resource, names } of parseTargets(words)) {
    const namespaced = RESOURCES.find((info) => info.name === resource)?.namespaced ?? true;
    const namespace = namespaced ? options.namespace : undefined;
    if (names.length > 0) victims.push(...names.map((name) => ({ resource, namespace, name })));
    else if (!options.selector && !options.all) {
      throw new CliError(`which ${resource}? give names, -l LABELS, or --all`, Exit.usage);
    } else {
      const labelSelector = options.selector ? { labelSelector: options.selector } : {};
      const list = await client.list(resource, { ...(namespace ? { namespace } : {}), ...labelSelector });
      victims.push(...list.items.map((item) => ({ resource, namespace, name: item.metadata?.name ?? "" })));
    }
  }
  return victims;
}

async function remove(client: HttpKubeClient, victim: Victim, options: DeleteOptions): Promise<void> {
  const grace = options.force
    ? 0
    : options.gracePeriod === undefined
      ? undefined
      : Number(options.gracePeriod);
  if (grace !== undefined && !(Number.isInteger(grace) && grace >= 0)) {
    throw new CliError(`--grace-period ${options.gracePeriod}: give a whole number of seconds`, Exit.usage);
  }
  try {
    await client.delete(
      victim.resource,
      victim.namespace,
      victim.name,
      grace === undefined ? {} : { gracePeriodSeconds: grace },
    );
  } catch (error) {
    if (options.ignoreNotFound && error instanceof StatusError && error.status.code === 404) return;
    throw error;
  }
  const kind = RESOURCES.find((info) => info.name === victim.resource)?.singular ?? victim.resource;
  print(`${kind} "${victim.name}" deleted`);
}

async function untilGone(client: HttpKubeClient, victims: readonly Victim[]): Promise<void> {
  const left = new Set(victims);
  for (const until = Date.now() + WAIT_MS; left.size > 0 && Date.now() < until; ) {
    for (const victim of left) {
      const there = await client.get(victim.resource, victim.namespace, victim.name).then(
        () => true,
        () => false,
      );
      if (!there) left.delete(victim);
    }
    if (left.size > 0) await new Promise((resolve) => setTimeout(resolve, 100));
  }
  if (left.size > 0)
    throw new CliError(`not gone after ${WAIT_MS / 1000} s: ${[...left].map((one) => one.name).join(", ")}`);
}
