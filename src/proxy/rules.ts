import { AddressTable } from "./address-table.js";
import { categorizeEndpoints } from "./categorize.js";
import { EndpointRing } from "./endpoint-ring.js";
import type { Endpoint, ServicePort } from "./types.js";

/** What is done with connections to one service port; its addresses all lead here. */
export interface ServiceRule {
  /** Never used twice, so that what was remembered for a rule that is gone is not mistaken for this one's. */
  readonly id: number;
  port: ServicePort;
  /** As the slices have them, usable or not. */
  endpoints: readonly Endpoint[];
  /** Number of usable endpoints on this node. */
  localCount: number;
  readonly ring: EndpointRing;
}

/** An address that leads to a service port. Masquerading depends on which address was asked for. */
export interface Frontend {
  /** {@link ANY_LOCAL_ADDRESS} for node ports. */
  readonly ip: number;
  readonly port: number;
  readonly protocol: number;
  /** External destinations are always masqueraded under policy Cluster. */
  readonly external: boolean;
  readonly rule: ServiceRule;
}

/** Stands for every address of the node in the address of a node port. */
export const ANY_LOCAL_ADDRESS = 0;

/** The rules of one proxy, and the tables that lead from an address to a rule. */
export class RuleSet {
  readonly rules = new Map<string, ServiceRule>();
  readonly clusterIps = new AddressTable<Frontend>();
  readonly nodePorts = new AddressTable<Frontend>();
  /** By address alone, how many service ports have it as cluster IP. */
  readonly #virtualIps = new AddressTable<number>();
  #lastId = 0;

  /** Whether some Service has this cluster IP. */
  isVirtualIp(ip: number): boolean {
    return this.#virtualIps.get(0, ip, 0) !== undefined;
  }

  /** Adds a service port, or updates one whose addresses stay the same. */
  put(port: ServicePort): ServiceRule {
    let rule = this.rules.get(port.key);
    if (rule === undefined) {
      rule = { id: ++this.#lastId, port, endpoints: [], localCount: 0, ring: new EndpointRing() };
      this.rules.set(port.key, rule);
    }
    rule.port = port;
    return rule;
  }

  remove(key: string): void {
    this.rules.delete(key);
  }

  addFrontend(frontend: Frontend): void {
    const { protocol, ip, port, external } = frontend;
    (external ? this.nodePorts : this.clusterIps).set(protocol, ip, port, frontend);
    if (!external) this.#virtualIps.set(0, ip, 0, (this.#virtualIps.get(0, ip, 0) ?? 0) + 1);
  }

  removeFrontend(frontend: Frontend): void {
    const { protocol, ip, port, external } = frontend;
    const table = external ? this.nodePorts : this.clusterIps;
    // Another Service may have taken the address over.
    if (table.get(protocol, ip, port)?.rule === frontend.rule) table.delete(protocol, ip, port);
    if (external) return;
    const users = this.#virtualIps.get(0, ip, 0) ?? 0;
    if (users > 1) this.#virtualIps.set(0, ip, 0, users - 1);
    else this.#virtualIps.delete(0, ip, 0);
  }
}

/** The addresses of a rule, as its service port has them now, or would have them. */
export function frontendsOf(rule: ServiceRule, servicePort = rule.port): Frontend[] {
  const { protocol, clusterIp, port, nodePort } = servicePort;
  const frontends: Frontend[] = [{ ip: clusterIp, port, protocol, external: false, rule }];
  if (nodePort !== 0)
    frontends.push({ ip: ANY_LOCAL_ADDRESS, port: nodePort, protocol, external: true, rule });
  return frontends;
}

export function sameFrontend(a: Frontend, b: Frontend): boolean {
  return a.ip === b.ip && a.port === b.port && a.protocol === b.protocol && a.external === b.external;
}

/** Gives a rule its endpoints and chooses those that are used. */
export function setEndpoints(rule: ServiceRule, endpoints: readonly Endpoint[]): void {
  const usable = categorizeEndpoints(endpoints);
  rule.endpoints = endpoints;
  rule.localCount = usable.local.length;
  rule.ring.replace(usable.cluster);
}
