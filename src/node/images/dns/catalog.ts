/** What the server knows of the cluster: Services and their slices by name and by address, kept by informers. */
import type { EndpointSlice, InformerHandlers, KubeObject, Namespace, Service } from "../../../kube/index.js";
import { canonical, isLabel } from "./names.js";

const SERVICE_NAME_LABEL = "kubernetes.io/service-name";

/** What records are made from. Names are in lower case, as Kubernetes has them. */
export interface ClusterView {
  /** Unix time of the last change, in seconds: the serial number of the zone. */
  readonly serialSeconds: number;
  hasNamespace(name: string): boolean;
  service(namespace: string, name: string): Service | undefined;
  /** Slices of a Service, with addresses of any type. */
  slices(namespace: string, service: string): readonly EndpointSlice[];
  /** Services that have the address, in canonical form, as a ClusterIP. */
  servicesAt(address: string): readonly Service[];
  /** Slices that have an endpoint with the address. */
  slicesAt(address: string): readonly EndpointSlice[];
}

/** Namespace and name of the Service that a slice belongs to; undefined for a slice of no Service. */
export function ownerOf({ metadata }: EndpointSlice): { namespace: string; name: string } | undefined {
  const name = metadata?.labels?.[SERVICE_NAME_LABEL];
  return name === undefined ? undefined : { namespace: metadata?.namespace ?? "", name };
}

/** The Service's own addresses in canonical form; none for a headless one. */
export function clusterIps({ spec }: Service): readonly string[] {
  const { clusterIP } = spec ?? {};
  return (spec?.clusterIPs ?? (clusterIP ? [clusterIP] : []))
    .filter((ip) => ip !== "" && ip !== "None")
    .map(canonical);
}

export class Catalog implements ClusterView {
  readonly namespaces: InformerHandlers<Namespace>;
  readonly services: InformerHandlers<Service>;
  readonly endpointSlices: InformerHandlers<EndpointSlice>;
  readonly #now: () => number;
  readonly #namespaces = new Set<string>();
  readonly #services = new Map<string, Service>();
  readonly #slices = new Index<EndpointSlice>();
  readonly #serviceAddresses = new Index<Service>();
  readonly #sliceAddresses = new Index<EndpointSlice>();
  #serialSeconds: number;

  /** `now` is Unix time in milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
    this.#serialSeconds = Math.floor(now() / 1000);
    this.namespaces = this.#handlers(
      ({ metadata }) => this.#namespaces.add(metadata?.name ?? ""),
      ({ metadata }) => this.#namespaces.delete(metadata?.name ?? ""),
    );
    this.services = this.#handlers(
      (service) => this.#putService(service),
      (service) => this.#removeService(service),
    );
    this.endpointSlices = this.#handlers(
      (slice) => this.#slicePlaces(slice, (index, at, id) => index.put(at, id, slice)),
      (slice) => this.#slicePlaces(slice, (index, at, id) => index.remove(at, id)),
    );
  }

  get serialSeconds(): number {
    return this.#serialSeconds;
  }

  hasNamespace(name: string): boolean {
    return this.#namespaces.has(name);
  }

  service(namespace: string, name: string): Service | undefined {
    return this.#services.get(`${namespace}/${name}`);
  }

  slices(namespace: string, service: string): EndpointSlice[] {
    return this.#slices.at(`${namespace}/${service}`);
  }

  servicesAt(address: string): Service[] {
    return this.#serviceAddresses.at(address);
  }

  slicesAt(address: string): EndpointSlice[] {
    return this.#sliceAddresses.at(address);
  }

  #putService(service: Service): void {
    const { namespace = "", name = "" } = service.metadata ?? {};
    // What cannot be a label has no record.
    if (!isLabel(namespace) || !isLabel(name)) return;
    this.#services.set(keyOf(service), service);
    for (const ip of clusterIps(service)) this.#serviceAddresses.put(ip, keyOf(service), service);
  }

  #removeService(service: Service): void {
    this.#services.delete(keyOf(service));
    for (const ip of clusterIps(service)) this.#serviceAddresses.remove(ip, keyOf(service));
  }

  #slicePlaces(
    slice: EndpointSlice,
    visit: (index: Index<EndpointSlice>, at: string, id: string) => void,
  ): void {
    const owner = ownerOf(slice);
    if (!owner) return;
    visit(this.#slices, `${owner.namespace}/${owner.name}`, keyOf(slice));
    for (const { addresses } of slice.endpoints ?? []) {
      for (const address of addresses) visit(this.#sliceAddresses, canonical(address), keyOf(slice));
    }
  }

  #handlers<T>(put: (object: T) => void, remove: (object: T) => void): InformerHandlers<T> {
    const changed = () => {
      this.#serialSeconds = Math.floor(this.#now() / 1000);
    };
    return {
      onAdd: (object) => {
        put(object);
        changed();
      },
      onUpdate: (object, before) => {
        remove(before);
        put(object);
        changed();
      },
      onDelete: (object) => {
        remove(object);
        changed();
      },
    };
  }
}

/** Several objects under one key, each once. */
class Index<T> {
  readonly #entries = new Map<string, Map<string, T>>();

  at(key: string): T[] {
    return [...(this.#entries.get(key)?.values() ?? [])];
  }

  put(key: string, id: string, object: T): void {
    let entry = this.#entries.get(key);
    if (!entry) {
      entry = new Map();
      this.#entries.set(key, entry);
    }
    entry.set(id, object);
  }

  remove(key: string, id: string): void {
    const entry = this.#entries.get(key);
    entry?.delete(id);
    if (entry?.size === 0) this.#entries.delete(key);
  }
}

function keyOf({ metadata }: KubeObject): string {
  return `${metadata?.namespace ?? ""}/${metadata?.name ?? ""}`;
}
