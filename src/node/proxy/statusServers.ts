/** What kube-proxy tells of itself over HTTP on the node: health on port 10256, metrics and its mode on 10249. */
import type { RequestListener, Server, ServerResponse } from "node:http";
import type { SyncHealth } from "../../proxy/index.js";
import { closeListener, listenInNetns, type NodeNetns, tryListen } from "./listener.js";
import type { ProxyMetrics } from "./metrics.js";

/** cmd/kube-proxy/app: `healthzBindAddress` and `metricsBindAddress`. */
const HEALTHZ_PORT = 10_256;
const METRICS_PORT = 10_249;
/** kube-proxy names a kernel subsystem here. */
const PROXY_MODE = "podwire";

export class StatusServers {
  readonly #servers: Server[];

  constructor(
    netns: NodeNetns,
    health: SyncHealth,
    metrics: ProxyMetrics,
    log: (level: "warn", message: string) => void,
  ) {
    const open = (port: number, answer: RequestListener) =>
      tryListen(
        () => listenInNetns(netns, port, answer),
        (message) => log("warn", `kube-proxy's port ${port}: ${message}`),
      );
    this.#servers = [
      open(HEALTHZ_PORT, (request, response) => answerProbe(request.url ?? "", response, health, metrics)),
      open(METRICS_PORT, (request, response) => void answerMetrics(request.url ?? "", response, metrics)),
    ].filter((server) => server !== undefined);
  }

  close(): void {
    for (const server of this.#servers) closeListener(server);
  }
}

/** `/healthz` is for load balancers, which leave a node alone that is being deleted; `/livez` asks for the proxy only. */
function answerProbe(url: string, response: ServerResponse, health: SyncHealth, metrics: ProxyMetrics): void {
  const [path] = url.split("?");
  if (path !== "/healthz" && path !== "/livez") {
    notFound(response);
    return;
  }
  const nowMs = Date.now();
  const isHealthy = health.isHealthy(nowMs) && (path === "/livez" || health.nodeEligible);
  const code = isHealthy ? 200 : 503;
  metrics.probed(path === "/livez" ? "livez" : "healthz", code);
  response.writeHead(code, { "Content-Type": "application/json", "X-Content-Type-Options": "nosniff" });
  response.end(
    JSON.stringify({
      lastUpdated: new Date(health.lastUpdatedMs(nowMs)).toISOString(),
      currentTime: new Date(nowMs).toISOString(),
      ...(path === "/healthz" ? { nodeEligible: health.nodeEligible } : {}),
    }),
  );
}

async function answerMetrics(url: string, response: ServerResponse, metrics: ProxyMetrics): Promise<void> {
  const [path] = url.split("?");
  if (path === "/metrics") {
    const page = await metrics.page();
    response.writeHead(200, { "Content-Type": metrics.contentType }).end(page);
  } else if (path === "/proxyMode") text(response, PROXY_MODE);
  // cmd/kube-proxy/app/server.go serves the health of the process here too.
  else if (path === "/healthz") text(response, "ok");
  else notFound(response);
}

function text(response: ServerResponse, body: string): void {
  response.writeHead(200, {
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
  });
  response.end(body);
}

function notFound(response: ServerResponse): void {
  response.writeHead(404, { "Content-Type": "text/plain; charset=utf-8" }).end("404 page not found\n");
}
