import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SCHEDULER_NAMES } from "../../src/proxy/schedulers/index.js";
import { endpoints, picks, pool, query, replace } from "./pools.js";

/** How often each value occurs. */
function tally<T>(values: readonly T[]): Map<T, number> {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

describe.each(SCHEDULER_NAMES)("scheduler %s", (name) => {
  it("gives nothing without endpoints, also after there were some", () => {
    const made = pool(name);
    expect(picks(made, 2)).toEqual([undefined, undefined]);
    replace(made, endpoints([1]));
    replace(made, []);
    expect(picks(made, 2)).toEqual([undefined, undefined]);
  });

  it("gives the only endpoint, always", () => {
    const made = pool(name);
    replace(made, endpoints([7]));
    expect(picks(made, 3)).toEqual([7, 7, 7]);
  });

  it("chooses only among the endpoints there are, however they change", () => {
    const sets = fc.array(fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }), { maxLength: 6 });
    fc.assert(
      fc.property(sets, fc.integer({ min: 1, max: 0x7fffffff }), (rounds, seed) => {
        const made = pool(name, { random: () => seed / 2 ** 31 });
        for (const set of rounds) {
          replace(made, endpoints(set));
          for (let i = 0; i < 8; i++) {
            const picked = made.pick(query(seed + i, i));
            expect(picked === undefined ? 0 : picked.ip).toSatisfy((ip: number) =>
              set.length === 0 ? ip === 0 : set.includes(ip),
            );
          }
        }
      }),
      { numRuns: 40 },
    );
  });

  it("reaches every endpoint", () => {
    const made = pool(name);
    replace(made, endpoints([1, 2, 3, 4, 5]));
    const seen = Array.from({ length: 500 }, (_, i) => made.pick(query(0xac100000 + i * 7, 1024 + i))?.ip);
    expect(new Set(seen).size).toBe(5);
  });

  it("sends nothing to an endpoint of weight 0", () => {
    const made = pool(name);
    replace(made, endpoints([1, 2, 3]), { 2: 0 });
    const seen = Array.from({ length: 300 }, (_, i) => made.pick(query(0xac100000 + i, i))?.ip);
    expect([...new Set(seen)].sort()).toEqual([1, 3]);
    replace(made, endpoints([2]), { 2: 0 });
    expect([made.size, made.pick(query())]).toEqual([0, undefined]);
  });

  it("may be changed for another while there are endpoints", () => {
    for (const next of SCHEDULER_NAMES) {
      const made = pool(name);
      replace(made, endpoints([1, 2]));
      const one = made.pick(query());
      made.schedule(next);
      const seen = Array.from({ length: 200 }, (_, i) => made.pick(query(0xac100000 + i * 7, i)));
      expect([...new Set(seen.map((picked) => picked?.ip))].sort()).toEqual([1, 2]);
      expect([one?.live, seen.includes(one)]).toEqual([true, true]);
    }
  });
});

describe("weighted round-robin", () => {
  it("interleaves", () => {
    const wrr = pool("wrr");
    replace(wrr, endpoints([1, 2, 3]), { 1: 3, 2: 1, 3: 2 });
    expect(picks(wrr, 6).join(" ")).toBe("1 3 1 2 3 1");
  });

  it("is round-robin when all weights are the same", () => {
    const wrr = pool("wrr");
    replace(wrr, endpoints([1, 2, 3]), { 1: 5, 2: 5, 3: 5 });
    expect(picks(wrr, 7)).toEqual([1, 2, 3, 1, 2, 3, 1]);
  });

  it("gives each endpoint exactly its weight in as many picks as the weights add up to", () => {
    const weights = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(weights, (given) => {
        const wrr = pool("wrr");
        const set = given.map((_, i) => i + 1);
        replace(wrr, endpoints(set), Object.fromEntries(given.map((weight, i) => [i + 1, weight])));
        const total = given.reduce((sum, weight) => sum + weight, 0);
        for (let round = 0; round < 2; round++) {
          const counts = tally(picks(wrr, total));
          expect(set.map((ip) => counts.get(ip))).toEqual(given);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("takes new weights at once", () => {
    const wrr = pool("wrr");
    replace(wrr, endpoints([1, 2]), { 1: 1, 2: 1 });
    picks(wrr, 2);
    replace(wrr, endpoints([1, 2]), { 1: 9, 2: 1 });
    expect(tally(picks(wrr, 10)).get(1)).toBe(9);
  });
});

describe("random", () => {
  it("the same seed gives the same choices, another seed others", () => {
    const run = (seed: number) => {
      const made = pool("random", { random: () => seed });
      replace(made, endpoints([1, 2, 3, 4]));
      return picks(made, 40).join("");
    };
    expect(run(0.25)).toBe(run(0.25));
    expect(run(0.25)).not.toBe(run(0.75));
    expect(run(0)).toMatch(/^[1234]{40}$/);
  });

  it("gives each of five about a fifth", () => {
    const made = pool("random", { random: () => 0.123 });
    replace(made, endpoints([1, 2, 3, 4, 5]));
    for (const count of tally(picks(made, 10_000)).values()) {
      expect(count).toBeGreaterThan(1800);
      expect(count).toBeLessThan(2200);
    }
  });
});

describe("least-connection", () => {
  /** A counter that the test opens and closes connections on. */
  const setUp = (set: readonly number[]) => {
    const open = new Map<number, number>();
    const lc = pool("lc", { connections: { openConnections: (_protocol, ip) => open.get(ip) ?? 0 } });
    replace(lc, endpoints(set));
    const connect = () => {
      const ip = lc.pick(query())?.ip ?? 0;
      open.set(ip, (open.get(ip) ?? 0) + 1);
      return ip;
    };
    return { open, connect, lc };
  };

  it("fills up the one with fewest", () => {
    const { open, connect } = setUp([1, 2, 3]);
    open.set(1, 5).set(2, 3).set(3, 4);
    expect(Array.from({ length: 6 }, connect).sort()).toEqual([1, 2, 2, 2, 3, 3]);
    expect([...open.values()]).toEqual([6, 6, 6]);
  });

  it("goes round among equals, and without a counter", () => {
    expect(Array.from({ length: 6 }, setUp([1, 2, 3]).connect)).toEqual([1, 2, 3, 1, 2, 3]);
    const uncounted = pool("lc");
    replace(uncounted, endpoints([1, 2, 3]));
    expect(picks(uncounted, 4)).toEqual([1, 2, 3, 1]);
  });

  it("while connections only open, no two endpoints differ by more than one", () => {
    const { open, connect } = setUp([1, 2, 3, 4, 5]);
    for (let i = 0; i < 33; i++) {
      connect();
      const counts = [1, 2, 3, 4, 5].map((ip) => open.get(ip) ?? 0);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThan(2);
    }
  });

  it("asks about the protocol, address and port of the endpoint", () => {
    const asked: unknown[] = [];
    const lc = pool("lc", { connections: { openConnections: (...about) => asked.push(about) } });
    replace(lc, endpoints([1, 2]));
    lc.pick(query());
    expect(asked).toEqual([
      [6, 1, 80],
      [6, 2, 80],
    ]);
  });
});
