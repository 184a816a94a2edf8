/**
 * flannel's subnet keys in the store: `<prefix>/subnets/172.16.53.0-24`, in a dual-stack network
 * `<prefix>/subnets/172.16.53.0-24&fd00:10:244:5::-64`, holds the attributes of the lease as JSON (flannel
 * pkg/subnet/subnet.go, pkg/lease/lease.go). Writes are transactions, so a lost race is seen and never overwritten.
 */

import type { KeyValue, Store } from "../store/index.js";
import { formatIpv4, parseIpv4, parseIpv6Cidr } from "../wire/index.js";
import { parseFields } from "./json.js";
import { formatSubnets, parseCidr } from "./subnet.js";
import type { LeaseAttributes, Log, NodeSubnets, SubnetLease } from "./types.js";

/** Lease id of a key without a lease: a reservation. */
export const NO_LEASE = "0";

/** Everything under `<prefix>/subnets/`. */
export interface SubnetListing {
  /** Well-formed leases and reservations. */
  readonly leases: readonly SubnetLease[];
  /** The subnets that every key names, also when its value cannot be read: none of these is free. */
  readonly held: readonly NodeSubnets[];
}

/** What the key of one subnet holds. */
export type SubnetState =
  | { readonly type: "free" }
  | { readonly type: "held"; readonly lease: SubnetLease }
  | { readonly type: "malformed"; readonly problem: string };

export function subnetsKey(prefix: string): string {
  return `${prefix}/subnets/`;
}

export function subnetKey(prefix: string, subnets: NodeSubnets): string {
  return subnetsKey(prefix) + formatSubnets(subnets).replaceAll("/", "-");
}

/** The subnets that a key names; undefined unless the key is written exactly as flannel writes it. */
export function parseSubnetKey(prefix: string, key: string): NodeSubnets | undefined {
  if (!key.startsWith(subnetsKey(prefix))) return undefined;
  const [first = "", second] = key.slice(subnetsKey(prefix).length).split("&");
  const subnet = parseCidr(first.replace("-", "/"));
  const subnet6 = second === undefined ? undefined : parseIpv6Cidr(second.replace("-", "/"));
  if (subnet === undefined) return undefined;
  const subnets = { subnet, ...(subnet6 && { subnet6 }) };
  return subnetKey(prefix, subnets) === key ? subnets : undefined;
}

/**
 * The value of a lease: `{"PublicIP":"…","BackendType":"udp"}`, and BackendData when there is any. Of a dual-stack lease
 * it says that there is no IPv6 underlay, as flannel does with a null.
 */
export function encodeAttributes(
  attributes: LeaseAttributes,
  { subnet6 }: Partial<NodeSubnets> = {},
): Uint8Array {
  const { publicIp, backendType, backendData } = attributes;
  const value = {
    PublicIP: formatIpv4(publicIp),
    ...(subnet6 && { PublicIPv6: null }),
    BackendType: backendType,
    BackendData: backendData,
  };
  return new TextEncoder().encode(JSON.stringify(value));
}

/** Reads a subnet key and its value; a text that says what is wrong when it is not a usable lease. */
export function parseLease(prefix: string, kv: KeyValue): SubnetLease | string {
  const subnets = parseSubnetKey(prefix, kv.key);
  if (subnets === undefined) return `key ${kv.key} does not name a subnet such as 172.16.53.0-24`;
  const fields = parseFields(new TextDecoder().decode(kv.value));
  if (fields === undefined) return `value of ${kv.key} is not a JSON object`;
  const publicIpText = fields.get("publicip");
  const publicIp = typeof publicIpText === "string" ? parseIpv4(publicIpText) : undefined;
  if (publicIp === undefined) return `value of ${kv.key} has no valid PublicIP`;
  const backendType = fields.get("backendtype") ?? "";
  if (typeof backendType !== "string") return `value of ${kv.key} has a BackendType that is not a text`;
  const backendData = fields.get("backenddata") ?? undefined;
  const { createRevision, modRevision, lease: leaseId } = kv;
  return { ...subnets, publicIp, backendType, backendData, leaseId, createRevision, modRevision };
}

/** Reads and writes of subnet keys. Every call throws StoreUnavailableError while the store is away. */
export class SubnetRegistry {
  constructor(
    readonly store: Store,
    readonly prefix: string,
    private readonly log: Log,
  ) {}

  async list(): Promise<SubnetListing> {
    const { kvs } = await this.store.range(subnetsKey(this.prefix), { prefix: true });
    const leases: SubnetLease[] = [];
    const held: NodeSubnets[] = [];
    for (const kv of kvs) {
      const subnets = parseSubnetKey(this.prefix, kv.key);
      if (subnets !== undefined) held.push(subnets);
      const lease = parseLease(this.prefix, kv);
      if (typeof lease === "string") this.log("warn", `ignored an entry of the store: ${lease}`);
      else leases.push(lease);
    }
    return { leases, held };
  }

  async get(subnets: NodeSubnets): Promise<SubnetState> {
    const { kvs } = await this.store.range(subnetKey(this.prefix, subnets));
    if (kvs[0] === undefined) return { type: "free" };
    const lease = parseLease(this.prefix, kvs[0]);
    return typeof lease === "string" ? { type: "malformed", problem: lease } : { type: "held", lease };
  }

  /** Writes the key if nobody has; the revision of the write, or undefined when the race was lost. */
  create(subnets: NodeSubnets, attributes: LeaseAttributes, leaseId: string): Promise<number | undefined> {
    return this.#putIf(subnets, 0, attributes, leaseId);
  }

  /** Rewrites the key if it is still as it was read; the revision of the write, or undefined when it has changed. */
  replace(read: SubnetLease, attributes: LeaseAttributes, leaseId: string): Promise<number | undefined> {
    return this.#putIf(read, read.modRevision, attributes, leaseId);
  }

  /** Deletes the key if it is still as it was read. */
  async remove(read: SubnetLease): Promise<void> {
    const key = subnetKey(this.prefix, read);
    await this.store.txn(
      [{ key, target: "modRevision", result: "=", value: read.modRevision }],
      [{ type: "delete", key }],
    );
  }

  /** A key that does not exist has modRevision 0. */
  async #putIf(
    subnets: NodeSubnets,
    modRevision: number,
    attributes: LeaseAttributes,
    leaseId: string,
  ): Promise<number | undefined> {
    const key = subnetKey(this.prefix, subnets);
    const lease = leaseId === NO_LEASE ? {} : { lease: leaseId };
    const { succeeded, revision } = await this.store.txn(
      [{ key, target: "modRevision", result: "=", value: modRevision }],
      [{ type: "put", key, value: encodeAttributes(attributes, subnets), ...lease }],
    );
    return succeeded ? revision : undefined;
  }
}
