/** kube-proxy's metrics under their names (pkg/proxy/metrics/metrics.go). */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ProxierMetrics } from "../../proxy/index.js";

/** `count` bounds from `start`, `step` apart. */
const linear = (start: number, step: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => start + index * step);

/** What the proxy counts itself, by the metric that shows it. */
const GAUGES: readonly (readonly [name: string, help: string, value: (metrics: ProxierMetrics) => number])[] =
  [
    [
      "sync_proxy_rules_last_timestamp_seconds",
      "The last time proxy rules were successfully synced",
      ({ lastSyncMs }) => lastSyncMs / 1000,
    ],
    [
      "sync_proxy_rules_endpoint_changes_pending",
      "Pending proxy rules Endpoint changes",
      ({ endpointChangesPending }) => endpointChangesPending,
    ],
    [
      "sync_proxy_rules_service_changes_pending",
      "Pending proxy rules Service changes",
      ({ serviceChangesPending }) => serviceChangesPending,
    ],
  ];
const COUNTERS: typeof GAUGES = [
  [
    "sync_proxy_rules_endpoint_changes_total",
    "Cumulative proxy rules Endpoint changes",
    ({ endpointChangesTotal }) => endpointChangesTotal,
  ],
  [
    "sync_proxy_rules_service_changes_total",
    "Cumulative proxy rules Service changes",
    ({ serviceChangesTotal }) => serviceChangesTotal,
  ],
];

export class ProxyMetrics {
  readonly #registry = new Registry();
  readonly #registers = [this.#registry];
  readonly #duration = new Histogram({
    name: "kubeproxy_sync_proxy_rules_duration_seconds",
    help: "SyncProxyRules latency in seconds",
    buckets: Array.from({ length: 15 }, (_, index) => 0.001 * 2 ** index),
    registers: this.#registers,
  });
  readonly #programming = new Histogram({
    name: "kubeproxy_network_programming_duration_seconds",
    help: "In Cluster Network Programming Latency in seconds",
    buckets: [0.25, 0.5, ...linear(1, 1, 59), ...linear(60, 5, 12), ...linear(120, 30, 7)],
    registers: this.#registers,
  });
  readonly #lastQueued = new Gauge({
    name: "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
    help: "The last time a sync of proxy rules was queued",
    registers: this.#registers,
  });
  readonly #probes = {
    healthz: this.#probeCounter("healthz"),
    livez: this.#probeCounter("livez"),
  };

  constructor(read: () => ProxierMetrics) {
    for (const [name, help, value] of GAUGES) this.#gauge(name, help, () => value(read()));
    for (const [name, help, value] of COUNTERS) this.#counter(name, help, () => value(read()));
    const registers = this.#registers;
    new Gauge({
      name: "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
      help: "Number of services with a Local traffic policy and no endpoints",
      labelNames: ["traffic_policy"],
      registers,
      collect() {
        const { noLocalEndpointsInternal, noLocalEndpointsExternal } = read();
        this.set({ traffic_policy: "internal" }, noLocalEndpointsInternal);
        this.set({ traffic_policy: "external" }, noLocalEndpointsExternal);
      },
    });
  }

  /** A change waits for a sync. */
  queued(nowMs: number): void {
    this.#lastQueued.set(nowMs / 1000);
  }

  /** A sync has ended; `triggersMs` are the times at which its changes of endpoints began, where they are known. */
  synced(nowMs: number, durationMs: number, triggersMs: readonly number[]): void {
    this.#duration.observe(durationMs / 1000);
    for (const triggerMs of triggersMs) this.#programming.observe(Math.max(0, nowMs - triggerMs) / 1000);
  }

  probed(probe: "healthz" | "livez", code: number): void {
    this.#probes[probe].inc({ code: String(code) });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The page of `/metrics`. */
  page(): Promise<string> {
    return this.#registry.metrics();
  }

  #gauge(name: string, help: string, value: () => number): void {
    const collect = function (this: Gauge): void {
      this.set(value());
    };
    new Gauge({ name: `kubeproxy_${name}`, help, registers: this.#registers, collect });
  }

  #counter(name: string, help: string, value: () => number): void {
    const collect = function (this: Counter): void {
      this.reset();
      this.inc(value());
    };
    new Counter({ name: `kubeproxy_${name}`, help, registers: this.#registers, collect });
  }

  #probeCounter(probe: string): Counter<"code"> {
    return new Counter({
      name: `kubeproxy_proxy_${probe}_total`,
      help: `Cumulative proxy ${probe} HTTP status`,
      labelNames: ["code"],
      registers: this.#registers,
    });
  }
}
