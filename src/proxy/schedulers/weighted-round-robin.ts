import type { Backend, Scheduler } from "./scheduler.js";

interface Turn {
  readonly backend: Backend;
  /** What the backend is owed: grows by its weight with each pick, shrinks by all weights when it is picked itself. */
  owed: number;
}

/**
 * Round-robin by weight, interleaved: of the weights 3 and 1 the order is a a b a, not a a a b. In as many picks as the
 * weights add up to, each backend gets exactly its weight, unless the set changes meanwhile.
 */
export class WeightedRoundRobin implements Scheduler {
  #turns: readonly Turn[] = [];

  update(backends: readonly Backend[]): void {
    const known = new Map(this.#turns.map((turn) => [turn.backend, turn]));
    this.#turns = backends.map((backend) => known.get(backend) ?? { backend, owed: 0 });
  }

  pick(): Backend | undefined {
    let total = 0;
    let first: Turn | undefined;
    for (const turn of this.#turns) {
      total += turn.backend.weight;
      turn.owed += turn.backend.weight;
      if (first === undefined || turn.owed > first.owed) first = turn;
    }
    if (first === undefined) return undefined;
    first.owed -= total;
    return first.backend;
  }
}
