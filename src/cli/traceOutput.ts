/** Follows the trace of all nodes and prints a line for each packet at each node that the filter lets through. */
import { createInterface } from "node:readline";
import { type LabPaths, openApi } from "../cluster/index.js";
import { HttpKubeClient, type Pod, type Service } from "../kube/index.js";
import {
  BatchedLineStream,
  formatObservation,
  observationFromJson,
  TraceFilter,
  type TraceFilterSpec,
} from "../observe/index.js";
import { parseIpv4 } from "../wire/index.js";

export interface FollowOptions {
  readonly filter?: TraceFilterSpec;
  readonly output?: "text" | "wide" | "json";
  /** Ends after this many lines. */
  readonly count?: number;
  readonly signal?: AbortSignal;
}

const NAMES_REFRESH_MS = 1000;

/** Resolves when the signal aborts, the count is reached or the lab ends. Throws TraceFilterError. */
export async function followTrace(paths: LabPaths, options: FollowOptions): Promise<void> {
  const filter = new TraceFilter(options.filter ?? {});
  const names = new Names(paths);
  await names.refresh();
  const stop = new AbortController();
  options.signal?.addEventListener("abort", () => stop.abort());
  const answer = await openApi(paths, "/podwire/v1/trace", { signal: stop.signal });
  const lines = new BatchedLineStream(process.stdout);
  const timer = setInterval(() => void names.refresh().catch(() => {}), NAMES_REFRESH_MS);
  const line = { colour: process.stdout.isTTY === true, wide: options.output === "wide", nameOf: names.of };
  let left = options.count ?? Number.POSITIVE_INFINITY;
  try {
    for await (const text of createInterface({ input: answer })) {
      const observation = observationFromJson(text);
      if (!observation || !filter.matches(observation, names.of)) continue;
      lines.line(options.output === "json" ? text : formatObservation(observation, line));
      if (--left <= 0) break;
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    clearInterval(timer);
    stop.abort();
    await lines.end();
  }
}

/** Names of the lab's pods and Services by address, looked up again now and then. */
class Names {
  readonly #client: HttpKubeClient;
  #names = new Map<number, string>();

  constructor(paths: LabPaths) {
    this.#client = new HttpKubeClient({ socketPath: paths.apiSocket });
  }

  readonly of = (address: number): string | undefined => this.#names.get(address);

  async refresh(): Promise<void> {
    const [pods, services] = await Promise.all([
      this.#client.list<Pod>("pods"),
      this.#client.list<Service>("services"),
    ]);
    const names = new Map<number, string>();
    const put = (ip: string | undefined, object: Pod | Service) => {
      const address = parseIpv4(ip ?? "");
      if (address !== undefined) names.set(address, `${object.metadata?.namespace}/${object.metadata?.name}`);
    };
    for (const pod of pods.items) put(pod.status?.podIP, pod);
    for (const service of services.items) put(service.spec?.clusterIP, service);
    this.#names = names;
  }
}
