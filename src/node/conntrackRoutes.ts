/** Connection tracking over the node's socket: listing, deletion, events, statistics and settings. */
import type { ServerResponse } from "node:http";
import {
  CONNTRACK_EVENTS,
  type ConntrackFilter,
  type Datapath,
  matchesFilter,
  readSysctl,
  SYSCTL_NAMES,
  writeSysctls,
} from "../datapath/index.js";
import { BatchedLineStream } from "../observe/index.js";
import { parseIp } from "../wire/index.js";
import { HttpError, json } from "./httpAnswer.js";

/** Answers what is asked for, such as `GET conntrack/events`; false when the path is another's. */
export function serveConntrack(
  datapath: Datapath | undefined,
  what: string,
  url: URL,
  response: ServerResponse,
): boolean {
  if (datapath === undefined) return false;
  switch (what) {
    case "GET conntrack":
      json(response, datapath.conntrackRecords(filterOf(url)));
      return true;
    case "DELETE conntrack":
      json(response, { deleted: datapath.deleteConntrack(filterOf(url)) });
      return true;
    case "GET conntrack/stats":
      json(response, datapath.conntrack.stats);
      return true;
    case "GET conntrack/events":
      streamEvents(datapath, url, response);
      return true;
    case "GET sysctl":
      json(response, sysctls(datapath, url.searchParams.getAll("name")));
      return true;
    case "PUT sysctl":
      orBadRequest(() => writeSysctls(datapath.conntrack, Object.fromEntries(url.searchParams)));
      json(response, sysctls(datapath, [...url.searchParams.keys()]));
      return true;
    default:
      return false;
  }
}

/** Lines of JSON: events with their time in milliseconds since 1970, or `lost`, how many the reader was too slow for. */
function streamEvents(datapath: Datapath, url: URL, response: ServerResponse): void {
  const filter = filterOf(url);
  const wanted = url.searchParams.get("events")?.split(",") ?? [...CONNTRACK_EVENTS];
  const unknown = wanted.find((type) => !CONNTRACK_EVENTS.some((known) => known === type));
  if (unknown !== undefined)
    throw new HttpError(400, `events: ${unknown} is none of ${CONNTRACK_EVENTS.join(", ")}`);
  response.writeHead(200, { "Content-Type": "application/x-ndjson" });
  response.flushHeaders();
  const lines = new BatchedLineStream(response, { droppedLine: (lost) => JSON.stringify({ lost }) });
  const stop = datapath.conntrack.events.follow((event) => {
    if (!wanted.includes(event.type) || !matchesFilter(event.record, filter)) return;
    lines.line(JSON.stringify({ timeMs: Date.now(), ...event }));
  });
  response.on("close", stop);
}

function sysctls({ conntrack }: Datapath, names: readonly string[]): Record<string, number> {
  const asked = names.length > 0 ? names : SYSCTL_NAMES;
  return orBadRequest(() => Object.fromEntries(asked.map((name) => [name, readSysctl(conntrack, name)])));
}

function orBadRequest<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof RangeError) throw new HttpError(400, error.message);
    throw error;
  }
}

/** `src`, `dst`, `protocol`, `sport` and `dport` of the original direction, and `state`; none of them: every entry. */
function filterOf(url: URL): ConntrackFilter {
  const address = (name: string) => {
    const text = url.searchParams.get(name);
    const ip = text === null ? undefined : parseIp(text);
    if (text !== null && ip === undefined) throw new HttpError(400, `${name}: ${text} is not an IP address`);
    return ip === undefined ? {} : { [name]: ip };
  };
  const number = (name: string, most: number) => {
    const text = url.searchParams.get(name);
    if (text === null) return {};
    if (!/^\d{1,5}$/.test(text) || Number(text) > most)
      throw new HttpError(400, `${name}: ${text} is not a number up to ${most}`);
    return { [name]: Number(text) };
  };
  const state = url.searchParams.get("state");
  return {
    ...address("src"),
    ...address("dst"),
    ...number("protocol", 255),
    ...number("sport", 65_535),
    ...number("dport", 65_535),
    ...(state === null ? {} : { state }),
  };
}
