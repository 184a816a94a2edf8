/** Follows the trace of all nodes and prints a line for each packet at each node that the filter lets through. */
import { setTimeout as sleep } from "node:timers/promises";
import { type LabPaths, openApi, readRecord } from "../cluster/index.js";
import type { Observation } from "../datapath/index.js";
import { canonicalClusterIp, HttpKubeClient, type Pod, type Service } from "../kube/index.js";
import {
  BatchedLineStream,
  formatObservation,
  observationFromJson,
  TraceFilter,
  type TraceFilterSpec,
} from "../observe/index.js";
import { type IpAddress, parseIp } from "../wire/index.js";

export interface FollowOptions {
  readonly filter?: TraceFilterSpec;
  readonly output?: "text" | "wide" | "json";
  /** Ends after this many packets. */
  readonly count?: number;
  readonly signal: AbortSignal;
}

const NAMES_REFRESH_MS = 1000;
const RECONNECT_MS = 500;
/**
 * How long a line waits for those of other nodes, which come by other ways. They are then judged and shown in the order
 * of their times; a filter knows a connection on one node by what the node before has done to it.
 */
const HOLD_MS = 100;
const FLUSH_MS = 25;

/**
 * Resolves when the signal aborts, the count is reached or the lab is gone; follows on when the cluster process was
 * started again. Throws TraceFilterError, or the connection's error when nobody answers at first.
 */
export async function followTrace(paths: LabPaths, options: FollowOptions): Promise<void> {
  const filter = new TraceFilter(options.filter ?? {});
  const names = new Names(paths);
  await names.refresh();
  const lines = new BatchedLineStream(process.stdout);
  const style = { colour: process.stdout.isTTY === true, wide: options.output === "wide", nameOf: names.of };
  const enough = new AbortController();
  const signal = AbortSignal.any([options.signal, enough.signal]);
  let left = options.count ?? Number.POSITIVE_INFINITY;
  const ordered = new InOrder(({ observation, text }) => {
    if (left === 0 || !filter.matches(observation, names.of)) return;
    lines.line(options.output === "json" ? text : formatObservation(observation, style));
    if (--left === 0) enough.abort();
  });
  const timers = [
    setInterval(() => void names.refresh().catch(() => {}), NAMES_REFRESH_MS),
    setInterval(() => ordered.flush(Date.now() - HOLD_MS), FLUSH_MS),
  ];
  while (!signal.aborted && readRecord(paths)) {
    await followOnce(paths, (text) => ordered.add(text), signal).catch(() => {});
    await sleep(RECONNECT_MS, undefined, { signal }).catch(() => {});
  }
  timers.forEach(clearInterval);
  ordered.flush(Number.POSITIVE_INFINITY);
  await lines.end();
}

interface TraceLine {
  readonly observation: Observation;
  readonly text: string;
}

/** Keeps lines until they are due, and gives them on by their times. */
class InOrder {
  readonly #show: (line: TraceLine) => void;
  #waiting: (TraceLine & { readonly dueMs: number })[] = [];

  constructor(show: (line: TraceLine) => void) {
    this.#show = show;
  }

  add(text: string): void {
    const observation = observationFromJson(text);
    // A clock that is ahead must not hold its lines back.
    if (observation)
      this.#waiting.push({ observation, text, dueMs: Math.min(observation.timeMs, Date.now()) });
  }

  /** Gives on what happened, or came, until then. */
  flush(untilMs: number): void {
    const due = this.#waiting.filter(({ dueMs }) => dueMs <= untilMs);
    if (due.length === 0) return;
    this.#waiting = this.#waiting.filter(({ dueMs }) => dueMs > untilMs);
    due.sort((a, b) => a.observation.timeMs - b.observation.timeMs);
    due.forEach(this.#show);
  }
}

/** Passes lines on until the connection ends or the signal aborts. */
async function followOnce(
  paths: LabPaths,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const answer = await openApi(paths, "/podwire/v1/trace", { signal });
  answer.setEncoding("utf8");
  let rest = "";
  for await (const chunk of answer) {
    const whole = (rest + (chunk as string)).split("\n");
    rest = whole.pop() ?? "";
    whole.forEach(onLine);
  }
}

/** Names of the lab's pods and Services by address, looked up again now and then. */
class Names {
  readonly #client: HttpKubeClient;
  #names = new Map<IpAddress, string>();

  constructor(paths: LabPaths) {
    this.#client = new HttpKubeClient({ socketPath: paths.apiSocket });
  }

  readonly of = (address: IpAddress): string | undefined => this.#names.get(address);

  async refresh(): Promise<void> {
    const [pods, services] = await Promise.all([
      this.#client.list<Pod>("pods"),
      this.#client.list<Service>("services"),
    ]);
    const names = new Map<IpAddress, string>();
    const put = (ip: string | undefined, object: Pod | Service) => {
      const address = parseIp(ip ?? "");
      if (address !== undefined) names.set(address, `${object.metadata?.namespace}/${object.metadata?.name}`);
    };
    for (const pod of pods.items) put(pod.status?.podIP, pod);
    for (const service of services.items) put(canonicalClusterIp(service.spec?.clusterIP ?? ""), service);
    this.#names = names;
  }
}
