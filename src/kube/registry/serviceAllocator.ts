/**
 * ClusterIPs and node ports. What is taken is known from the stored Services alone: it is read at the start, and again
 * after a write whose outcome is unknown. Writes of Services go one after the other, so two can never get the same
 * address. Choice as in Kubernetes: at random from the upper part of the range first, so that addresses which people
 * choose by hand, mostly low ones, stay free.
 */
import { Address4 } from "ip-address";
import type { Store, TxnResult } from "../../store/index.js";
import { needsClusterIp, needsHealthCheckNodePort, needsNodePorts } from "../kinds/serviceDefaults.js";
import type { Service } from "../objects.js";
import { resourceInfo } from "../resources.js";
import { type FieldError, fieldError, internalError, invalid } from "../status.js";
import { decodeStored, prefixOf } from "./object.js";

export interface PortRange {
  readonly min: number;
  readonly max: number;
}

export interface AllocatorOptions {
  readonly store: Store;
  /** CIDR of the ClusterIPs, such as 10.254.0.0/16. */
  readonly serviceNetwork: string;
  readonly nodePortRange: PortRange;
  /** Numbers in [0, 1). */
  readonly random: () => number;
}

type Spec = NonNullable<Service["spec"]>;
const SERVICES = resourceInfo("services");
/** The first address belongs to the Service `default/kubernetes`; the tenth is where people expect cluster DNS. */
const API_OFFSET = 1;
const DNS_OFFSET = 10;

export class ServiceAllocator {
  readonly #options: AllocatorOptions;
  readonly #network: { readonly first: number; readonly size: number };
  readonly #ips = new Set<string>();
  readonly #ports = new Set<number>();
  #known = false;
  #last: Promise<unknown> = Promise.resolve();

  /** @throws Error for a network that is no IPv4 CIDR or has no room */
  constructor(options: AllocatorOptions) {
    this.#options = options;
    this.#network = parseNetwork(options.serviceNetwork);
  }

  /**
   * Fills in the addresses that `next` lacks, runs the write, and takes and frees what it changed when it succeeded.
   * `previous` must be what the write is conditional on.
   * @throws StatusError (422) when an asked address is taken or out of range, (500) when the range is full
   */
  commit(
    next: Service | undefined,
    previous: Service | undefined,
    write: () => Promise<TxnResult>,
  ): Promise<TxnResult> {
    const turn = this.#last.then(async () => {
      if (!this.#known) await this.#load();
      const held = holdings(previous);
      if (next) this.#fill(next, held);
      // Until the write answers, nobody knows; if it throws, what is stored is read again.
      this.#known = false;
      const result = await write();
      this.#known = true;
      if (result.succeeded) this.#exchange(held, holdings(next));
      return result;
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #load(): Promise<void> {
    const { kvs } = await this.#options.store.range(prefixOf(SERVICES), { prefix: true });
    this.#ips.clear();
    this.#ports.clear();
    for (const kv of kvs) this.#exchange(holdings(undefined), holdings(decodeStored(kv) as Service));
  }

  #exchange(before: Holdings, after: Holdings): void {
    if (before.ip !== undefined) this.#ips.delete(before.ip);
    for (const port of before.ports) this.#ports.delete(port);
    if (after.ip !== undefined) this.#ips.add(after.ip);
    for (const port of after.ports) this.#ports.add(port);
  }

  #fill(service: Service, held: Holdings): void {
    const spec = service.spec!;
    const owner = `${service.metadata?.namespace}/${service.metadata?.name}`;
    const errors = [...this.#fillClusterIp(spec, held, owner), ...this.#fillPorts(spec, held)];
    if (errors.length > 0) throw invalid(SERVICES, service.metadata?.name ?? "", errors);
  }

  #fillClusterIp(spec: Spec, held: Holdings, owner: string): FieldError[] {
    if (!needsClusterIp(spec) || spec.clusterIP === "None") return [];
    if (!spec.clusterIP) {
      const offset = pickFree(
        API_OFFSET + 1,
        this.#network.size - 2,
        ipBand(this.#network.size),
        this.#options.random,
        (one) => one !== DNS_OFFSET && !this.#ips.has(this.#ipAt(one)),
      );
      if (offset === undefined) throw internalError("failed to allocate a serviceIP: range is full");
      spec.clusterIP = this.#ipAt(offset);
      spec.clusterIPs = [spec.clusterIP];
      return [];
    }
    const ip = spec.clusterIP;
    const why = ip === held.ip ? undefined : this.#whyNotIp(ip, owner);
    if (why === undefined) return [];
    return [fieldError.invalid("spec.clusterIPs", [ip], `failed to allocate IP ${ip}: ${why}`)];
  }

  #whyNotIp(ip: string, owner: string): string | undefined {
    const offset = toNumber(ip) - this.#network.first;
    // An IPv6 address gives no number, and so is never in range.
    if (!(offset >= 1 && offset <= this.#network.size - 2)) {
      return `the provided IP (${ip}) is not in the valid range. The range of valid IPs is ${this.#options.serviceNetwork}`;
    }
    const reserved = offset === API_OFFSET && owner !== "default/kubernetes";
    return reserved || this.#ips.has(ip) ? "provided IP is already allocated" : undefined;
  }

  #ipAt(offset: number): string {
    const ip = this.#network.first + offset;
    return [24, 16, 8, 0].map((shift) => (ip >>> shift) & 255).join(".");
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
  readonly ip?: string;
  readonly ports: ReadonlySet<number>;
}

function holdings(service: Service | undefined): Holdings {
  const { clusterIP, ports = [], healthCheckNodePort } = service?.spec ?? {};
  const numbers = [...ports.map((port) => port.nodePort), healthCheckNodePort];
  return {
    ...(clusterIP && clusterIP !== "None" ? { ip: clusterIP } : {}),
    ports: new Set(numbers.filter((port): port is number => Boolean(port))),
  };
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

/** A free number, at random above the band, or the lowest in it; undefined when there is none. */
function pickFree(
  min: number,
  max: number,
  band: number,
  random: () => number,
  isFree: (value: number) => boolean,
): number | undefined {
  const low = min + band;
  const count = max - low + 1;
  const start = Math.floor(random() * count);
  for (let step = 0; step < count; step++) {
    const value = low + ((start + step) % count);
    if (isFree(value)) return value;
  }
  for (let value = min; value < low; value++) if (isFree(value)) return value;
  return undefined;
}

/** KEP-3070: 1/16 of the addresses, between 16 and 256; none in small ranges. */
function ipBand(size: number): number {
  return size < 64 ? 0 : Math.min(Math.max(16, size / 16), 256);
}

/** KEP-3668: 1/32 of the ports, between 16 and 128; none in small ranges. */
function portBand(size: number): number {
  return size < 32 ? 0 : Math.min(Math.max(16, Math.floor(size / 32)), 128);
}

function parseNetwork(cidr: string): { first: number; size: number } {
  if (!cidr.includes("/") || !Address4.isValid(cidr))
    throw new Error(`service network ${cidr}: give an IPv4 network such as 10.254.0.0/16`);
  const network = new Address4(cidr);
  const size = 2 ** (32 - network.subnetMask);
  if (size < 4) throw new Error(`service network ${cidr}: too small for Services, give a /30 or larger`);
  return { first: toNumber(network.startAddress().correctForm()), size };
}

function toNumber(ip: string): number {
  return ip.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0);
}
