/** How long a change may wait for its sync (kube-proxy: twice the sync period of 30 s). */
const OVERDUE_MS = 60_000;

/**
 * Whether a proxy keeps up (pkg/proxy/healthcheck/proxy_health.go): it is healthy while it starts, and unless a change
 * has waited too long for its sync. Load balancers ask besides whether the node stays in the cluster.
 */
export class SyncHealth {
  #oldestPendingMs: number | undefined;
  #lastUpdatedMs = 0;
  /** False while the node is being deleted. */
  nodeEligible = true;

  /** A change waits to be applied. */
  queued(nowMs: number): void {
    this.#oldestPendingMs ??= nowMs;
  }

  /** All changes are applied. */
  updated(nowMs: number): void {
    this.#oldestPendingMs = undefined;
    this.#lastUpdatedMs = nowMs;
  }

  isHealthy(nowMs: number): boolean {
    return this.#oldestPendingMs === undefined || nowMs - this.#oldestPendingMs < OVERDUE_MS;
  }

  /** When all changes were applied last: now, as long as the proxy is healthy. */
  lastUpdatedMs(nowMs: number): number {
    return this.isHealthy(nowMs) ? nowMs : this.#lastUpdatedMs;
  }
}
