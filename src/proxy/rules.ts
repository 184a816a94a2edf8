import type { ServiceQuery } from "../datapath/index.js";
import { AddressTable } from "./address-table.js";
import { categorizeEndpoints } from "./categorize.js";
import { EndpointPool } from "./endpoint-pool.js";
import type { AddressFamily } from "./family.js";
import type { SchedulerEnvironment, SchedulerName } from "./schedulers/index.js";
import { weightOf } from "./service-scheduling.js";
import type { Endpoint, Place, ServicePort } from "./types.js";

/** What is done with connections to one service port; its addresses all lead here. */
export interface ServiceRule {
  port: ServicePort;
  /** As the slices have them, usable or not. */
  endpoints: readonly Endpoint[];
  /** Endpoints for policy Cluster. */
  readonly cluster: EndpointPool;
  /** Endpoints for policy Local; empty when no address of the port has that policy. */
  readonly local: EndpointPool;
}

/** Kinds of addresses. The policies, masquerading and who is admitted depend on the kind that was asked for. */
export const FrontendKind = { clusterIp: 0, externalIp: 1, loadBalancerIp: 2, nodePort: 3 } as const;
export type FrontendKind = (typeof FrontendKind)[keyof typeof FrontendKind];

/** An address that leads to a service port. */
export interface Frontend {
  readonly kind: FrontendKind;
  /** {@link ANY_LOCAL_ADDRESS} for node ports. */
  readonly ip: number;
  readonly port: number;
  readonly protocol: number;
  readonly rule: ServiceRule;
}

/** Stands for every address of the node in the address of a node port. */
export const ANY_LOCAL_ADDRESS = 0;

/** The rules of one proxy, and the table that leads from an address to a rule. */
export class RuleSet {
  readonly rules = new Map<string, ServiceRule>();
  readonly #frontends = new AddressTable<Frontend>();
  /** Frontends whose address another rule had first, by address, in order of arrival. */
  readonly #waiting = new Map<string, Frontend[]>();
  /** By address alone, how many service ports have it as cluster IP. */
  readonly #clusterIps = new AddressTable<number>();
  #lastPoolId = 0;

  constructor(
    private readonly defaultScheduler: SchedulerName,
    private readonly environment: SchedulerEnvironment,
    readonly family: AddressFamily,
  ) {}

  /** The frontend of that very address. */
  at(query: ServiceQuery): Frontend | undefined {
    const frontend = this.#frontends.get(query.protocol, query.dst | 0, query.dport);
    return frontend?.kind === FrontendKind.nodePort ? undefined : frontend;
  }

  /** The node port of the query's port. */
  nodePort(query: ServiceQuery): Frontend | undefined {
    return this.#frontends.get(query.protocol, ANY_LOCAL_ADDRESS, query.dport);
  }

  /** Whether some Service has this cluster IP. */
  isClusterIp(ip: number): boolean {
    return this.#clusterIps.get(0, ip, 0) !== undefined;
  }

  /** Adds a service port, or updates one whose addresses stay the same. */
  put(port: ServicePort): ServiceRule {
    const rule = this.rules.get(port.key) ?? this.#makeRule(port);
    rule.port = port;
    for (const pool of [rule.cluster, rule.local]) pool.schedule(port.scheduler ?? this.defaultScheduler);
    return rule;
  }

  remove(key: string): void {
    this.rules.delete(key);
  }

  /**
   * Adds an address unless the rule has it already. Whoever has an address first keeps it; API servers see to it that
   * only external addresses can be wanted twice.
   */
  addFrontend(frontend: Frontend): void {
    const { protocol, ip, port, kind, rule } = frontend;
    const key = addressKey(frontend);
    const holder = this.#frontends.get(protocol, ip, port);
    const waiting = this.#waiting.get(key) ?? [];
    if (holder?.rule === rule || waiting.some((other) => other.rule === rule)) return;
    if (kind === FrontendKind.clusterIp) this.#countClusterIp(ip, 1);
    if (holder === undefined) this.#frontends.set(protocol, ip, port, frontend);
    else this.#waiting.set(key, [...waiting, frontend]);
  }

  removeFrontend(frontend: Frontend): void {
    const { protocol, ip, port, kind, rule } = frontend;
    if (kind === FrontendKind.clusterIp) this.#countClusterIp(ip, -1);
    const key = addressKey(frontend);
    const waiting = (this.#waiting.get(key) ?? []).filter((other) => other.rule !== rule);
    if (this.#frontends.get(protocol, ip, port)?.rule === rule) {
      this.#frontends.delete(protocol, ip, port);
      const heir = waiting.shift();
      if (heir !== undefined) this.#frontends.set(protocol, ip, port, heir);
    }
    if (waiting.length === 0) this.#waiting.delete(key);
    else this.#waiting.set(key, waiting);
  }

  #makeRule(port: ServicePort): ServiceRule {
    const name = port.scheduler ?? this.defaultScheduler;
    const pool = () => new EndpointPool(++this.#lastPoolId, name, this.environment);
    const rule = { port, endpoints: [], cluster: pool(), local: pool() };
    this.rules.set(port.key, rule);
    return rule;
  }

  #countClusterIp(ip: number, change: 1 | -1): void {
    const users = (this.#clusterIps.get(0, ip, 0) ?? 0) + change;
    if (users > 0) this.#clusterIps.set(0, ip, 0, users);
    else this.#clusterIps.delete(0, ip, 0);
  }
}

/**
 * The addresses of a rule, as its service port has them now, or would have them: each address and port once. An
 * external IP that is the load balancer's as well is not subject to source ranges, as with kube-proxy's order of rules.
 */
export function frontendsOf(rule: ServiceRule, servicePort = rule.port): Frontend[] {
  const { protocol, clusterIp, port, nodePort, externalIps, loadBalancerIps } = servicePort;
  const kinds = new Map<number, FrontendKind>();
  for (const ip of loadBalancerIps) kinds.set(ip, FrontendKind.loadBalancerIp);
  for (const ip of externalIps) kinds.set(ip, FrontendKind.externalIp);
  kinds.set(clusterIp, FrontendKind.clusterIp);
  const frontends = [...kinds].map(([ip, kind]) => ({ kind, ip, port, protocol, rule }));
  if (nodePort === 0) return frontends;
  return [
    ...frontends,
    { kind: FrontendKind.nodePort, ip: ANY_LOCAL_ADDRESS, port: nodePort, protocol, rule },
  ];
}

export function sameFrontend(a: Frontend, b: Frontend): boolean {
  return a.ip === b.ip && a.port === b.port && a.protocol === b.protocol && a.kind === b.kind;
}

/** Gives a rule its endpoints and chooses those that are used. */
export function setEndpoints(
  rule: ServiceRule,
  endpoints: readonly Endpoint[],
  place: Place,
  family: AddressFamily,
): void {
  const { port } = rule;
  const usable = categorizeEndpoints(endpoints, place);
  const weight = (endpoint: Endpoint) => weightOf(port, endpoint, family);
  const usesLocal = port.internalPolicyLocal || port.externalPolicyLocal;
  rule.endpoints = endpoints;
  rule.cluster.replace(usable.cluster, weight);
  rule.local.replace(usesLocal ? usable.local : [], weight);
}

/** Whether the rule has endpoints that can be used from somewhere, if not from here. */
export function hasEndpoints(rule: ServiceRule): boolean {
  return rule.cluster.size > 0 || rule.local.size > 0;
}

function addressKey({ protocol, ip, port }: Frontend): string {
  return `${protocol} ${ip} ${port}`;
}
