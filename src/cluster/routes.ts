/**
 * What the cluster process adds to the API server's paths: pod logs (Kubernetes' own path), and under /podwire/v1 the
 * lab's status, the trace of all nodes in one stream, and each node's own paths.
 */
import { request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { createInterface } from "node:readline";
import { pipeline } from "node:stream/promises";
import { type KubeClient, type Pod, StatusError } from "../kube/index.js";
import type { LabPaths } from "./paths.js";

export interface RouteContext {
  readonly paths: LabPaths;
  readonly client: KubeClient;
  readonly nodes: () => readonly string[];
  readonly status: () => Promise<object>;
}

/** Answers a request if it is one of ours. */
export async function serveExtra(
  context: RouteContext,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
): Promise<boolean> {
  const parts = url.pathname.split("/").slice(1).map(decodeURIComponent);
  const isLog =
    parts.length === 7 &&
    parts[1] === "v1" &&
    parts[2] === "namespaces" &&
    parts[4] === "pods" &&
    parts[6] === "log";
  try {
    if (parts[0] === "api" && isLog)
      await podLog(context, request, response, url, parts[3] ?? "", parts[5] ?? "");
    else if (parts[0] !== "podwire" || parts[1] !== "v1") return false;
    else if (parts[2] === "status") sendJson(response, 200, await context.status());
    else if (parts[2] === "trace") traceAll(context, response);
    else if (parts[2] === "nodes" && parts[3])
      await toNode(
        context,
        request,
        response,
        parts[3],
        `/${parts.slice(4).map(encodeURIComponent).join("/")}${url.search}`,
      );
    else return false;
  } catch (error) {
    if (response.headersSent) response.destroy();
    else if (error instanceof StatusError) sendJson(response, error.status.code ?? 500, error.status);
    else sendJson(response, 502, failure(502, (error as Error).message));
  }
  return true;
}

function failure(code: number, message: string): object {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, code };
}

function sendJson(response: ServerResponse, code: number, value: object): void {
  response.writeHead(code, { "Content-Type": "application/json" });
  response.end(`${JSON.stringify(value)}\n`);
}

async function podLog(
  context: RouteContext,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  namespace: string,
  name: string,
): Promise<void> {
  const pod = await context.client.get<Pod>("pods", namespace, name);
  const node = pod.spec?.nodeName;
  if (!node) return sendJson(response, 400, failure(400, `pod ${name} is not assigned to a node yet`));
  const names = (pod.spec?.containers ?? []).map((container) => container.name);
  const container = url.searchParams.get("container") ?? names[0] ?? "";
  if (names.length > 1 && !url.searchParams.has("container")) {
    const message = `a container name must be specified for pod ${name}, choose one of: [${names.join(" ")}]`;
    return sendJson(response, 400, failure(400, message));
  }
  const path = ["containerLogs", namespace, name, container].map(encodeURIComponent).join("/");
  await toNode(context, request, response, node, `/${path}${url.search}`);
}

/** Passes a request on to a node's socket, both ways as streams. */
async function toNode(
  context: RouteContext,
  request: IncomingMessage,
  response: ServerResponse,
  node: string,
  path: string,
): Promise<void> {
  if (!context.nodes().includes(node))
    return sendJson(response, 404, failure(404, `nodes "${node}" not found in this lab`));
  await new Promise<void>((resolve, reject) => {
    const onward = httpRequest(
      { socketPath: context.paths.node(node).socket, path, method: request.method ?? "GET" },
      (answer) => {
        // From here on it may take its time: logs are followed.
        onward.setTimeout(0);
        response.writeHead(answer.statusCode ?? 502, {
          "Content-Type": answer.headers["content-type"] ?? "text/plain",
        });
        response.flushHeaders();
        pipeline(answer, response).then(resolve, resolve);
      },
    );
    onward.setTimeout(ANSWER_MS, () => onward.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)));
    onward.once("error", (error) => reject(new Error(`node ${node} does not answer: ${error.message}`)));
    response.once("close", () => onward.destroy());
    request.pipe(onward);
  });
}

/** GET of a node's path as JSON; undefined when the node does not answer. */
export function askNode<T>(paths: LabPaths, node: string, path: string): Promise<T | undefined> {
  return new Promise((resolve) => {
    const asked = httpRequest({ socketPath: paths.node(node).socket, path, timeout: 2000 }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk: string) => {
        text += chunk;
      });
      answer.on("end", () => {
        try {
          resolve(answer.statusCode === 200 ? (JSON.parse(text) as T) : undefined);
        } catch {
          resolve(undefined);
        }
      });
    });
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => resolve(undefined));
    asked.end();
  });
}

const RECONNECT_MS = 500;
/** How long a node that is asked may take to begin its answer. */
const ANSWER_MS = 5000;

/** Lines of all nodes as they come; a node that restarts is followed again. */
function traceAll(context: RouteContext, response: ServerResponse): void {
  response.writeHead(200, { "Content-Type": "application/x-ndjson" });
  response.flushHeaders();
  const stops = context
    .nodes()
    .map((node) => followNode(context.paths, node, (line) => void response.write(`${line}\n`)));
  response.once("close", () => {
    for (const stop of stops) stop();
  });
}

function followNode(paths: LabPaths, node: string, onLine: (line: string) => void): () => void {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let current: ReturnType<typeof httpRequest> | undefined;
  const again = () => {
    if (!stopped) timer = setTimeout(connect, RECONNECT_MS);
  };
  const connect = () => {
    current = httpRequest({ socketPath: paths.node(node).socket, path: "/trace" }, (answer) => {
      const lines = createInterface({ input: answer }).on("line", onLine);
      // The connection broke, or our own reader left: `close` follows and decides.
      lines.on("error", () => {});
      answer.once("close", again);
    });
    current.once("error", again);
    current.end();
  };
  connect();
  return () => {
    stopped = true;
    clearTimeout(timer);
    current?.destroy();
  };
}
