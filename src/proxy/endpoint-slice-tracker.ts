import type { EndpointSlice } from "kubernetes-types/discovery/v1.d.ts";
import { endpointAt, readSlice, type SliceContent, sliceService } from "./endpoint-slice.js";
import { type AddressFamily, IPV4_FAMILY } from "./family.js";
import { asRecord, asString } from "./read.js";
import { isIgnoredByLabels } from "./service-port.js";
import { type Endpoint, type InvalidHandler, servicePortKey } from "./types.js";

/** The endpoints of one service port before and after all that happened since the last checkout. */
export interface EndpointsChange {
  readonly previous: readonly Endpoint[];
  readonly current: readonly Endpoint[];
}

/** The slices of one Service. */
interface ServiceSlices {
  readonly namespace: string;
  readonly service: string;
  readonly applied: Map<string, SliceContent>;
  /** By slice name; null for a slice that is gone. */
  readonly pending: Map<string, SliceContent | null>;
  /** Keys of the service ports that the applied slices name. */
  servicePorts: readonly string[];
}

/**
 * Collects changes of EndpointSlices until the proxy is ready to apply them (kube-proxy's EndpointSliceCache,
 * pkg/proxy/endpointslicecache.go). Slices are kept by name, because an endpoint may move between slices.
 */
export class EndpointSliceTracker {
  readonly #services = new Map<string, ServiceSlices>();
  /** What the applied slices amount to, by service port. */
  readonly #endpoints = new Map<string, readonly Endpoint[]>();
  /** Services with pending slices. */
  readonly #dirty = new Set<string>();

  constructor(
    private readonly nodeName: string,
    private readonly onInvalid: InvalidHandler,
    private readonly family: AddressFamily = IPV4_FAMILY,
  ) {}

  /** Number of Services with slices that are not applied yet. */
  get pendingCount(): number {
    return this.#dirty.size;
  }

  /** Notes a new or changed slice. Returns whether anything that the proxy looks at has changed. */
  upsert(slice: EndpointSlice): boolean {
    const owner = this.#owner(slice);
    if (owner === undefined) return false;
    if (isIgnoredByLabels(asRecord(slice.metadata))) return this.#note(owner, slice, null);
    return this.#note(owner, slice, readSlice(slice, this.nodeName, this.onInvalid, this.family));
  }

  /** Notes that the slice is gone. */
  delete(slice: EndpointSlice): boolean {
    const owner = this.#owner(slice);
    return owner === undefined ? false : this.#note(owner, slice, null);
  }

  /** The service ports whose endpoints have changed since the last call, by key, marking them as applied. */
  checkout(): Map<string, EndpointsChange> {
    const changes = new Map<string, EndpointsChange>();
    for (const name of this.#dirty) {
      const owner = this.#services.get(name);
      if (owner === undefined) continue;
      for (const [slice, content] of owner.pending) {
        if (content === null) owner.applied.delete(slice);
        else owner.applied.set(slice, content);
      }
      owner.pending.clear();
      this.#collectChanges(owner, changes);
      if (owner.applied.size === 0) this.#services.delete(name);
    }
    this.#dirty.clear();
    return changes;
  }

  /** The applied endpoints of a service port. */
  endpoints(servicePortKey: string): readonly Endpoint[] {
    return this.#endpoints.get(servicePortKey) ?? [];
  }

  /** Calls `mark` with every address of the applied slices. */
  markAddresses(mark: (address: number) => void): void {
    for (const { applied } of this.#services.values())
      for (const { addresses } of applied.values()) for (const { ip } of addresses) mark(ip);
  }

  #owner(slice: EndpointSlice): ServiceSlices | undefined {
    const belongs = sliceService(slice);
    if (belongs === undefined || asString(asRecord(slice.metadata).name) === "") {
      this.onInvalid(
        "An EndpointSlice without namespace, name or the label kubernetes.io/service-name was ignored.",
      );
      return undefined;
    }
    const key = `${belongs.namespace}/${belongs.service}`;
    let owner = this.#services.get(key);
    if (owner === undefined) {
      owner = { ...belongs, applied: new Map(), pending: new Map(), servicePorts: [] };
      this.#services.set(key, owner);
    }
    return owner;
  }

  #note(owner: ServiceSlices, slice: EndpointSlice, content: SliceContent | null): boolean {
    const name = asString(asRecord(slice.metadata).name);
    const key = `${owner.namespace}/${owner.service}`;
    const applied = owner.applied.get(name) ?? null;
    const known = owner.pending.has(name) ? (owner.pending.get(name) ?? null) : applied;
    if (same(applied, content)) owner.pending.delete(name);
    else owner.pending.set(name, content);
    if (owner.pending.size > 0) this.#dirty.add(key);
    else this.#dirty.delete(key);
    if (owner.pending.size === 0 && owner.applied.size === 0) this.#services.delete(key);
    return !same(known, content);
  }

  #collectChanges(owner: ServiceSlices, changes: Map<string, EndpointsChange>): void {
    const merged = mergeSlices(owner, this.family);
    for (const key of new Set([...owner.servicePorts, ...merged.keys()])) {
      const change = { previous: this.endpoints(key), current: merged.get(key) ?? [] };
      if (!same(change.previous, change.current)) changes.set(key, change);
      if (change.current.length === 0) this.#endpoints.delete(key);
      else this.#endpoints.set(key, change.current);
    }
    owner.servicePorts = [...merged.keys()];
  }
}

/** Joins a Service's slices: one endpoint per address and port. */
function mergeSlices(owner: ServiceSlices, family: AddressFamily): Map<string, readonly Endpoint[]> {
  const merged = new Map<string, Map<number, Endpoint>>();
  for (const [, slice] of [...owner.applied].sort(byName)) {
    for (const { name, protocol, port } of slice.ports) {
      const key = servicePortKey(owner.namespace, owner.service, name, protocol);
      const endpoints = merged.get(key) ?? new Map<number, Endpoint>();
      for (const address of slice.addresses) {
        const id = address.ip * 65536 + port;
        if (isBetter(address, endpoints.get(id))) endpoints.set(id, endpointAt(address, port, family));
      }
      merged.set(key, endpoints);
    }
  }
  return new Map(
    [...merged].map(([key, endpoints]) => [
      key,
      [...endpoints.values()].sort((a, b) => byNodeAndAddress(a, b, family)),
    ]),
  );
}

/** Two slices may have an endpoint while it moves between them: what is known to be ready, or to be local, counts. */
function isBetter(found: Pick<Endpoint, "ready" | "isLocal">, known: Endpoint | undefined): boolean {
  return known === undefined || (found.ready && !known.ready) || (found.isLocal && !known.isLocal);
}

function byName(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1;
}

function byNodeAndAddress(a: Endpoint, b: Endpoint, family: AddressFamily): number {
  if (a.nodeName !== b.nodeName) return a.nodeName < b.nodeName ? -1 : 1;
  return family.compare(a.ip, b.ip) || a.port - b.port;
}

/** Both values are made by one function each, so the order of members is the same and JSON compares them. */
function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
