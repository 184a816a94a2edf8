import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EndpointRing } from "../../src/proxy/endpoint-ring.js";
import type { Endpoint } from "../../src/proxy/types.js";

function endpoints(ips: readonly number[]): Endpoint[] {
  return ips.map((ip) => ({
    ip,
    port: 80,
    target: `t${ip}`,
    nodeName: "n",
    isLocal: false,
    ready: true,
    serving: true,
    terminating: false,
  }));
}

function picks(ring: EndpointRing, count: number): (number | undefined)[] {
  return Array.from({ length: count }, () => ring.pick()?.ip);
}

describe("EndpointRing", () => {
  it("gives nothing when it is empty", () => {
    expect(picks(new EndpointRing(), 2)).toEqual([undefined, undefined]);
  });

  it("goes round in order", () => {
    const ring = new EndpointRing();
    ring.replace(endpoints([1, 2, 3]));
    expect(picks(ring, 7)).toEqual([1, 2, 3, 1, 2, 3, 1]);
  });

  it("goes on where it was when the set stays the same", () => {
    const ring = new EndpointRing();
    ring.replace(endpoints([1, 2, 3]));
    picks(ring, 2);
    ring.replace(endpoints([1, 2, 3]));
    expect(picks(ring, 3)).toEqual([3, 1, 2]);
  });

  it("goes on without the endpoint that left, newcomers last", () => {
    const ring = new EndpointRing();
    ring.replace(endpoints([1, 2, 3]));
    picks(ring, 1);
    ring.replace(endpoints([1, 3, 4]));
    expect(picks(ring, 6)).toEqual([3, 1, 4, 3, 1, 4]);
  });

  it("marks who left, and makes a new object when it comes back", () => {
    const ring = new EndpointRing();
    ring.replace(endpoints([1]));
    const before = ring.pick();
    ring.replace([]);
    expect(before?.live).toBe(false);
    ring.replace(endpoints([1]));
    expect(before?.live).toBe(false);
    expect(ring.pick()).not.toBe(before);
  });

  it("takes over a new target of an endpoint that stays", () => {
    const ring = new EndpointRing();
    ring.replace(endpoints([1]));
    ring.replace(endpoints([1]).map((e) => ({ ...e, target: "default/renamed" })));
    expect(ring.pick()?.target).toBe("default/renamed");
  });

  it("between changes every n picks are a permutation, and nobody who stays waits for a newcomer", () => {
    const round = fc.record({
      set: fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 8 }),
      picks: fc.integer({ min: 0, max: 25 }),
    });
    fc.assert(
      fc.property(fc.array(round, { minLength: 1, maxLength: 40 }), (rounds) => {
        const ring = new EndpointRing();
        /** Picks that an endpoint may still have to wait for, bounded by the queue that it joined. */
        const patience = new Map<number, number>();
        for (const { set, picks: count } of rounds) {
          ring.replace(endpoints(set));
          for (const ip of patience.keys()) if (!set.includes(ip)) patience.delete(ip);
          for (const ip of set) if (!patience.has(ip)) patience.set(ip, set.length - 1);
          const picked = picks(ring, count) as number[];
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
