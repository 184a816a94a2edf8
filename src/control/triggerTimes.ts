/** When the changes began that slices show, for kube-proxy's measure of how long it takes (endpointslice/util/trigger_time_tracker.go). */
import type { Pod, Service } from "../kube/index.js";
import { keyOf } from "./cache.js";

interface Seen {
  /** Unix time in milliseconds. */
  readonly service: number;
  readonly pods: ReadonlyMap<string, number>;
}

export class TriggerTimes {
  readonly #seen = new Map<string, Seen>();

  /**
   * The earliest of what is new since the last call: the Service itself, and pods that became ready or ceased to be. ISO 8601;
   * empty when nothing is, as when a pod has left.
   */
  of(service: Service, pods: readonly Pod[]): string {
    const key = keyOf(service);
    const before = this.#seen.get(key);
    const made = timeOf(service.metadata?.creationTimestamp);
    const times = new Map(pods.map((pod) => [pod.metadata?.uid ?? "", readySince(pod)]));
    this.#seen.set(key, { service: made, pods: times });
    const fresh = [...times].filter(([uid, ms]) => ms > (before?.pods.get(uid) ?? 0)).map(([, ms]) => ms);
    if (made > (before?.service ?? 0)) fresh.push(made);
    return fresh.length === 0 ? "" : new Date(Math.min(...fresh)).toISOString();
  }

  forget(key: string): void {
    this.#seen.delete(key);
  }
}

function readySince({ status }: Pod): number {
  return timeOf(status?.conditions?.find(({ type }) => type === "Ready")?.lastTransitionTime);
}

/** 0 for no time. */
function timeOf(text: string | undefined): number {
  return Date.parse(text ?? "") || 0;
}
