import type { EndpointsChange } from "./endpoint-slice-tracker.js";
import {
  frontendsOf,
  hasEndpoints,
  type RuleSet,
  type ServiceRule,
  sameFrontend,
  setEndpoints,
} from "./rules.js";
import type { ServiceChange } from "./service-tracker.js";
import { StaleFlows } from "./stale-flows.js";
import type { Endpoint, Place, ServicePort } from "./types.js";

/** What one sync has to apply. */
export interface Changes {
  readonly services: ReadonlyMap<string, ServiceChange>;
  readonly endpoints: ReadonlyMap<string, EndpointsChange>;
  /** Whether the node has moved to another zone, which touches every rule. */
  readonly placeChanged: boolean;
}

/** Applies one sync's changes to the rules: only service ports that changed, or whose endpoints did, are rebuilt. */
export class Updater {
  /** What conntrack has to forget afterwards. */
  readonly stale = new StaleFlows();
  readonly #changed = new Set<ServiceRule>();

  constructor(
    private readonly rules: RuleSet,
    private readonly endpointsOf: (servicePortKey: string) => readonly Endpoint[],
    private readonly place: Place,
  ) {}

  apply({ services, endpoints, placeChanged }: Changes): void {
    if (placeChanged) for (const rule of this.rules.rules.values()) this.#changed.add(rule);
    this.#applyEndpoints(endpoints);
    this.#applyServices(services);
    for (const rule of this.#changed) this.#refresh(rule);
  }

  #applyEndpoints(changes: Changes["endpoints"]): void {
    for (const [key, change] of changes) {
      const rule = this.rules.rules.get(key);
      if (rule === undefined) continue;
      this.stale.addEndpoints(rule, change);
      this.#changed.add(rule);
    }
  }

  /** Removes first, so that a port may move from one Service to another within a sync. */
  #applyServices(changes: Changes["services"]): void {
    for (const change of changes.values()) {
      const current = new Map(change.current.map((port) => [port.key, port]));
      for (const port of change.previous) this.#retire(port, current.get(port.key));
    }
    for (const change of changes.values()) {
      for (const port of change.current) this.#install(port);
    }
  }

  #retire(port: ServicePort, successor: ServicePort | undefined): void {
    const rule = this.rules.rules.get(port.key);
    if (rule === undefined) return;
    const staying = successor === undefined ? [] : frontendsOf(rule, successor);
    for (const frontend of frontendsOf(rule)) {
      if (staying.some((other) => sameFrontend(other, frontend))) continue;
      this.rules.removeFrontend(frontend);
      this.stale.addFrontend(frontend);
    }
    if (successor !== undefined) return;
    this.rules.remove(port.key);
    setEndpoints(rule, [], this.place, this.rules.family);
    this.#changed.delete(rule);
  }

  #install(port: ServicePort): void {
    const rule = this.rules.put(port);
    for (const frontend of frontendsOf(rule)) this.rules.addFrontend(frontend);
    this.#changed.add(rule);
  }

  #refresh(rule: ServiceRule): void {
    const wasUsable = hasEndpoints(rule);
    setEndpoints(rule, this.endpointsOf(rule.port.key), this.place, this.rules.family);
    // Packets that found no endpoint may have left entries that lead nowhere.
    if (wasUsable || !hasEndpoints(rule)) return;
    for (const frontend of frontendsOf(rule)) this.stale.addFrontend(frontend);
  }
}
