import { type Command, Option } from "commander";
import { askApi } from "../../cluster/index.js";
import type { ConntrackRecord, Tuple } from "../../datapath/index.js";
import { formatConntrackLine } from "../../observe/index.js";
import { formatIp, parseIp, protocolName } from "../../wire/index.js";
import { CliError, Exit, findLab, type Lab, outputOption, print, printJson } from "../context.js";

interface ConntrackOptions {
  readonly dump?: boolean;
  readonly delete?: boolean;
  readonly node?: string;
  readonly proto?: keyof typeof PROTOCOLS;
  readonly origSrc?: string;
  readonly origDst?: string;
  readonly sport?: string;
  readonly dport?: string;
  readonly state?: string;
  readonly count?: boolean;
  readonly output: "text" | "json";
  readonly lab?: string;
}

const PROTOCOLS = { icmp: "1", tcp: "6", udp: "17", icmpv6: "58", sctp: "132" } as const;

export function define(command: Command): void {
  command
    .option("-L, --dump", "list connections (the default)")
    .option("-D, --delete", "delete connections; the next packet of each begins anew")
    .option("-C, --count", "print how many connections there are")
    .option("--node <name>", "of this node (default: of all)")
    .addOption(new Option("-p, --proto <name>", "protocol").choices(Object.keys(PROTOCOLS)))
    .option("-s, --orig-src <address>", "source of the original direction")
    .option("-d, --orig-dst <address>", "destination of the original direction")
    .option("--sport <port>", "source port of the original direction")
    .option("--dport <port>", "destination port of the original direction")
    .option("--state <state>", "state of TCP and SCTP, such as ESTABLISHED")
    .addOption(outputOption())
    .option("--lab <name>", "name of the lab")
    .action(async (options: ConntrackOptions) => {
      const query = queryOf(options);
      const lab = findLab(options.lab);
      const known = lab.record.plan.nodes.map((node) => node.name);
      if (options.node && !known.includes(options.node)) {
        throw new CliError(`no node ${options.node} in this lab; these are: ${known.join(", ")}`, Exit.usage);
      }
      const nodes = options.node ? [options.node] : known;
      const actions = [options.dump, options.delete, options.count].filter(Boolean);
      if (actions.length > 1) throw new CliError("give one of -L, -D and -C", Exit.usage);
      if (options.delete) await remove(lab, nodes, query);
      else if (options.count) await count(lab, nodes, query, options.output);
      else await dump(lab, nodes, query, options.output);
    });
}

function queryOf({ proto, origSrc, origDst, sport, dport, state }: ConntrackOptions): string {
  const query = new URLSearchParams();
  if (proto) query.set("protocol", PROTOCOLS[proto]);
  const address = (key: string, flag: string, text: string | undefined) => {
    if (text === undefined) return;
    if (parseIp(text) === undefined) throw new CliError(`${flag} ${text}: give an IP address`, Exit.usage);
    query.set(key, text);
  };
  const port = (key: string, text: string | undefined) => {
    if (text === undefined) return;
    if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535)
      throw new CliError(`--${key} ${text}: give a port, 0 to 65535`, Exit.usage);
    query.set(key, text);
  };
  port("sport", sport);
  port("dport", dport);
  if (state !== undefined) query.set("state", state.toUpperCase());
  address("src", "--orig-src", origSrc);
  address("dst", "--orig-dst", origDst);
  return query.size > 0 ? `?${query}` : "";
}

const pathOf = (node: string, query: string): string =>
  `/podwire/v1/nodes/${encodeURIComponent(node)}/conntrack${query}`;

async function dump(lab: Lab, nodes: readonly string[], query: string, output: string): Promise<void> {
  const all = await Promise.all(
    nodes.map(async (node) => ({
      node,
      entries: await askApi<ConntrackRecord[]>(lab.paths, pathOf(node, query)),
    })),
  );
  if (output === "json")
    return printJson(all.map(({ node, entries }) => ({ node, entries: entries.map(readable) })));
  for (const { node, entries } of all) {
    if (nodes.length > 1) print(`# ${node}: ${entries.length} connections`);
    for (const entry of entries) print(formatConntrackLine(entry));
  }
}

async function count(lab: Lab, nodes: readonly string[], query: string, output: string): Promise<void> {
  const counts = await Promise.all(
    nodes.map(async (node) => {
      const entries = await askApi<ConntrackRecord[]>(lab.paths, pathOf(node, query));
      return { node, count: entries.length };
    }),
  );
  if (output === "json") return printJson(counts);
  for (const { node, count: found } of counts) print(nodes.length > 1 ? `${node}: ${found}` : String(found));
}

/** A connection with its addresses and protocol as people write them. */
function readable(entry: ConntrackRecord): object {
  const tuple = ({ src, dst, sport, dport }: Tuple) => ({
    src: formatIp(src),
    dst: formatIp(dst),
    sport,
    dport,
  });
  const { protocol, original, reply, ...rest } = entry;
  return { protocol: protocolName(protocol), original: tuple(original), reply: tuple(reply), ...rest };
}

async function remove(lab: Lab, nodes: readonly string[], query: string): Promise<void> {
  for (const node of nodes) {
    const { deleted } = await askApi<{ deleted: number }>(lab.paths, pathOf(node, query), {
      method: "DELETE",
    });
    print(`${node}: ${deleted} flow entries have been deleted.`);
  }
}
