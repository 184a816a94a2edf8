import type { ConntrackCleaner } from "../datapath/index.js";
import type { EndpointsChange } from "./endpoint-slice-tracker.js";
import { type Frontend, frontendsOf, type ServiceRule } from "./rules.js";
import type { Endpoint } from "./types.js";

const UDP = 17;

/**
 * Collects what has to be forgotten after a sync (pkg/proxy/conntrack/cleanup.go `CleanStaleEntries`). UDP has no end
 * of connection: a client that keeps its source port would stay bound to an endpoint that is gone, or to having none.
 * TCP entries stay, so that open connections drain.
 */
export class StaleFlows {
  readonly #frontends: Frontend[] = [];
  readonly #endpoints: { readonly frontend: Frontend; readonly endpoint: Endpoint }[] = [];

  /** The address no longer leads where it did, or has just begun to lead anywhere. */
  addFrontend(frontend: Frontend): void {
    if (frontend.protocol === UDP) this.#frontends.push(frontend);
  }

  /** The endpoints of the rule that stopped serving. An endpoint that never served has no flows. */
  addEndpoints(rule: ServiceRule, change: EndpointsChange): void {
    if (rule.port.protocol !== UDP) return;
    for (const endpoint of change.previous) {
      if (!endpoint.serving || change.current.some((other) => other.serving && sameAddress(other, endpoint)))
        continue;
      for (const frontend of frontendsOf(rule)) this.#endpoints.push({ frontend, endpoint });
    }
  }

  /** Deletes the flows. Returns how many there were. */
  clean(conntrack: ConntrackCleaner): number {
    let deleted = 0;
    for (const { protocol, ip, port } of this.#frontends)
      deleted += conntrack.deleteByOriginalDst(protocol, ip, port);
    for (const { frontend, endpoint } of this.#endpoints) {
      const { protocol, ip, port } = frontend;
      deleted += conntrack.deleteByNat(protocol, ip, port, endpoint.ip, endpoint.port);
    }
    return deleted;
  }
}

function sameAddress(a: Endpoint, b: Endpoint): boolean {
  return a.ip === b.ip && a.port === b.port;
}
