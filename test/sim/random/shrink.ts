/** Finds a short run that breaks, by leaving out parts of a long one. */
import type { Action } from "./actions.js";

/** Steps that may be played in the search; it takes about as long as half a minute of test. */
const BUDGET_STEPS = 60_000;

/** Why a run breaks, and after how many of its actions; undefined when it does not. */
export type Play = (
  actions: readonly Action[],
) => { readonly error: Error; readonly steps: number } | undefined;

/** Delta debugging: leaves out ever smaller parts as long as it still breaks, in whatever way. */
export function shrink(actions: readonly Action[], play: Play): readonly Action[] {
  let shortest = actions;
  let left = BUDGET_STEPS;
  for (let size = Math.ceil(shortest.length / 2); size >= 1 && left > 0; size = Math.floor(size / 2)) {
    for (let at = 0; at < shortest.length && left > 0; ) {
      const candidate = [...shortest.slice(0, at), ...shortest.slice(at + size)];
      left -= candidate.length;
      const broken = play(candidate);
      if (broken === undefined) at += size;
      else shortest = candidate.slice(0, broken.steps);
    }
  }
  return shortest;
}
