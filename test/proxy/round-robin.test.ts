import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { endpoints, picks, pool, query, replace } from "./pools.js";

describe("round-robin", () => {
  it("gives nothing when it is empty", () => {
    expect(picks(pool("rr"), 2)).toEqual([undefined, undefined]);
  });

  it("goes round in order", () => {
    const rr = pool("rr");
    replace(rr, endpoints([1, 2, 3]));
    expect(picks(rr, 7)).toEqual([1, 2, 3, 1, 2, 3, 1]);
  });

  it("goes on where it was when the set stays the same", () => {
    const rr = pool("rr");
    replace(rr, endpoints([1, 2, 3]));
    picks(rr, 2);
    replace(rr, endpoints([1, 2, 3]));
    expect(picks(rr, 3)).toEqual([3, 1, 2]);
  });

  it("goes on without the endpoint that left, newcomers last", () => {
    const rr = pool("rr");
    replace(rr, endpoints([1, 2, 3]));
    picks(rr, 1);
    replace(rr, endpoints([1, 3, 4]));
    expect(picks(rr, 6)).toEqual([3, 1, 4, 3, 1, 4]);
  });

  it("marks who left, and makes a new object when it comes back", () => {
    const rr = pool("rr");
    replace(rr, endpoints([1]));
    const before = rr.pick(query());
    replace(rr, []);
    expect(before?.live).toBe(false);
    replace(rr, endpoints([1]));
    expect(before?.live).toBe(false);
    expect(rr.pick(query())).not.toBe(before);
  });

  it("takes over a new target of an endpoint that stays", () => {
    const rr = pool("rr");
    replace(rr, endpoints([1]));
    replace(
      rr,
      endpoints([1]).map((e) => ({ ...e, target: "default/renamed" })),
    );
    expect(rr.pick(query())?.target).toBe("default/renamed");
  });

  it("between changes every n picks are a permutation, and nobody who stays waits for a newcomer", () => {
    const round = fc.record({
      set: fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 8 }),
      picks: fc.integer({ min: 0, max: 25 }),
    });
    fc.assert(
      fc.property(fc.array(round, { minLength: 1, maxLength: 40 }), (rounds) => {
        const rr = pool("rr");
        /** Picks that an endpoint may still have to wait for, bounded by the queue that it joined. */
        const patience = new Map<number, number>();
        for (const { set, picks: count } of rounds) {
          replace(rr, endpoints(set));
          for (const ip of patience.keys()) if (!set.includes(ip)) patience.delete(ip);
          for (const ip of set) if (!patience.has(ip)) patience.set(ip, set.length - 1);
          const picked = picks(rr, count) as number[];
          for (let i = 0; set.length > 0 && i + set.length <= count; i++) {
            expect(new Set(picked.slice(i, i + set.length))).toEqual(new Set(set));
          }
          if (set.length > 0)
            for (const ip of picked) {
              for (const [other, left] of patience)
                patience.set(other, other === ip ? set.length - 1 : left - 1);
              expect(Math.min(...patience.values())).toBeGreaterThanOrEqual(0);
            }
        }
      }),
      { numRuns: 200 },
    );
  });
});
