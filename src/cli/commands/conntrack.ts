import { type Command, Option } from "commander";
import { askApi } from "../../cluster/index.js";
import { CONNTRACK_EVENTS, type ConntrackRecord, type ConntrackStats } from "../../datapath/index.js";
import { formatConntrackLine, formatConntrackStats } from "../../observe/index.js";
import { parseIp } from "../../wire/index.js";
import { conntrackPath, followConntrack, readableConnection } from "../conntrackEvents.js";
import { CliError, Exit, findLab, type Lab, print, printJson, untilInterrupt } from "../context.js";

interface ConntrackOptions {
  readonly dump?: boolean;
  readonly delete?: boolean;
  readonly event?: boolean;
  readonly eventMask?: string;
  readonly flush?: boolean;
  readonly stats?: boolean;
  readonly node?: string;
  readonly proto?: keyof typeof PROTOCOLS;
  readonly origSrc?: string;
  readonly origDst?: string;
  readonly sport?: string;
  readonly dport?: string;
  readonly state?: string;
  readonly count?: boolean;
  readonly output: "text" | "json" | "timestamp";
  readonly lab?: string;
}

const PROTOCOLS = { icmp: "1", tcp: "6", udp: "17", icmpv6: "58", sctp: "132" } as const;

/** One of them is given, or none. */
const ACTIONS = ["dump", "delete", "count", "event", "flush", "stats"] as const;
type Action = (typeof ACTIONS)[number];
/** Actions that concern the whole table. */
const WITHOUT_FILTER: readonly Action[] = ["flush", "stats"];

export function define(command: Command): void {
  command
    .argument("[node]", "of this node (default: of all)")
    .option("-L, --dump", "list connections (the default)")
    .option("-D, --delete", "delete connections; the next packet of each begins anew")
    .option("-C, --count", "print how many connections there are")
    .option("-E, --event", "print what happens to connections, until Ctrl-C")
    .option("-F, --flush", "delete all connections")
    .option("-S, --stats", "print statistics")
    .option(
      "-e, --event-mask <events>",
      "with -E, only these: NEW, UPDATES, DESTROY, with commas between them",
    )
    .option("--node <name>", "the same as NODE")
    .addOption(new Option("-p, --proto <name>", "protocol").choices(Object.keys(PROTOCOLS)))
    .option("-s, --orig-src <address>", "source of the original direction")
    .option("-d, --orig-dst <address>", "destination of the original direction")
    .option("--sport <port>", "source port of the original direction")
    .option("--dport <port>", "destination port of the original direction")
    .option("--state <state>", "state of TCP and SCTP, such as ESTABLISHED")
    .addOption(
      new Option("-o, --output <format>", "text, json, or with -E timestamp: text behind the time in seconds")
        .choices(["text", "json", "timestamp"])
        .default("text"),
    )
    .option("--lab <name>", "name of the lab")
    .addHelpText(
      "after",
      "\nNames, lines and filters are those of conntrack(8). With several nodes each event begins with its node's name." +
        "\n-S counts since the node process began; columns of what cannot happen here are 0.",
    )
    .action((node: string | undefined, options: ConntrackOptions) => act(node, options));
}

async function act(named: string | undefined, options: ConntrackOptions): Promise<void> {
  const action = actionOf(options);
  const query = queryOf(options);
  if (WITHOUT_FILTER.includes(action) && query.size > 0)
    throw new CliError(`--${action} concerns all connections: leave the filters out`, Exit.usage);
  if (options.output === "timestamp" && action !== "event")
    throw new CliError("-o timestamp: only events (-E) have a time", Exit.usage);
  if (options.eventMask !== undefined && action !== "event")
    throw new CliError("-e chooses events: give -E too", Exit.usage);
  if (action === "event") query.set("events", eventsOf(options.eventMask ?? "ALL"));
  const lab = findLab(options.lab);
  const nodes = nodesOf(lab, named, options.node);
  switch (action) {
    case "delete":
    case "flush":
      return remove(lab, nodes, query);
    case "count":
      return count(lab, nodes, query, options.output);
    case "event":
      return followConntrack(lab.paths, nodes, query, options.output, untilInterrupt());
    case "stats":
      return stats(lab, nodes, options.output);
    default:
      return dump(lab, nodes, query, options.output);
  }
}

function actionOf(options: ConntrackOptions): Action {
  const [action = "dump", another] = ACTIONS.filter((name) => options[name]);
  if (another !== undefined) throw new CliError("give one of -L, -D, -C, -E, -F and -S", Exit.usage);
  return action;
}

function nodesOf(lab: Lab, named: string | undefined, option: string | undefined): readonly string[] {
  if (named !== undefined && option !== undefined && named !== option)
    throw new CliError(`give one node: ${named} or --node ${option}`, Exit.usage);
  const known = lab.record.plan.nodes.map((node) => node.name);
  const node = named ?? option;
  if (node === undefined) return known;
  if (!known.includes(node))
    throw new CliError(`no node ${node} in this lab; these are: ${known.join(", ")}`, Exit.usage);
  return [node];
}

/** Events by conntrack(8)'s names for them. */
function eventsOf(mask: string): string {
  const types = mask.split(",").flatMap((word) => {
    const wanted = word.trim().toUpperCase();
    if (wanted === "ALL") return CONNTRACK_EVENTS;
    const type = CONNTRACK_EVENTS.find((known) => wanted === known || wanted === `${known}S`);
    if (type === undefined)
      throw new CliError(
        `-e ${mask}: give NEW, UPDATES, DESTROY or ALL, with commas between them`,
        Exit.usage,
      );
    return [type];
  });
  return [...new Set(types)].join(",");
}

function queryOf({ proto, origSrc, origDst, sport, dport, state }: ConntrackOptions): URLSearchParams {
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
  return query;
}

async function dump(
  lab: Lab,
  nodes: readonly string[],
  query: URLSearchParams,
  output: string,
): Promise<void> {
  const all = await Promise.all(
    nodes.map(async (node) => ({
      node,
      entries: await askApi<ConntrackRecord[]>(lab.paths, conntrackPath(node, query)),
    })),
  );
  if (output === "json")
    return printJson(all.map(({ node, entries }) => ({ node, entries: entries.map(readableConnection) })));
  for (const { node, entries } of all) {
    if (nodes.length > 1) print(`# ${node}: ${entries.length} connections`);
    for (const entry of entries) print(formatConntrackLine(entry));
  }
}

async function count(
  lab: Lab,
  nodes: readonly string[],
  query: URLSearchParams,
  output: string,
): Promise<void> {
  const counts = await Promise.all(
    nodes.map(async (node) => {
      const entries = await askApi<ConntrackRecord[]>(lab.paths, conntrackPath(node, query));
      return { node, count: entries.length };
    }),
  );
  if (output === "json") return printJson(counts);
  for (const { node, count: found } of counts) print(nodes.length > 1 ? `${node}: ${found}` : String(found));
}

async function stats(lab: Lab, nodes: readonly string[], output: string): Promise<void> {
  const all = await Promise.all(
    nodes.map(async (node) => ({
      node,
      ...(await askApi<ConntrackStats>(lab.paths, conntrackPath(node, new URLSearchParams(), "/stats"))),
    })),
  );
  if (output === "json") return printJson(all);
  for (const counted of all) {
    const line = formatConntrackStats(counted);
    print(nodes.length > 1 ? `${counted.node}: ${line}` : line);
  }
}

async function remove(lab: Lab, nodes: readonly string[], query: URLSearchParams): Promise<void> {
  for (const node of nodes) {
    const { deleted } = await askApi<{ deleted: number }>(lab.paths, conntrackPath(node, query), {
      method: "DELETE",
    });
    print(`${node}: ${deleted} flow entries have been deleted.`);
  }
}
