/** Hands each observation to whoever follows the trace; off, and nearly free, while nobody does. */
import type { Observation, TraceSink } from "../datapath/index.js";

export class TraceHub implements TraceSink {
  enabled = false;
  readonly #followers = new Set<(observation: Observation) => void>();

  /** Follows from now on; call the result to stop. */
  follow(follower: (observation: Observation) => void): () => void {
    this.#followers.add(follower);
    this.enabled = true;
    return () => {
      this.#followers.delete(follower);
      this.enabled = this.#followers.size > 0;
    };
  }

  record(observation: Observation): void {
    for (const follower of this.#followers) follower(observation);
  }
}
