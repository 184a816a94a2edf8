/** The kubelet's pause before a container is started again (kuberuntime_manager.go, MaxContainerBackOff). */

const START_MS = 10_000;
const MAX_MS = 300_000;
/** A container that ran this long had a good start: its next end is the first again. */
const RESET_MS = 600_000;

export class Backoff {
  #nextMs = 0;

  /** Pause after a run of `ranMs`: none the first time, then 10 s, and twice as long each time up to 5 min. */
  afterRun(ranMs: number): number {
    return this.#step(ranMs > RESET_MS ? 0 : this.#nextMs);
  }

  /** Pause after a start that failed, which is never at once. */
  afterFailure(): number {
    return this.#step(Math.max(this.#nextMs, START_MS));
  }

  #step(waitMs: number): number {
    this.#nextMs = Math.min(Math.max(waitMs * 2, START_MS), MAX_MS);
    return waitMs;
  }
}
