import type { Command } from "commander";
import { askApi } from "../../cluster/index.js";
import type { ConntrackRecord } from "../../datapath/index.js";
import { formatConntrackLine } from "../../observe/index.js";
import { CliError, Exit, findLab, type Lab, print, printJson } from "../context.js";

interface ConntrackOptions {
  readonly dump?: boolean;
  readonly delete?: boolean;
  readonly node?: string;
  readonly proto?: string;
  readonly origSrc?: string;
  readonly origDst?: string;
  readonly output: string;
  readonly lab?: string;
}

const PROTOCOLS: Readonly<Record<string, string>> = { icmp: "1", tcp: "6", udp: "17", sctp: "132" };

export function define(command: Command): void {
  command
    .option("-L, --dump", "list connections (the default)")
    .option("-D, --delete", "delete connections; the next packet of each begins anew")
    .option("--node <name>", "of this node (default: of all)")
    .option("-p, --proto <name>", "tcp, udp, icmp or sctp")
    .option("-s, --orig-src <address>", "source of the original direction")
    .option("-d, --orig-dst <address>", "destination of the original direction")
    .option("-o, --output <format>", "text or json", "text")
    .option("--lab <name>", "name of the lab")
    .action(async (options: ConntrackOptions) => {
      const lab = findLab(options.lab);
      const known = lab.record.plan.nodes.map((node) => node.name);
      if (options.node && !known.includes(options.node)) {
        throw new CliError(`no node ${options.node} in this lab; these are: ${known.join(", ")}`, Exit.usage);
      }
      const nodes = options.node ? [options.node] : known;
      if (options.delete) await remove(lab, nodes, options);
      else await dump(lab, nodes, options);
    });
}

function query(options: ConntrackOptions): string {
  const query = new URLSearchParams();
  if (options.proto) {
    const number = PROTOCOLS[options.proto];
    if (!number)
      throw new CliError(`--proto ${options.proto}: give ${Object.keys(PROTOCOLS).join(", ")}`, Exit.usage);
    query.set("protocol", number);
  }
  if (options.origSrc) query.set("src", options.origSrc);
  if (options.origDst) query.set("dst", options.origDst);
  return query.size > 0 ? `?${query}` : "";
}

async function dump(lab: Lab, nodes: readonly string[], options: ConntrackOptions): Promise<void> {
  const path = (node: string) => `/podwire/v1/nodes/${encodeURIComponent(node)}/conntrack${query(options)}`;
  const all = await Promise.all(
    nodes.map(async (node) => ({ node, entries: await askApi<ConntrackRecord[]>(lab.paths, path(node)) })),
  );
  if (options.output === "json") return printJson(all);
  for (const { node, entries } of all) {
    if (nodes.length > 1) print(`# ${node}: ${entries.length} connections`);
    for (const entry of entries) print(formatConntrackLine(entry));
  }
}

async function remove(lab: Lab, nodes: readonly string[], options: ConntrackOptions): Promise<void> {
  for (const node of nodes) {
    const path = `/podwire/v1/nodes/${encodeURIComponent(node)}/conntrack${query(options)}`;
    const { deleted } = await askApi<{ deleted: number }>(lab.paths, path, { method: "DELETE" });
    print(`${node}: ${deleted} flow entries have been deleted.`);
  }
}
