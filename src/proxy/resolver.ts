import { PortKind, ServiceAction, type ServiceDecision, type ServiceQuery } from "../datapath/index.js";
import { AffinityTable } from "./affinity-table.js";
import type { LocalDetector } from "./detect-local.js";
import type { EndpointPool } from "./endpoint-pool.js";
import type { AddressRange } from "./family.js";
import { type Frontend, FrontendKind, hasEndpoints, type RuleSet } from "./rules.js";
import type { Backend } from "./schedulers/index.js";

/** What of the node and the proxy's options counts when a connection is decided on. */
export interface ResolverOptions {
  readonly serviceNetwork: AddressRange;
  /** 0 when it is not known. */
  readonly nodeIp: number;
  readonly masqueradeAll: boolean;
  /** Empty: all of the node's addresses have the node ports. */
  readonly nodePortAddresses: readonly AddressRange[];
  readonly isFromPod: LocalDetector;
}

/** Decides on the first packet of a connection, by the rules as they are (iptables/proxier.go `syncProxyRules`). */
export class Resolver {
  /** ServiceCIDRs besides the cluster's own network. */
  moreNetworks: readonly AddressRange[] = [];
  readonly #affinity = new AffinityTable();

  constructor(
    private readonly rules: RuleSet,
    private readonly options: ResolverOptions,
  ) {}

  /** Calls `mark` with the clients whose endpoint is remembered. */
  markAddresses(mark: (address: number) => void): void {
    this.#affinity.markClients(mark);
  }

  /** False when the destination is not a Service address; otherwise fills `out`. Allocates nothing. */
  resolve(query: ServiceQuery, out: ServiceDecision): boolean {
    const frontend = this.rules.at(query) ?? this.#nodePort(query);
    if (frontend === undefined) return this.#refuseUnknown(query, out);
    const { rule } = frontend;
    out.service = rule.port.name;
    if (!hasEndpoints(rule)) return refuse(out, ServiceAction.reject, "no-endpoints");
    if (frontend.kind === FrontendKind.loadBalancerIp && !this.#isInSourceRanges(frontend, query))
      return refuse(out, ServiceAction.drop, "denied-by-lb-src-range-check");
    const endpoint = this.#choose(this.#pool(frontend, query), rule.port.affinityMs, query);
    if (endpoint === undefined) return refuse(out, ServiceAction.drop, "no-local-endpoints");
    out.action = ServiceAction.dnat;
    out.ip = endpoint.ip;
    out.port = endpoint.port;
    out.masquerade = this.#needsMasquerade(frontend, query);
    out.endpoint = endpoint.target;
    out.reason = "";
    return true;
  }

  #nodePort(query: ServiceQuery): Frontend | undefined {
    if (!query.dstIsLocal) return undefined;
    const { nodePortAddresses } = this.options;
    if (nodePortAddresses.length > 0 && !anyContains(nodePortAddresses, query.dst | 0)) return undefined;
    return this.rules.nodePort(query);
  }

  /**
   * The endpoints for the policy of the address. What comes from a pod of the cluster or from the node itself to an
   * external address is under no Local policy: it is as if it had gone out to the load balancer and come back in.
   */
  #pool({ kind, rule }: Frontend, query: ServiceQuery): EndpointPool {
    if (kind === FrontendKind.clusterIp) return rule.port.internalPolicyLocal ? rule.local : rule.cluster;
    const isLocal =
      rule.port.externalPolicyLocal && !this.options.isFromPod(query) && !this.#isFromNode(query);
    return isLocal ? rule.local : rule.cluster;
  }

  /** Session affinity first, then the scheduler. */
  #choose(pool: EndpointPool, affinityMs: number, query: ServiceQuery): Backend | undefined {
    if (affinityMs === 0) return pool.pick(query);
    const endpoint = this.#affinity.find(pool.id, query, affinityMs) ?? pool.pick(query);
    if (endpoint !== undefined) this.#affinity.remember(pool.id, query, endpoint);
    return endpoint;
  }

  /** Pods keep their address to cluster IPs, and all clients but the node itself to external addresses of policy Local. */
  #needsMasquerade({ kind, rule }: Frontend, query: ServiceQuery): boolean {
    if (kind === FrontendKind.clusterIp) return this.options.masqueradeAll || !this.options.isFromPod(query);
    if (!rule.port.externalPolicyLocal) return true;
    return this.#isFromNode(query) && !this.options.isFromPod(query);
  }

  /**
   * A node that has the load balancer's address as its own may ask with that address as source; it is let in if the
   * node itself is.
   */
  #isInSourceRanges({ rule, ip }: Frontend, query: ServiceQuery): boolean {
    const { sourceRanges } = rule.port;
    if (sourceRanges.length === 0 || anyContains(sourceRanges, query.src | 0)) return true;
    return (query.src | 0) === (ip | 0) && anyContains(sourceRanges, this.options.nodeIp);
  }

  #isFromNode(query: ServiceQuery): boolean {
    return query.inKind === PortKind.local || (query.src | 0) === (this.options.nodeIp | 0);
  }

  /** Addresses of the service network that lead nowhere (nftables/README.md: unused ports and unallocated addresses). */
  #refuseUnknown(query: ServiceQuery, out: ServiceDecision): boolean {
    if (query.dstIsLocal) return false;
    out.service = "";
    if (this.rules.isClusterIp(query.dst | 0)) return refuse(out, ServiceAction.reject, "no-service-port");
    const { serviceNetwork } = this.options;
    if (serviceNetwork.contains(query.dst | 0) || anyContains(this.moreNetworks, query.dst | 0))
      return refuse(out, ServiceAction.drop, "no-service");
    return false;
  }
}

function anyContains(ranges: readonly AddressRange[], ip: number): boolean {
  for (const range of ranges) if (range.contains(ip)) return true;
  return false;
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
