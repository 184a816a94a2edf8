/**
 * Reduces what the store says, snapshots or events, to changes among the peers' leases. Pure.
 * Of two leases whose subnets overlap the older key wins, on every node alike; the other waits until it is gone.
 */

import type { KeyValue, StoreEvent } from "../store/index.js";
import {
  formatIpv4,
  formatIpv6Prefix,
  formatPrefix,
  type Ipv6Prefix,
  ipv6PrefixContains,
  type Prefix,
  prefixContains,
} from "../wire/index.js";
import { parseLease } from "./registry.js";
import { formatSubnets, sameSubnets, subnetsOverlap } from "./subnet.js";
import type { LeaseEvent, Log, NodeSubnets, SubnetLease } from "./types.js";

export interface LeaseTableOptions {
  readonly prefix: string;
  /** The network that all subnets have to lie in. */
  readonly network: Prefix;
  /** Missing in a network of IPv4 only: leases with IPv6 subnets are used for their IPv4 ones then, as flannel does. */
  readonly network6?: Ipv6Prefix;
  /** Our own subnets and underlay address; our own lease is no peer. */
  readonly own: NodeSubnets;
  readonly ownPublicIp: number;
  readonly log: Log;
}

/** The peers' leases. */
export class LeaseTable {
  /** All that can be read, but our own. */
  readonly #known = new Map<string, SubnetLease>();
  #admitted: ReadonlyMap<string, SubnetLease> = new Map();
  /** Why entries are ignored, so that each reason is logged once. */
  readonly #problems = new Map<string, string>();

  constructor(private readonly options: LeaseTableOptions) {}

  /** Leases of the peers, by age of their keys. */
  get peers(): readonly SubnetLease[] {
    return [...this.#admitted.values()];
  }

  /** Takes the whole content of the store; returns what differs from before. */
  reset(kvs: readonly KeyValue[]): LeaseEvent[] {
    const present = new Set(kvs.map((kv) => kv.key));
    for (const key of [...this.#known.keys(), ...this.#problems.keys()])
      if (!present.has(key)) this.#forget(key);
    for (const kv of kvs) this.#learn(kv);
    return this.#admit();
  }

  /** Takes changes in their order; returns what they change among the peers. */
  apply(events: readonly StoreEvent[]): LeaseEvent[] {
    for (const { type, kv } of events) {
      if (type === "delete") this.#forget(kv.key);
      else this.#learn(kv);
    }
    return this.#admit();
  }

  /** An entry that cannot be read leaves what was known under its key as it was. */
  #learn(kv: KeyValue): void {
    const lease = parseLease(this.options.prefix, kv);
    if (typeof lease === "string") this.#warn(kv.key, `ignored an entry of the store: ${lease}`);
    else if (!sameSubnets(lease, this.options.own)) this.#known.set(kv.key, lease);
  }

  #forget(key: string): void {
    this.#known.delete(key);
    this.#problems.delete(key);
  }

  /** Chooses anew from all that is known, oldest key first; returns the difference to the last choice. */
  #admit(): LeaseEvent[] {
    const before = this.#admitted;
    const admitted = new Map<string, SubnetLease>();
    for (const [key, lease] of [...this.#known].sort(([, a], [, b]) => a.createRevision - b.createRevision)) {
      const problem = this.#problem(lease, admitted.values());
      if (problem === undefined) admitted.set(key, lease);
      else this.#warn(key, `ignored the lease of ${formatIpv4(lease.publicIp)}: ${problem}`);
    }
    this.#admitted = admitted;
    const removed = [...before].filter(([key]) => !admitted.has(key));
    const added = [...admitted].filter(([key, lease]) => !sameAttributes(before.get(key), lease));
    return [
      ...removed.map(([, lease]) => ({ type: "removed", lease }) as const),
      ...added.map(([, lease]) => ({ type: "added", lease }) as const),
    ];
  }

  /** Why a lease cannot be a peer's beside the admitted ones; undefined when it can. */
  #problem(lease: SubnetLease, admitted: Iterable<SubnetLease>): string | undefined {
    const { network, network6, own, ownPublicIp } = this.options;
    const { subnet, subnet6, publicIp } = lease;
    const name = formatSubnets(lease);
    if (subnet.length < network.length || !prefixContains(network, subnet.address)) {
      return `subnet ${name} is outside the network ${formatPrefix(network)}`;
    }
    if (network6 !== undefined && subnet6 !== undefined && !isInside(subnet6, network6))
      return `subnet ${name} is outside the network ${formatIpv6Prefix(network6)}`;
    if (subnetsOverlap(lease, own)) return `subnet ${name} overlaps our own ${formatSubnets(own)}`;
    if (publicIp === ownPublicIp)
      return `subnet ${name} carries our own PublicIP, but it is not the one we hold`;
    for (const other of admitted) {
      if (!subnetsOverlap(lease, other)) continue;
      return `subnet ${name} overlaps ${formatSubnets(other)} of ${formatIpv4(other.publicIp)}`;
    }
    return undefined;
  }

  #warn(key: string, problem: string): void {
    if (this.#problems.get(key) === problem) return;
    this.#problems.set(key, problem);
    this.options.log("warn", problem);
  }
}

function isInside(subnet: Ipv6Prefix, network: Ipv6Prefix): boolean {
  return subnet.length >= network.length && ipv6PrefixContains(network, subnet.address);
}

/** Whether a rewrite of the key, such as flannel's renewal, changes nothing for the backend. */
function sameAttributes(a: SubnetLease | undefined, b: SubnetLease): boolean {
  return (
    a !== undefined &&
    a.publicIp === b.publicIp &&
    a.backendType === b.backendType &&
    JSON.stringify(a.backendData) === JSON.stringify(b.backendData)
  );
}
