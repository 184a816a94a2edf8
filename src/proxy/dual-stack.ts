import type { Service } from "kubernetes-types/core/v1.d.ts";
import type { EndpointSlice } from "kubernetes-types/discovery/v1.d.ts";
import type { ServiceDecision, ServiceQuery, ServiceResolver } from "../datapath/index.js";
import type { HealthCheck } from "./health.js";
import type { Proxier, ProxierMetrics } from "./proxier.js";
import type { ServicePortStatus } from "./status.js";

/** What feeds and asks a node's proxy, whether it serves one family or both. */
export type NodeProxier = Pick<
  Proxier,
  | "onServiceUpsert"
  | "onServiceDelete"
  | "onEndpointSliceUpsert"
  | "onEndpointSliceDelete"
  | "onZoneChange"
  | "onServiceCidrs"
  | "onServicesSynced"
  | "onEndpointSlicesSynced"
  | "sync"
  | "synced"
  | "resolve"
  | "healthChecks"
  | "describe"
  | "metrics"
>;

/** One proxy per family, each with its own half of every object (pkg/proxy/metaproxier). */
export class DualStackProxier implements ServiceResolver, NodeProxier {
  /** `isIpv6` tells the families apart by an address as the datapath has it. */
  constructor(
    private readonly ipv4: Proxier,
    private readonly ipv6: Proxier,
    private readonly isIpv6: (address: number) => boolean,
  ) {}

  onServiceUpsert(service: Service): void {
    this.#each((proxier) => proxier.onServiceUpsert(service));
  }

  onServiceDelete(service: Service): void {
    this.#each((proxier) => proxier.onServiceDelete(service));
  }

  onEndpointSliceUpsert(slice: EndpointSlice): void {
    this.#each((proxier) => proxier.onEndpointSliceUpsert(slice));
  }

  onEndpointSliceDelete(slice: EndpointSlice): void {
    this.#each((proxier) => proxier.onEndpointSliceDelete(slice));
  }

  onZoneChange(zone: string): boolean {
    const changed = this.ipv4.onZoneChange(zone);
    return this.ipv6.onZoneChange(zone) || changed;
  }

  onServiceCidrs(cidrs: readonly string[]): void {
    this.#each((proxier) => proxier.onServiceCidrs(cidrs));
  }

  onServicesSynced(): void {
    this.#each((proxier) => proxier.onServicesSynced());
  }

  onEndpointSlicesSynced(): void {
    this.#each((proxier) => proxier.onEndpointSlicesSynced());
  }

  sync(nowMs: number): void {
    this.#each((proxier) => proxier.sync(nowMs));
  }

  get synced(): boolean {
    return this.ipv4.synced && this.ipv6.synced;
  }

  resolve(query: ServiceQuery, out: ServiceDecision): boolean {
    return this.isIpv6(query.dst | 0) ? this.ipv6.resolve(query, out) : this.ipv4.resolve(query, out);
  }

  /** Of a Service with both families there are two, of one port: each family's addresses answer for its own endpoints. */
  healthChecks(): HealthCheck[] {
    return [...this.ipv4.healthChecks(), ...this.ipv6.healthChecks()];
  }

  /** Of both families; a Service with two cluster IPs is there twice. */
  describe(): ServicePortStatus[] {
    return [...this.ipv4.describe(), ...this.ipv6.describe()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Sums; the time is of the sync that is longer ago. */
  metrics(): ProxierMetrics {
    const [a, b] = [this.ipv4.metrics(), this.ipv6.metrics()];
    const names = Object.keys(a) as (keyof ProxierMetrics)[];
    const sums = Object.fromEntries(
      names.map((name) => [name, a[name] + b[name]]),
    ) as unknown as ProxierMetrics;
    return { ...sums, lastSyncMs: Math.min(a.lastSyncMs, b.lastSyncMs) };
  }

  #each(act: (proxier: Proxier) => void): void {
    act(this.ipv4);
    act(this.ipv6);
  }
}
