/** What happens in a random cluster, as data: a run can be played again, and parts of it left out. */
import { seededRandom } from "../clock.js";

/** How often each kind comes, relative to the others. */
const WEIGHTS = {
  connect: 6,
  write: 8,
  writeMuch: 2,
  finish: 4,
  datagram: 6,
  ping: 2,
  spray: 0.5,
  changeEndpoints: 1,
  deleteService: 0.2,
  changePolicy: 0.3,
  labelPod: 0.3,
  changeLink: 1,
  cutLink: 0.2,
  addPod: 0.7,
  removePod: 0.7,
  killNode: 0.15,
  loseLease: 0.15,
} as const;
export type Kind = keyof typeof WEIGHTS;

/** One step. `dice` decide all that it leaves open; what they choose from depends on what there is by then. */
export interface Action {
  readonly kind: Kind;
  readonly dice: readonly number[];
}

const DICE = 16;

export function randomActions(seed: number, count: number): Action[] {
  const random = seededRandom(seed);
  const kinds = Object.entries(WEIGHTS) as [Kind, number][];
  const total = kinds.reduce((sum, [, weight]) => sum + weight, 0);
  const kind = (at: number): Kind => {
    let left = at;
    for (const [name, weight] of kinds) {
      left -= weight;
      if (left < 0) return name;
    }
    return "write";
  };
  return Array.from({ length: count }, () => ({
    kind: kind(random() * total),
    dice: Array.from({ length: DICE }, random),
  }));
}

/** Deals the dice of one action. */
export class Hand {
  #at = 0;

  constructor(private readonly dice: readonly number[]) {}

  number(): number {
    return this.dice[this.#at++ % this.dice.length];
  }

  pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.number() * values.length)];
  }

  chance(probability: number): boolean {
    return this.number() < probability;
  }
}
