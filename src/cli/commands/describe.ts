import type { Command } from "commander";
import { stringify } from "yaml";
import type { Endpoints, Event, HttpKubeClient, KubeObject, Service } from "../../kube/index.js";
import { findLab, kubeClient, labelSelector, print } from "../context.js";
import { age, table } from "../table.js";
import { parseTargets } from "../targets.js";
import { fetchTarget, type Selection } from "./get.js";

export function define(command: Command): void {
  command
    .argument("<target...>", "pod/NAME | svc NAME ... | nodes")
    .option("-n, --namespace <name>", "namespace", "default")
    .option("-l, --selector <labels>", "those with these labels", labelSelector)
    .option("--lab <name>", "name of the lab")
    .action(async (words: string[], options: Selection & { lab?: string }) => {
      const targets = parseTargets(words);
      const client = kubeClient(findLab(options.lab));
      const blocks: string[] = [];
      for (const target of targets) {
        for (const object of await fetchTarget(client, target, options))
          blocks.push(await describe(client, target.info.kind, object));
      }
      if (blocks.length > 0) print(blocks.join("\n\n\n"));
      else process.stderr.write("No resources found\n");
    });
}

async function describe(client: HttpKubeClient, kind: string, object: KubeObject): Promise<string> {
  const { name = "", namespace, labels, annotations, creationTimestamp } = object.metadata ?? {};
  const { metadata: _metadata, apiVersion: _apiVersion, kind: _kind, ...rest } = object;
  const lines = [
    field("Name", name),
    ...(namespace ? [field("Namespace", namespace)] : []),
    field("Labels", pairs(labels)),
    field("Annotations", pairs(annotations)),
    field("Created", `${creationTimestamp ?? ""} (${age(Date.parse(creationTimestamp ?? ""))} ago)`),
    ...(object.metadata?.deletionTimestamp
      ? [field("Status", `Terminating since ${object.metadata.deletionTimestamp}`)]
      : []),
    stringify(rest)
      .trimEnd()
      .replace(
        /^(spec|status|subsets):/gm,
        (_whole, key: string) => `${key[0]?.toUpperCase()}${key.slice(1)}:`,
      ),
    ...(kind === "Service" ? [await endpointsOf(client, object as Service)] : []),
    await eventsOf(client, kind, name, namespace),
  ];
  return lines.join("\n");
}

const field = (label: string, text: string): string => `${`${label}:`.padEnd(14)}${text}`;

function pairs(map: Record<string, string> | undefined): string {
  const entries = Object.entries(map ?? {}).map(([key, value]) => `${key}=${value}`);
  return entries.join(`\n${" ".repeat(14)}`) || "<none>";
}

async function endpointsOf(client: HttpKubeClient, service: Service): Promise<string> {
  const { name = "", namespace } = service.metadata ?? {};
  const found = await client.get<Endpoints>("endpoints", namespace, name).catch(() => undefined);
  const text = (found?.subsets ?? []).flatMap((subset) =>
    (subset.ports ?? []).map((port) => {
      const ready = (subset.addresses ?? []).map((address) => `${address.ip}:${port.port}`);
      const not = (subset.notReadyAddresses ?? []).map((address) => `${address.ip}:${port.port} (not ready)`);
      return `${port.name ? `${port.name} ` : ""}${[...ready, ...not].join(",")}`;
    }),
  );
  return field("Endpoints", text.join(`\n${" ".repeat(14)}`) || "<none>");
}

async function eventsOf(
  client: HttpKubeClient,
  kind: string,
  name: string,
  namespace: string | undefined,
): Promise<string> {
  const list = await client.list<Event>("events", {
    ...(namespace ? { namespace } : {}),
    fieldSelector: `involvedObject.name=${name},involvedObject.kind=${kind}`,
  });
  if (list.items.length === 0) return "Events:       <none>";
  const rows = list.items.map((event) => {
    const last = age(Date.parse(event.lastTimestamp ?? event.metadata?.creationTimestamp ?? ""));
    const count = (event.count ?? 1) > 1 ? ` (x${event.count})` : "";
    return [
      `  ${event.type ?? ""}`,
      event.reason ?? "",
      `${last}${count}`,
      event.source?.component ?? "",
      event.message ?? "",
    ];
  });
  return `Events:\n${table(["  TYPE", "REASON", "AGE", "FROM", "MESSAGE"], rows)}`;
}
