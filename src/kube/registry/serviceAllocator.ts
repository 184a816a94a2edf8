/**
 * ClusterIPs and node ports. What is taken is known from the stored Services and IPAddresses: it is read at the start,
 * and again after a write that failed or whose outcome is unknown. Writes of Services go one after the other, so two can never get the same
 * address. Choice as in Kubernetes: at random from the upper part of the range first, so that addresses which people
 * choose by hand, mostly low ones, stay free.
 */
import type { Store, TxnResult } from "../../store/index.js";
import { needsClusterIp, needsHealthCheckNodePort, needsNodePorts } from "../kinds/serviceDefaults.js";
import { canonicalClusterIp } from "../names.js";
import type { Service, ServiceCIDR } from "../objects.js";
import { resourceInfo } from "../resources.js";
import { type FieldError, fieldError, internalError, invalid } from "../status.js";
import { ipAddressEffects, type SideEffects } from "./ipAddresses.js";
import { decodeStored, prefixOf } from "./object.js";
import { ipBand, pickFree, portBand } from "./pickFree.js";
import { fillFamilies } from "./serviceFamilies.js";
import { API_OFFSET, familyOf, type IpFamily, ServiceRange } from "./serviceRange.js";

export interface PortRange {
  readonly min: number;
  readonly max: number;
}

export interface AllocatorOptions {
  readonly store: Store;
  /** CIDRs of the ClusterIPs, such as 10.254.0.0/16: one, or one of each family with the default one first. */
  readonly serviceCidrs: readonly string[];
  readonly nodePortRange: PortRange;
  /** Numbers in [0, 1). */
  readonly random: () => number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

type Spec = NonNullable<Service["spec"]>;
const SERVICES = resourceInfo("services");
const IP_ADDRESSES = resourceInfo("ipaddresses");
const SERVICE_CIDRS = resourceInfo("servicecidrs");
/** The tenth address of the service network is where people expect cluster DNS. */
const DNS_OFFSET = 10;
const NO_EFFECTS: SideEffects = { compares: [], operations: [] };

export class ServiceAllocator {
  readonly #options: AllocatorOptions;
  /** The cluster's own ranges; the families that Services can have are theirs. */
  readonly #own: readonly ServiceRange[];
  #ranges: readonly ServiceRange[];
  readonly #ips = new Set<string>();
  /** Those of them that have an IPAddress. */
  readonly #objects = new Set<string>();
  readonly #ports = new Set<number>();
  #known = false;
  #last: Promise<unknown> = Promise.resolve();

  /** @throws Error for a network that is no CIDR or has no room, and for two of one family */
  constructor(options: AllocatorOptions) {
    this.#options = options;
    this.#own = options.serviceCidrs.map((cidr) => new ServiceRange(cidr));
    this.#ranges = this.#own;
    if (this.#own.length === 0 || new Set(this.#families).size < this.#own.length)
      throw new Error(
        `service networks ${options.serviceCidrs.join(", ")}: give one, or one of each IP family`,
      );
  }

  /** The cluster's own networks, in their usual spelling. */
  get cidrs(): string[] {
    return this.#own.map(({ cidr }) => cidr);
  }

  get #families(): IpFamily[] {
    return this.#own.map(({ family }) => family);
  }

  /**
   * Fills in the addresses that `next` lacks, runs the write, and takes and frees what it changed when it succeeded.
   * `previous` must be what the write is conditional on; the effects belong to the same transaction.
   * @throws StatusError (422) when an asked address is taken or out of range, (500) when the range is full
   */
  commit(
    next: Service | undefined,
    previous: Service | undefined,
    write: (effects: SideEffects) => Promise<TxnResult>,
  ): Promise<TxnResult> {
    const turn = this.#last.then(async () => {
      if (!this.#known) await this.#load();
      else await this.#readRanges();
      const held = holdings(previous);
      if (next) this.#fill(next, previous, held);
      const effects = this.#effects(next ?? previous, held, holdings(next));
      // Until the write answers, nobody knows; if it throws or fails, what is stored is read again.
      this.#known = false;
      const result = await write(effects);
      if (result.succeeded) this.#exchange(held, holdings(next));
      this.#known = result.succeeded;
      return result;
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Makes the IPAddresses that Services of an older store, or of one that somebody has edited, lack. */
  async repair(): Promise<void> {
    const { store, now } = this.#options;
    await this.#load();
    const { kvs } = await store.range(prefixOf(SERVICES), { prefix: true });
    for (const service of kvs.map((kv) => decodeStored(kv) as Service)) {
      const missing = holdings(service).ips.filter((ip) => !this.#objects.has(ip));
      const { compares, operations } = ipAddressEffects(placeOf(service), missing, [], now());
      if (missing.length > 0) await store.txn(compares, operations);
    }
    this.#known = false;
  }

  async #load(): Promise<void> {
    const { store } = this.#options;
    const services = await store.range(prefixOf(SERVICES), { prefix: true });
    const addresses = await store.range(prefixOf(IP_ADDRESSES), { prefix: true, keysOnly: true });
    await this.#readRanges();
    this.#ips.clear();
    this.#objects.clear();
    this.#ports.clear();
    for (const kv of services.kvs) this.#exchange(holdings(undefined), holdings(decodeStored(kv) as Service));
    for (const { key } of addresses.kvs) this.#objects.add(key.slice(prefixOf(IP_ADDRESSES).length));
  }

  async #readRanges(): Promise<void> {
    const { kvs } = await this.#options.store.range(prefixOf(SERVICE_CIDRS), { prefix: true });
    const own = new Set(this.#own.map(({ cidr }) => cidr));
    const cidrs = kvs.flatMap((kv) => (decodeStored(kv) as ServiceCIDR).spec?.cidrs ?? []);
    const added = [...new Set(cidrs)].filter((cidr) => !own.has(cidr));
    this.#ranges = [...this.#own, ...added.map((cidr) => new ServiceRange(cidr))];
  }

  #exchange(before: Holdings, after: Holdings): void {
    for (const ip of before.ips) {
      this.#ips.delete(ip);
      this.#objects.delete(ip);
    }
    for (const port of before.ports) this.#ports.delete(port);
    for (const ip of after.ips) this.#ips.add(ip);
    for (const port of after.ports) this.#ports.add(port);
  }

  #effects(service: Service | undefined, before: Holdings, after: Holdings): SideEffects {
    const taken = after.ips.filter((ip) => !before.ips.includes(ip));
    const left = before.ips.filter((ip) => !after.ips.includes(ip));
    if (!service || taken.length + left.length === 0) return NO_EFFECTS;
    return ipAddressEffects(placeOf(service), taken, left, this.#options.now());
  }

  #fill(service: Service, previous: Service | undefined, held: Holdings): void {
    const spec = service.spec!;
    const { namespace, name } = placeOf(service);
    const families = fillFamilies(spec, previous?.spec, this.#families);
    const errors =
      families.length > 0
        ? families
        : [...this.#fillClusterIps(spec, held, `${namespace}/${name}`), ...this.#fillPorts(spec, held)];
    if (errors.length > 0) throw invalid(SERVICES, name, errors);
  }

  #fillClusterIps(spec: Spec, held: Holdings, owner: string): FieldError[] {
    if (!needsClusterIp(spec) || spec.clusterIP === "None") return [];
    const asked = spec.clusterIPs ?? [];
    const errors = asked.flatMap((ip) => {
      const known = canonicalClusterIp(ip) ?? ip;
      const why = held.ips.includes(known) ? undefined : this.#whyNotIp(known, owner);
      return why === undefined
        ? []
        : [fieldError.invalid("spec.clusterIPs", asked, `failed to allocate IP ${ip}: ${why}`)];
    });
    if (errors.length > 0) return errors;
    const families = (spec.ipFamilies ?? []) as IpFamily[];
    spec.clusterIPs = families.map((family, index) => asked[index] || this.#freeIp(family));
    spec.clusterIP = spec.clusterIPs[0]!;
    return [];
  }

  #freeIp(family: IpFamily): string {
    for (const range of this.#ranges.filter((one) => one.family === family)) {
      const isFree = (offset: number) =>
        !(this.#own.includes(range) && offset === DNS_OFFSET) && !this.#isTaken(range.ipAt(offset));
      const first = this.#own.includes(range) ? API_OFFSET + 1 : 1;
      const offset = pickFree(first, range.lastOffset, ipBand(range.size), this.#options.random, isFree);
      if (offset !== undefined) return range.ipAt(offset);
    }
    throw internalError("failed to allocate a serviceIP: range is full");
  }

  #isTaken(ip: string): boolean {
    return this.#ips.has(ip) || this.#objects.has(ip);
  }

  #whyNotIp(ip: string, owner: string): string | undefined {
    const ranges = this.#ranges.filter(({ family }) => family === familyOf(ip));
    const range = ranges.find((one) => one.offsetOf(ip) !== undefined);
    if (!range) {
      const valid = ranges.map(({ cidr }) => cidr).join(",");
      return `the provided IP (${ip}) is not in the valid range. The range of valid IPs is ${valid}`;
    }
    const isApi = range === this.#own[0] && range.offsetOf(ip) === API_OFFSET;
    const reserved = isApi && owner !== "default/kubernetes";
    return reserved || this.#isTaken(ip) ? "provided IP is already allocated" : undefined;
  }

  #fillPorts(spec: Spec, held: Holdings): FieldError[] {
    const ports = needsNodePorts(spec) ? (spec.ports ?? []) : [];
    // What this Service has or asks for; another protocol may share the number within it.
    const own = new Set<number>();
    const errors: FieldError[] = [];
    const take = (port: number | undefined, field: string) => {
      if (!port) return;
      const why = own.has(port) || held.ports.has(port) ? undefined : this.#whyNotPort(port);
      if (why !== undefined) errors.push(fieldError.invalid(field, port, why));
      own.add(port);
    };
    for (const [index, port] of ports.entries()) take(port.nodePort, `spec.ports[${index}].nodePort`);
    if (needsHealthCheckNodePort(spec)) take(spec.healthCheckNodePort, "spec.healthCheckNodePort");
    if (errors.length > 0) return errors;
    for (const port of ports.filter((one) => !one.nodePort)) {
      port.nodePort = shareable(ports, port) ?? this.#freePort(own);
      own.add(port.nodePort);
    }
    if (needsHealthCheckNodePort(spec)) spec.healthCheckNodePort ||= this.#freePort(own);
    return [];
  }

  #whyNotPort(port: number): string | undefined {
    const { min, max } = this.#options.nodePortRange;
    if (port < min || port > max) {
      return `provided port is not in the valid range. The range of valid ports is ${min}-${max}`;
    }
    return this.#ports.has(port) ? "provided port is already allocated" : undefined;
  }

  #freePort(own: ReadonlySet<number>): number {
    const { min, max } = this.#options.nodePortRange;
    const isFree = (port: number) => !this.#ports.has(port) && !own.has(port);
    const port = pickFree(min, max, portBand(max - min + 1), this.#options.random, isFree);
    if (port === undefined) throw internalError("failed to allocate a nodePort: range is full");
    return port;
  }
}

interface Holdings {
  readonly ips: readonly string[];
  readonly ports: ReadonlySet<number>;
}

/** Addresses in their usual spelling, whatever the Service's own. */
function holdings(service: Service | undefined): Holdings {
  const { clusterIP, clusterIPs, ports = [], healthCheckNodePort } = service?.spec ?? {};
  const ips = clusterIPs ?? [clusterIP];
  const numbers = [...ports.map((port) => port.nodePort), healthCheckNodePort];
  return {
    ips: ips.flatMap((ip) => (ip && ip !== "None" ? [canonicalClusterIp(ip) ?? ip] : [])),
    ports: new Set(numbers.filter((port): port is number => Boolean(port))),
  };
}

function placeOf({ metadata }: Service): { namespace: string; name: string } {
  return { namespace: metadata?.namespace ?? "", name: metadata?.name ?? "" };
}

type Ports = NonNullable<Spec["ports"]>;

/** The node port of another protocol on the same port, as for DNS over UDP and TCP. */
function shareable(ports: Ports, wanted: Ports[number]): number | undefined {
  const twin = ports.find(
    (one) => one.port === wanted.port && one.nodePort && one.protocol !== wanted.protocol,
  );
  const clash = ports.some((one) => one.nodePort === twin?.nodePort && one.protocol === wanted.protocol);
  return clash ? undefined : twin?.nodePort;
}
