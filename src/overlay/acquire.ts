/**
 * Taking a subnet, in flannel's order (flannel pkg/subnet/etcd/local_manager.go): the one that already carries our
 * PublicIP, else the one we had before, else any free one.
 */
import type { Clock } from "../store/index.js";
import {
  formatIpv4,
  formatPrefix,
  type Ipv6Prefix,
  ipv6PrefixesOverlap,
  ipv6PrefixSize,
  type Prefix,
  prefixesOverlap,
} from "../wire/index.js";
import { configKey, isCompatible, type NetworkConfig, subnetCount } from "./config.js";
import type { NetworkConfig6 } from "./config6.js";
import { NO_LEASE, type SubnetListing, type SubnetRegistry } from "./registry.js";
import { formatSubnets, sizeOf, subnetsOverlap } from "./subnet.js";
import type { LeaseAttributes, Log, NodeSubnets, SubnetLease } from "./types.js";

/** A lost race means that another node won, so that many attempts fail only when something else is wrong. */
const MAX_ATTEMPTS = 100;
/** flannel picks among this many free subnets, which keeps racing nodes apart. */
const CANDIDATES = 100;

/** The subnets that this node holds. */
export interface OwnLease extends NodeSubnets {
  /** etcd lease id; "0" for a reservation. */
  readonly leaseId: string;
  /** Infinity for a reservation. */
  readonly expiresAtMs: number;
  /** Revision of our last write. */
  readonly modRevision: number;
}

export interface AcquireOptions {
  readonly attributes: LeaseAttributes;
  /** The subnets of an earlier run, from subnet.env. */
  readonly previous?: NodeSubnets;
  readonly ttlSeconds: number;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Log;
}

/** Every subnet of the network is held. */
export class NetworkFullError extends Error {
  constructor(config: NetworkConfig, held: number, key: string) {
    const range = `${formatIpv4(config.subnetMin)} to ${formatIpv4(config.subnetMax)}`;
    super(
      `network ${formatPrefix(config.network)} is full: ${held} leases and reservations hold all of its ` +
        `${subnetCount(config)} /${config.subnetLen} subnets (${range}); remove a node or enlarge the network in ${key}`,
    );
    this.name = "NetworkFullError";
  }
}

/**
 * Takes a subnet and attaches it to a new etcd lease, or uses the reservation that was made for our PublicIP.
 * @throws NetworkFullError; StoreUnavailableError (trying again is safe: the subnet is then found by its PublicIP)
 */
export async function acquireLease(
  registry: SubnetRegistry,
  config: NetworkConfig,
  options: AcquireOptions,
): Promise<OwnLease> {
  const grant = await grantLease(registry, options);
  let used = false;
  try {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const lease = await tryAcquire(registry, config, options, grant);
      if (lease === undefined) continue;
      used = lease.leaseId === grant.leaseId;
      return lease;
    }
  } finally {
    // An unused grant would only linger until its TTL; that the store is away now is no reason to fail.
    if (!used) await registry.store.leases.revoke(grant.leaseId).catch(() => undefined);
  }
  throw new Error(
    `no subnet of ${formatPrefix(config.network)} could be taken in ${MAX_ATTEMPTS} attempts: other nodes changed ` +
      `the keys each time; check who writes to ${registry.prefix}/subnets`,
  );
}

/** A granted etcd lease; its end is counted from before the request, so it never seems later than it is. */
export interface Grant {
  readonly leaseId: string;
  readonly expiresAtMs: number;
}

export async function grantLease(
  registry: SubnetRegistry,
  options: { readonly ttlSeconds: number; readonly clock: Clock },
): Promise<Grant> {
  const askedAtMs = options.clock.now();
  const { id, grantedTtlSeconds } = await registry.store.leases.grant(options.ttlSeconds);
  return { leaseId: id, expiresAtMs: askedAtMs + grantedTtlSeconds * 1000 };
}

/** Takes a subnet that was free; undefined when another node was faster. */
export async function createLease(
  registry: SubnetRegistry,
  subnets: NodeSubnets,
  attributes: LeaseAttributes,
  grant: Grant,
): Promise<OwnLease | undefined> {
  const modRevision = await registry.create(subnets, attributes, grant.leaseId);
  return modRevision === undefined ? undefined : { ...only(subnets), ...grant, modRevision };
}

/** Puts our attributes on a subnet that already carries our PublicIP; undefined when it changed meanwhile. */
export async function takeOver(
  registry: SubnetRegistry,
  existing: SubnetLease,
  attributes: LeaseAttributes,
  grant: Grant,
): Promise<OwnLease | undefined> {
  const reserved = existing.leaseId === NO_LEASE;
  const { leaseId, expiresAtMs } = reserved
    ? { leaseId: NO_LEASE, expiresAtMs: Number.POSITIVE_INFINITY }
    : grant;
  const modRevision = await registry.replace(existing, attributes, leaseId);
  return modRevision === undefined ? undefined : { ...only(existing), leaseId, expiresAtMs, modRevision };
}

function only({ subnet, subnet6 }: NodeSubnets): NodeSubnets {
  return { subnet, ...(subnet6 && { subnet6 }) };
}

/** One round; undefined when a race was lost. */
async function tryAcquire(
  registry: SubnetRegistry,
  config: NetworkConfig,
  options: AcquireOptions,
  grant: Grant,
): Promise<OwnLease | undefined> {
  const { attributes, log, random } = options;
  const listing = await registry.list();
  const existing = await findOwn(registry, config, listing, options);
  if (existing !== undefined) {
    log("info", `reusing subnet ${formatSubnets(existing)}, which carries our PublicIP`);
    return takeOver(registry, existing, attributes, grant);
  }
  const subnets = usablePrevious(config, listing, options) ?? pickFree(config, listing.held, random);
  if (subnets === undefined)
    throw new NetworkFullError(config, listing.held.length, configKey(registry.prefix));
  return createLease(registry, subnets, attributes, grant);
}

/** Our own subnet from earlier, a reservation first. Leases that no longer fit the configuration are deleted. */
async function findOwn(
  registry: SubnetRegistry,
  config: NetworkConfig,
  listing: SubnetListing,
  { attributes, log }: AcquireOptions,
): Promise<SubnetLease | undefined> {
  const own = listing.leases.filter((lease) => lease.publicIp === attributes.publicIp);
  const usable = own.filter((lease) => isCompatible(config, lease));
  for (const lease of own.filter((candidate) => !usable.includes(candidate))) {
    const reserved = lease.leaseId === NO_LEASE;
    const what = `${reserved ? "reservation" : "lease"} ${formatSubnets(lease)} of our PublicIP`;
    log("warn", `${what} does not fit the network configuration: ${reserved ? "ignored" : "deleted"}`);
    if (!reserved) await registry.remove(lease);
  }
  return usable.find((lease) => lease.leaseId === NO_LEASE) ?? usable[0];
}

function usablePrevious(
  config: NetworkConfig,
  listing: SubnetListing,
  { previous, log }: AcquireOptions,
): NodeSubnets | undefined {
  if (previous === undefined || listing.held.some((subnets) => subnetsOverlap(subnets, previous)))
    return undefined;
  if (isCompatible(config, previous)) return previous;
  log("warn", `previous subnet ${formatSubnets(previous)} does not fit the network configuration: ignored`);
  return undefined;
}

/** One of the first free subnets by chance, in a dual-stack network with one of IPv6; undefined when none is free. */
export function pickFree(
  config: NetworkConfig,
  held: readonly NodeSubnets[],
  random: () => number,
): NodeSubnets | undefined {
  const subnet = pickFree4(
    config,
    held.map((subnets) => subnets.subnet),
    random,
  );
  if (subnet === undefined || config.ipv6 === undefined) return subnet && { subnet };
  const subnet6 = pickFree6(config, config.ipv6, held, subnet);
  return subnet6 && { subnet, subnet6 };
}

/**
 * The IPv6 subnet with the number of the IPv4 one, or the next that is free. flannel chooses both by chance, and two
 * nodes could take the same subnet under different keys; so they want the same key, and the transaction decides.
 */
function pickFree6(
  config: NetworkConfig,
  { subnetLen, subnetMin, subnetMax }: NetworkConfig6,
  held: readonly NodeSubnets[],
  subnet: Prefix,
): Ipv6Prefix | undefined {
  const size = ipv6PrefixSize(subnetLen);
  const count = (subnetMax - subnetMin) / size + 1n;
  const number = BigInt((subnet.address - config.subnetMin) / sizeOf(config.subnetLen));
  const taken = held.flatMap((subnets) => subnets.subnet6 ?? []);
  // Each subnet that is held hides at most one candidate of the same length, and larger ones are skipped one by one.
  for (let step = 0n; step < count && step <= BigInt(taken.length + CANDIDATES); step++) {
    const candidate = { address: subnetMin + ((number + step) % count) * size, length: subnetLen };
    if (!taken.some((other) => ipv6PrefixesOverlap(other, candidate))) return candidate;
  }
  return undefined;
}

function pickFree4(config: NetworkConfig, held: readonly Prefix[], random: () => number): Prefix | undefined {
  const length = config.subnetLen;
  const sameLength = new Set(
    held.filter((subnet) => subnet.length === length).map((subnet) => subnet.address),
  );
  const otherLengths = held.filter((subnet) => subnet.length !== length);
  const free: Prefix[] = [];
  for (let address = config.subnetMin; address <= config.subnetMax; address += sizeOf(length)) {
    const subnet = { address, length };
    if (sameLength.has(address) || otherLengths.some((other) => prefixesOverlap(other, subnet))) continue;
    free.push(subnet);
    if (free.length === CANDIDATES) break;
  }
  return free[Math.floor(random() * free.length)];
}
