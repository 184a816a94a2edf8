/**
 * What a controller has asked for and its cache does not show yet. Until it does, counting pods would count wrong and
 * create or delete too many (kubernetes pkg/controller/controller_utils.go, ControllerExpectations).
 */

/** A lost event must not block an owner for ever. */
export const EXPECTATION_TIMEOUT_MS = 30_000;

interface Expected {
  creations: number;
  /** Uids of pods that are to go. */
  readonly deletions: Set<string>;
  readonly sinceMs: number;
}

export class Expectations {
  readonly #owners = new Map<string, Expected>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether everything asked for by this owner (by uid) has been seen, or has been waited for long enough. */
  satisfied(owner: string): boolean {
    const expected = this.#owners.get(owner);
    if (!expected) return true;
    const seen = expected.creations <= 0 && expected.deletions.size === 0;
    return seen || this.#now() - expected.sinceMs >= EXPECTATION_TIMEOUT_MS;
  }

  /** Replaces what was expected before. */
  expect(owner: string, creations: number, deletions: Iterable<string>): void {
    this.#owners.set(owner, { creations, deletions: new Set(deletions), sinceMs: this.#now() });
  }

  /** A pod was created, or will not be. */
  created(owner: string): void {
    const expected = this.#owners.get(owner);
    if (expected) expected.creations--;
  }

  /** A pod is going, or will not. */
  deleted(owner: string, pod: string): void {
    this.#owners.get(owner)?.deletions.delete(pod);
  }

  forget(owner: string): void {
    this.#owners.delete(owner);
  }
}
