import type { Service } from "kubernetes-types/core/v1.d.ts";
import type { EndpointSlice } from "kubernetes-types/discovery/v1.d.ts";
import {
  type ConntrackCleaner,
  type Prefix,
  ServiceAction,
  type ServiceDecision,
  type ServiceQuery,
  type ServiceResolver,
} from "../datapath/index.js";
import { prefixContains } from "../wire/index.js";
import { AffinityTable } from "./affinity-table.js";
import type { RingEndpoint } from "./endpoint-ring.js";
import { EndpointSliceTracker, type EndpointsChange } from "./endpoint-slice-tracker.js";
import {
  ANY_LOCAL_ADDRESS,
  type Frontend,
  frontendsOf,
  RuleSet,
  type ServiceRule,
  sameFrontend,
  setEndpoints,
} from "./rules.js";
import { type ServiceChange, ServiceTracker } from "./service-tracker.js";
import { StaleFlows } from "./stale-flows.js";
import { describeRule, type ServicePortStatus } from "./status.js";
import type { InvalidHandler, ServicePort } from "./types.js";

export interface ProxierOptions {
  /** Endpoints on the node of this name are local. */
  readonly nodeName: string;
  /** Sources in it are pods, which reach cluster IPs with their own address (detect-local mode ClusterCIDR). */
  readonly podNetwork: Prefix;
  /** Addresses in it that no Service has are dropped. */
  readonly serviceNetwork: Prefix;
  /** Masquerade whatever goes to a cluster IP (kube-proxy `--masquerade-all`). */
  readonly masqueradeAll?: boolean;
  readonly conntrack: ConntrackCleaner;
  /** Told about parts of objects that make no sense and are ignored. */
  readonly onInvalid?: InvalidHandler;
}

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

/** kube-proxy for one node: takes Services and EndpointSlices, answers where new connections go. */
export class Proxier implements ServiceResolver {
  readonly #services: ServiceTracker;
  readonly #slices: EndpointSliceTracker;
  readonly #rules = new RuleSet();
  readonly #affinity = new AffinityTable();
  #servicesSynced = false;
  #slicesSynced = false;
  #syncsTotal = 0;
  #lastSyncMs = 0;
  #serviceChangesTotal = 0;
  #endpointChangesTotal = 0;
  #staleFlowsDeletedTotal = 0;

  constructor(private readonly options: ProxierOptions) {
    const onInvalid = options.onInvalid ?? (() => undefined);
    this.#services = new ServiceTracker(onInvalid);
    this.#slices = new EndpointSliceTracker(options.nodeName, onInvalid);
  }

  /** A Service was added or changed. Like all four, it takes effect with the next {@link sync}. */
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
    const stale = new StaleFlows();
    const changed = new Set<ServiceRule>();
    const serviceChanges = this.#services.checkout();
    const endpointChanges = this.#slices.checkout();
    this.#applyEndpoints(endpointChanges, stale, changed);
    this.#applyServices(serviceChanges, stale, changed);
    for (const rule of changed) this.#refresh(rule, stale);
    this.#staleFlowsDeletedTotal += stale.clean(this.options.conntrack);
    this.#syncsTotal++;
    this.#lastSyncMs = nowMs;
  }

  /** Whether the first sync is done; before it nothing resolves. */
  get synced(): boolean {
    return this.#syncsTotal > 0;
  }

  resolve(query: ServiceQuery, out: ServiceDecision): boolean {
    if (this.#syncsTotal === 0) return false;
    const frontend = query.dstIsLocal
      ? this.#rules.nodePorts.get(query.protocol, ANY_LOCAL_ADDRESS, query.dport)
      : this.#rules.clusterIps.get(query.protocol, query.dst | 0, query.dport);
    if (frontend === undefined) return this.#refuseUnknown(query, out);
    const { rule } = frontend;
    const endpoint = this.#choose(rule, query);
    out.service = rule.port.name;
    if (endpoint === undefined) return refuse(out, ServiceAction.reject, "no-endpoints");
    out.action = ServiceAction.dnat;
    out.ip = endpoint.ip;
    out.port = endpoint.port;
    out.masquerade = this.#needsMasquerade(frontend, query.src | 0);
    out.endpoint = endpoint.target;
    out.reason = "";
    return true;
  }

  /** All service ports with their endpoints, in order of name. */
  describe(): ServicePortStatus[] {
    return [...this.#rules.rules.values()].map(describeRule).sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  metrics(): ProxierMetrics {
    const rules = [...this.#rules.rules.values()];
    const lonely = rules.filter((rule) => rule.ring.size > 0 && rule.localCount === 0);
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

  /** Session affinity first, then the next in turn. */
  #choose(rule: ServiceRule, query: ServiceQuery): RingEndpoint | undefined {
    const timeoutMs = rule.port.affinityMs;
    if (timeoutMs === 0) return rule.ring.pick();
    const endpoint = this.#affinity.find(rule.id, query, timeoutMs) ?? rule.ring.pick();
    if (endpoint !== undefined) this.#affinity.remember(rule.id, query, endpoint);
    return endpoint;
  }

  /** Masquerading as kube-proxy marks it (iptables/proxier.go `syncProxyRules`); pods keep their address to cluster IPs. */
  #needsMasquerade(frontend: Frontend, src: number): boolean {
    return (
      frontend.external ||
      this.options.masqueradeAll === true ||
      !prefixContains(this.options.podNetwork, src)
    );
  }

  /** Addresses of the service network that lead nowhere (nftables/README.md: unused ports and unallocated addresses). */
  #refuseUnknown(query: ServiceQuery, out: ServiceDecision): boolean {
    if (query.dstIsLocal) return false;
    out.service = "";
    if (this.#rules.isVirtualIp(query.dst | 0)) return refuse(out, ServiceAction.reject, "no-service-port");
    if (prefixContains(this.options.serviceNetwork, query.dst | 0))
      return refuse(out, ServiceAction.drop, "no-service");
    return false;
  }

  #applyEndpoints(changes: Map<string, EndpointsChange>, stale: StaleFlows, changed: Set<ServiceRule>): void {
    for (const [key, change] of changes) {
      const rule = this.#rules.rules.get(key);
      if (rule === undefined) continue;
      stale.addEndpoints(rule, change);
      changed.add(rule);
    }
  }

  /** Removes first, so that a port may move from one Service to another within a sync. */
  #applyServices(changes: Map<string, ServiceChange>, stale: StaleFlows, changed: Set<ServiceRule>): void {
    for (const change of changes.values()) {
      const current = new Map(change.current.map((port) => [port.key, port]));
      for (const port of change.previous) this.#retire(port, current.get(port.key), stale, changed);
    }
    for (const change of changes.values()) {
      for (const port of change.current) changed.add(this.#install(port));
    }
  }

  #retire(
    port: ServicePort,
    successor: ServicePort | undefined,
    stale: StaleFlows,
    changed: Set<ServiceRule>,
  ): void {
    const rule = this.#rules.rules.get(port.key);
    if (rule === undefined) return;
    for (const frontend of frontendsOf(rule)) {
      const stays =
        successor !== undefined &&
        frontendsOf(rule, successor).some((other) => sameFrontend(other, frontend));
      this.#rules.removeFrontend(frontend);
      if (!stays) stale.addFrontend(frontend);
    }
    if (successor !== undefined) return;
    this.#rules.remove(port.key);
    rule.ring.replace([]);
    changed.delete(rule);
  }

  #install(port: ServicePort): ServiceRule {
    const rule = this.#rules.put(port);
    for (const frontend of frontendsOf(rule)) this.#rules.addFrontend(frontend);
    return rule;
  }

  #refresh(rule: ServiceRule, stale: StaleFlows): void {
    const before = rule.ring.size;
    setEndpoints(rule, this.#slices.endpoints(rule.port.key));
    // Packets that found no endpoint may have left entries that lead nowhere.
    if (before === 0 && rule.ring.size > 0)
      for (const frontend of frontendsOf(rule)) stale.addFrontend(frontend);
  }
}

function refuse(out: ServiceDecision, action: ServiceAction, reason: string): true {
  out.action = action;
  out.ip = 0;
  out.port = 0;
  out.masquerade = false;
  out.endpoint = "";
  out.reason = reason;
  return true;
}
