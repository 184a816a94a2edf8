import type { Service } from "kubernetes-types/core/v1.d.ts";
import type { EndpointSlice } from "kubernetes-types/discovery/v1.d.ts";
import type { ServiceDecision, ServiceQuery, ServiceResolver } from "../datapath/index.js";
import { localDetector } from "./detect-local.js";
import { EndpointSliceTracker } from "./endpoint-slice-tracker.js";
import { type AddressFamily, type AddressRange, IPV4_FAMILY } from "./family.js";
import { type HealthCheck, healthChecks } from "./health.js";
import type { ProxierOptions } from "./options.js";
import { Resolver } from "./resolver.js";
import { hasEndpoints, RuleSet } from "./rules.js";
import type { ConnectionCounter } from "./schedulers/index.js";
import { ServiceTracker } from "./service-tracker.js";
import { describeRule, type ServicePortStatus } from "./status.js";
import type { Place } from "./types.js";
import { Updater } from "./updater.js";

/** What kube-proxy's metrics of the same names count (`kubeproxy_sync_proxy_rules_…`). */
export interface ProxierMetrics {
  readonly syncsTotal: number;
  /** 0 before the first. */
  readonly lastSyncMs: number;
  readonly serviceChangesTotal: number;
  readonly serviceChangesPending: number;
  readonly endpointChangesTotal: number;
  readonly endpointChangesPending: number;
  /** Service ports with policy Local that have usable endpoints, but none on this node. */
  readonly noLocalEndpointsInternal: number;
  readonly noLocalEndpointsExternal: number;
  /** Conntrack entries deleted because their endpoint or Service was gone. */
  readonly staleFlowsDeletedTotal: number;
}

/** For want of a counter: as many connections everywhere. */
const UNCOUNTED: ConnectionCounter = { openConnections: () => 0 };

/** kube-proxy for one node: takes Services and EndpointSlices, answers where new connections go. */
export class Proxier implements ServiceResolver {
  readonly #options: ProxierOptions;
  readonly #family: AddressFamily;
  readonly #services: ServiceTracker;
  readonly #slices: EndpointSliceTracker;
  readonly #rules: RuleSet;
  readonly #resolver: Resolver;
  #place: Place;
  #placeChanged = false;
  #servicesSynced = false;
  #slicesSynced = false;
  #syncsTotal = 0;
  #lastSyncMs = 0;
  #serviceChangesTotal = 0;
  #endpointChangesTotal = 0;
  #staleFlowsDeletedTotal = 0;

  /** @throws Error when the options ask for detect-local mode NodeCIDR and name no pod subnet */
  constructor(options: ProxierOptions) {
    const onInvalid = options.onInvalid ?? (() => undefined);
    const { defaultScheduler = "rr", random = Math.random, connections = UNCOUNTED } = options;
    const { family = IPV4_FAMILY } = options;
    this.#options = options;
    this.#family = family;
    this.#place = { nodeName: options.nodeName, zone: options.zone ?? "" };
    this.#services = new ServiceTracker(onInvalid, family);
    this.#slices = new EndpointSliceTracker(options.nodeName, onInvalid, family);
    this.#rules = new RuleSet(
      defaultScheduler,
      { random, connections, digest: (ip) => family.digest(ip) },
      family,
    );
    this.#resolver = new Resolver(this.#rules, {
      serviceNetwork: family.range(options.serviceNetwork),
      nodeIp: options.nodeIp ?? 0,
      masqueradeAll: options.masqueradeAll ?? false,
      nodePortAddresses: nodePortAddresses(options, family),
      isFromPod: localDetector(options.detectLocalMode ?? "ClusterCIDR", {
        podNetwork: family.range(options.podNetwork),
        ...(options.podSubnet && { podSubnet: family.range(options.podSubnet) }),
      }),
    });
  }

  /** A Service was added or changed. Like all that follow, it takes effect with the next {@link sync}. */
  onServiceUpsert(service: Service): void {
    if (this.#services.upsert(service)) this.#serviceChangesTotal++;
  }

  onServiceDelete(service: Service): void {
    if (this.#services.delete(service)) this.#serviceChangesTotal++;
  }

  onEndpointSliceUpsert(slice: EndpointSlice): void {
    if (this.#slices.upsert(slice)) this.#endpointChangesTotal++;
  }

  onEndpointSliceDelete(slice: EndpointSlice): void {
    if (this.#slices.delete(slice)) this.#endpointChangesTotal++;
  }

  /** The node's label `topology.kubernetes.io/zone`, empty when it has none. Returns whether it has changed. */
  onZoneChange(zone: string): boolean {
    if (zone === this.#place.zone) return false;
    this.#place = { ...this.#place, zone };
    this.#placeChanged = true;
    return true;
  }

  /** The networks of all ServiceCIDRs; what they have no Service for is dropped from now on. */
  onServiceCidrs(cidrs: readonly string[]): void {
    this.#resolver.moreNetworks = cidrs
      .filter((text) => !this.#family.isOther(text))
      .map((text) => this.#family.parseRange(text))
      .filter((range) => range !== undefined);
  }

  /** All Services that existed at the start have been handed over. */
  onServicesSynced(): void {
    this.#servicesSynced = true;
  }

  /** All EndpointSlices that existed at the start have been handed over. */
  onEndpointSlicesSynced(): void {
    this.#slicesSynced = true;
  }

  /**
   * Applies what has changed: only service ports that changed, or whose endpoints did, are rebuilt. Does nothing
   * until both lists are complete, so that no connection is refused for want of an endpoint that is still to come.
   */
  sync(nowMs: number): void {
    if (!this.#servicesSynced || !this.#slicesSynced) return;
    const updater = new Updater(this.#rules, (key) => this.#slices.endpoints(key), this.#place);
    updater.apply({
      services: this.#services.checkout(),
      endpoints: this.#slices.checkout(),
      placeChanged: this.#placeChanged,
    });
    this.#placeChanged = false;
    this.#staleFlowsDeletedTotal += updater.stale.clean(this.#options.conntrack);
    this.#syncsTotal++;
    this.#lastSyncMs = nowMs;
    this.#family.settle();
  }

  /** Calls `mark` with every address that is kept here, for the datapath's address book. */
  markAddresses(mark: (address: number) => void): void {
    for (const { port, endpoints } of this.#rules.rules.values()) {
      for (const ip of [port.clusterIp, ...port.externalIps, ...port.loadBalancerIps]) mark(ip);
      for (const { ip } of endpoints) mark(ip);
    }
    this.#slices.markAddresses(mark);
    this.#resolver.markAddresses(mark);
  }

  /** Whether the first sync is done; before it nothing resolves. */
  get synced(): boolean {
    return this.#syncsTotal > 0;
  }

  resolve(query: ServiceQuery, out: ServiceDecision): boolean {
    return this.#syncsTotal > 0 && this.#resolver.resolve(query, out);
  }

  /**
   * The Services that load balancers check on this node, in order of name; to be asked after each sync. Whoever answers
   * on those ports says 200 while `localReady` is not 0 and the proxy keeps up (`SyncHealth`), else 503.
   */
  healthChecks(): HealthCheck[] {
    return healthChecks(this.#rules.rules.values(), this.#family.addressType);
  }

  /** All service ports with their endpoints, in order of name. */
  describe(): ServicePortStatus[] {
    const { defaultScheduler = "rr" } = this.#options;
    return [...this.#rules.rules.values()]
      .map((rule) => describeRule(rule, defaultScheduler, this.#family))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  metrics(): ProxierMetrics {
    const rules = [...this.#rules.rules.values()];
    const lonely = rules.filter((rule) => hasEndpoints(rule) && rule.local.size === 0);
    return {
      syncsTotal: this.#syncsTotal,
      lastSyncMs: this.#lastSyncMs,
      serviceChangesTotal: this.#serviceChangesTotal,
      serviceChangesPending: this.#services.pendingCount,
      endpointChangesTotal: this.#endpointChangesTotal,
      endpointChangesPending: this.#slices.pendingCount,
      noLocalEndpointsInternal: lonely.filter((rule) => rule.port.internalPolicyLocal).length,
      noLocalEndpointsExternal: lonely.filter((rule) => rule.port.externalPolicyLocal).length,
      staleFlowsDeletedTotal: this.#staleFlowsDeletedTotal,
    };
  }
}

function nodePortAddresses(
  { nodePortAddresses: wanted = [], nodeIp = 0 }: ProxierOptions,
  family: AddressFamily,
): readonly AddressRange[] {
  if (wanted !== "primary") return wanted.map((prefix) => family.range(prefix));
  return [{ address: nodeIp, length: 32, contains: (address) => (address | 0) === (nodeIp | 0) }];
}
