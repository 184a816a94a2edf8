/**
 * What one node tells and does on request: HTTP on a Unix socket in its directory, mode 0600, for the cluster process
 * and the CLI. The paths of logs are a kubelet's (`/containerLogs/...`).
 */
import { chmodSync, existsSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import type { Datapath, Observation } from "../datapath/index.js";
import { BatchedLineStream, observationToJson } from "../observe/index.js";
import { serveConntrack } from "./conntrackRoutes.js";
import { HttpError, json } from "./httpAnswer.js";
import { readLog } from "./logs.js";
import type { Kubelet } from "./pods/kubelet.js";
import type { PodWorker } from "./pods/worker.js";
import type { TraceHub } from "./traceHub.js";

/** Filled in as the node comes up; a request for what is not there yet is answered with 503. */
export interface NodeParts {
  readonly trace: TraceHub;
  readonly status: () => object;
  kubelet?: Kubelet;
  datapath?: Datapath;
}

export function startNodeServer(socketPath: string, parts: NodeParts): Promise<Server> {
  rmSync(socketPath, { force: true });
  const server = createServer((request, response) => {
    void route(request, response, parts).catch((error: Error) => {
      if (response.headersSent) return void response.destroy();
      response.writeHead(error instanceof HttpError ? error.code : 500, { "Content-Type": "text/plain" });
      response.end(`${error.message}\n`);
    });
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, () => {
      chmodSync(socketPath, 0o600);
      resolve(server);
    });
  });
}

async function route(request: IncomingMessage, response: ServerResponse, parts: NodeParts): Promise<void> {
  const url = new URL(request.url ?? "/", "http://node");
  const [, head = "", ...rest] = url.pathname.split("/").map(decodeURIComponent);
  const key = `${request.method} ${head}`;
  if (key === "GET status") return json(response, parts.status());
  if (key === "GET trace") return streamTrace(response, parts.trace);
  if ((head === "conntrack" || head === "sysctl") && parts.datapath === undefined)
    throw new HttpError(503, "this node has no subnet lease yet");
  if (serveConntrack(parts.datapath, [key, ...rest].join("/"), url, response)) return;
  if (key === "GET containerLogs") return streamLog(request, response, url, worker(parts, rest), rest[2]);
  if (key === "GET exec") return json(response, execSpec(worker(parts, rest), rest[2]));
  throw new HttpError(404, `no such path: ${url.pathname}`);
}

function worker(parts: NodeParts, [namespace = "", pod = ""]: readonly string[]): PodWorker {
  const found = parts.kubelet?.worker(namespace, pod);
  if (!found) throw new HttpError(404, `pod ${namespace}/${pod} does not run on this node`);
  return found;
}

function streamTrace(response: ServerResponse, trace: TraceHub): void {
  response.writeHead(200, { "Content-Type": "application/x-ndjson" });
  response.flushHeaders();
  const lines = new BatchedLineStream(response, { droppedLine: (dropped) => JSON.stringify({ dropped }) });
  const stop = trace.follow((observation: Observation) => lines.line(observationToJson(observation)));
  response.on("close", stop);
}

async function streamLog(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  pod: PodWorker,
  container = pod.pod.spec?.containers?.[0]?.name ?? "",
): Promise<void> {
  const { initContainers = [], containers = [] } = pod.pod.spec ?? {};
  if (![...initContainers, ...containers].some((candidate) => candidate.name === container)) {
    throw new HttpError(400, `container ${container} is not valid for pod ${pod.record.name}`);
  }
  const previous = url.searchParams.get("previous") === "true";
  const path = join(pod.containerDir(container), previous ? "log.previous" : "log");
  if (previous && !existsSync(path)) {
    const name = pod.record.name;
    throw new HttpError(400, `previous terminated container "${container}" in pod "${name}" not found`);
  }
  const gone = new AbortController();
  request.on("close", () => gone.abort());
  response.on("close", () => gone.abort());
  const tail = url.searchParams.get("tailLines");
  response.writeHead(200, { "Content-Type": "text/plain" });
  response.flushHeaders();
  const options = {
    follow: url.searchParams.get("follow") === "true",
    signal: gone.signal,
    ...(tail === null ? {} : { tailLines: Number(tail) }),
  };
  for await (const block of readLog(path, options)) {
    if (!response.write(block))
      await new Promise((resolve) => response.once("drain", resolve).once("close", resolve));
  }
  response.end();
}

/** What a caller on this machine needs to run a command in a container: the way in, and its environment. */
function execSpec(pod: PodWorker, container: string | undefined): object {
  const enter = pod.enter(container);
  if (!enter)
    throw new HttpError(409, `container ${container ?? ""} of pod ${pod.record.name} is not running`);
  return { enter, env: pod.environment(container) };
}
