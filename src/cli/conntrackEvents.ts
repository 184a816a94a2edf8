/** What happens to connections, as `conntrack -E` prints it, and what the conntrack command shares with that. */
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { type LabPaths, openApi } from "../cluster/index.js";
import type { ConntrackEvent, ConntrackRecord, Tuple } from "../datapath/index.js";
import { formatConntrackEvent } from "../observe/index.js";
import { formatIp, protocolName } from "../wire/index.js";
import { print } from "./context.js";

const RETRY_MS = 500;

/** A line of a node's stream: an event with its time, or how many were lost. */
type EventLine = (ConntrackEvent & { readonly timeMs: number }) | { readonly lost: number };

export function conntrackPath(node: string, query: URLSearchParams, under = ""): string {
  const path = `/podwire/v1/nodes/${encodeURIComponent(node)}/conntrack${under}`;
  return query.size > 0 ? `${path}?${query}` : path;
}

/**
 * Prints the nodes' events until the signal. A node that went away is followed again; what happened meanwhile is lost,
 * which standard error says.
 */
export async function followConntrack(
  paths: LabPaths,
  nodes: readonly string[],
  query: URLSearchParams,
  output: string,
  signal: AbortSignal,
): Promise<void> {
  const showNode = nodes.length > 1;
  await Promise.all(
    nodes.map(async (node) => {
      const path = conntrackPath(node, query, "/events");
      const answer = await openApi(paths, path, { signal }).catch((error: Error) => {
        if (!signal.aborted) throw error;
      });
      for (let stream = answer; stream !== undefined && !signal.aborted; ) {
        try {
          for await (const text of createInterface({ input: stream }))
            printEvent(node, JSON.parse(text) as EventLine, output, showNode);
        } catch (error) {
          if (!signal.aborted) warn(node, (error as Error).message);
        }
        if (signal.aborted) return;
        warn(node, "its events have ended and some are lost; it is followed again when it answers");
        stream = await reopen(paths, path, signal);
      }
    }),
  );
}

async function reopen(paths: LabPaths, path: string, signal: AbortSignal) {
  while (!signal.aborted) {
    const answer = await openApi(paths, path, { signal }).catch(() => undefined);
    if (answer !== undefined) return answer;
    await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}

function printEvent(node: string, line: EventLine, output: string, showNode: boolean): void {
  if ("lost" in line) {
    warn(node, `${line.lost} events lost: the reader is too slow`);
    return;
  }
  const { timeMs, type, record } = line;
  const time = output === "timestamp" ? `[${(timeMs / 1000).toFixed(3)}]\t` : "";
  if (output === "json") print(JSON.stringify({ node, timeMs, type, ...readableConnection(record) }));
  else print(`${showNode ? `${node}: ` : ""}${time}${formatConntrackEvent(line)}`);
}

function warn(node: string, what: string): void {
  process.stderr.write(`# ${node}: ${what}\n`);
}

/** A connection with its addresses and protocol as people write them. */
export function readableConnection(entry: ConntrackRecord): object {
  const tuple = ({ src, dst, sport, dport }: Tuple) => ({
    src: formatIp(src),
    dst: formatIp(dst),
    sport,
    dport,
  });
  const { protocol, original, reply, ...rest } = entry;
  return { protocol: protocolName(protocol), original: tuple(original), reply: tuple(reply), ...rest };
}
