/** What the API server counts of its requests, under kube-apiserver's names (apiserver pkg/endpoints/metrics/metrics.go). */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { pathParts, type ResourceRoute, resourceRoute } from "./route.js";

const LABELS = ["verb", "group", "version", "resource", "subresource", "scope"] as const;
const VERBS: Readonly<Record<string, string>> = {
  POST: "POST",
  PUT: "PUT",
  PATCH: "PATCH",
  HEAD: "GET",
};

export class ApiMetrics {
  readonly #registry = new Registry();
  readonly #registers = [this.#registry];
  readonly #total = new Counter({
    name: "apiserver_request_total",
    help: "Counter of apiserver requests broken out for each verb, group, version, resource, scope and HTTP response code",
    labelNames: [...LABELS, "code"],
    registers: this.#registers,
  });
  readonly #duration = new Histogram({
    name: "apiserver_request_duration_seconds",
    help: "Response latency distribution in seconds for each verb, group, version, resource, subresource and scope; watches have none",
    labelNames: LABELS,
    buckets: [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 10],
    registers: this.#registers,
  });
  readonly #inflight = new Gauge({
    name: "apiserver_current_inflight_requests",
    help: "Number of requests that are being answered now, those that change something apart; watches do not count",
    labelNames: ["request_kind"],
    registers: this.#registers,
  });

  /** Follows a request to the end of its answer. */
  observe(request: IncomingMessage, response: ServerResponse): void {
    const url = URL.canParse(request.url ?? "", "http://server")
      ? new URL(request.url!, "http://server")
      : undefined;
    const route = resourceRoute(pathParts(url?.pathname ?? "") ?? []);
    if (!route) return;
    const labels = labelsOf(request.method ?? "", route, url?.searchParams);
    const isWatch = labels.verb === "WATCH";
    const kind = labels.verb === "GET" || labels.verb === "LIST" ? "readOnly" : "mutating";
    const from = performance.now();
    if (!isWatch) this.#inflight.inc({ request_kind: kind });
    response.once("close", () => {
      this.#total.inc({ ...labels, code: response.statusCode });
      if (isWatch) return;
      this.#inflight.dec({ request_kind: kind });
      this.#duration.observe(labels, (performance.now() - from) / 1000);
    });
  }

  /** In Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

function labelsOf(method: string, route: ResourceRoute, query: URLSearchParams | undefined) {
  const { info, namespace, name, subresource = "" } = route;
  const scope = name !== undefined ? "resource" : namespace !== undefined ? "namespace" : "cluster";
  const { group, version, name: resource } = info;
  return { verb: verbOf(method, name, query), group, version, resource, subresource, scope };
}

function verbOf(method: string, name: string | undefined, query: URLSearchParams | undefined): string {
  if (method === "DELETE") return name === undefined ? "DELETECOLLECTION" : "DELETE";
  if (method !== "GET") return VERBS[method] ?? "other";
  if (["", "1", "true"].includes(query?.get("watch") ?? "false")) return "WATCH";
  return name === undefined ? "LIST" : "GET";
}
