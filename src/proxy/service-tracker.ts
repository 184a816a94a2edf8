import type { Service } from "kubernetes-types/core/v1.d.ts";
import { type AddressFamily, IPV4_FAMILY } from "./family.js";
import { asRecord, asString } from "./read.js";
import { readServicePorts } from "./service-port.js";
import type { InvalidHandler, ServicePort } from "./types.js";

/** The ports of one Service before and after all that happened to it since the last checkout. */
export interface ServiceChange {
  readonly previous: readonly ServicePort[];
  readonly current: readonly ServicePort[];
}

/**
 * Collects changes of Services until the proxy is ready to apply them (kube-proxy's ServiceChangeTracker,
 * pkg/proxy/servicechangetracker.go). A Service that is ignored has no ports, like one that was deleted.
 */
export class ServiceTracker {
  readonly #applied = new Map<string, readonly ServicePort[]>();
  readonly #pending = new Map<string, readonly ServicePort[]>();

  constructor(
    private readonly onInvalid: InvalidHandler,
    private readonly family: AddressFamily = IPV4_FAMILY,
  ) {}

  /** Number of Services with changes that are not applied yet. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /** Notes a new or changed Service. Returns whether anything that the proxy looks at has changed. */
  upsert(service: Service): boolean {
    const ports = readServicePorts(service, this.onInvalid, this.family);
    return ports === undefined ? false : this.#note(ports.service, ports.ports);
  }

  /** Notes that the Service is gone. */
  delete(service: Service): boolean {
    const metadata = asRecord(service.metadata);
    return this.#note(`${asString(metadata.namespace)}/${asString(metadata.name)}`, []);
  }

  /** The changes since the last call, by `namespace/name`, marking them as applied. */
  checkout(): Map<string, ServiceChange> {
    const changes = new Map<string, ServiceChange>();
    for (const [service, current] of this.#pending) {
      changes.set(service, { previous: this.#applied.get(service) ?? [], current });
      if (current.length === 0) this.#applied.delete(service);
      else this.#applied.set(service, current);
    }
    this.#pending.clear();
    return changes;
  }

  #note(service: string, ports: readonly ServicePort[]): boolean {
    const applied = this.#applied.get(service) ?? [];
    const known = this.#pending.get(service) ?? applied;
    // Back to what is applied: nothing is left to do.
    if (samePorts(applied, ports)) this.#pending.delete(service);
    else this.#pending.set(service, ports);
    return !samePorts(known, ports);
  }
}

/** Both lists are made by one function, so the order of members is the same and JSON compares them. */
function samePorts(a: readonly ServicePort[], b: readonly ServicePort[]): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
