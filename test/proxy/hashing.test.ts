import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EndpointPool } from "../../src/proxy/endpoint-pool.js";
import type { SchedulerName } from "../../src/proxy/schedulers/index.js";
import { TABLE_SLOTS } from "../../src/proxy/schedulers/maglev.js";
import { endpoints, pool, query, replace } from "./pools.js";

const CLIENTS = 900;
const POD_BASE = 0xac100100;

/** Where connections of many clients go, some of them from one address. */
function placement(of: EndpointPool): (number | undefined)[] {
  return Array.from(
    { length: CLIENTS },
    (_, i) => of.pick(query((0xc0000200 + (i >>> 2) * 977) >>> 0, 1024 + i * 31))?.ip,
  );
}

function filled(name: SchedulerName, ips: readonly number[]): EndpointPool {
  const made = pool(name);
  replace(made, endpoints(ips));
  return made;
}

const podIps = fc.uniqueArray(
  fc.integer({ min: 0, max: 5000 }).map((n) => POD_BASE + n),
  { minLength: 2, maxLength: 12 },
);

describe.each(["sh", "maglev"] as const)("%s", (name) => {
  it("removing an endpoint moves no other connection, as often as that happens", () => {
    fc.assert(
      fc.property(podIps, fc.array(fc.nat(), { minLength: 1, maxLength: 6 }), (ips, removals) => {
        const made = filled(name, ips);
        let left = ips;
        let before = placement(made);
        for (const which of removals) {
          const gone = left[which % left.length];
          left = left.filter((ip) => ip !== gone);
          replace(made, endpoints(left));
          const after = placement(made);
          const stayed = before.map((was, i) => (was === gone ? "free" : after[i]));
          expect(stayed).toEqual(before.map((was) => (was === gone ? "free" : was)));
          const allowed: (number | undefined)[] = left.length === 0 ? [undefined] : left;
          expect(after.every((ip) => allowed.includes(ip))).toBe(true);
          if (left.length === 0) return;
          before = after;
        }
      }),
      { numRuns: 12 },
    );
  });

  it("the connections of an endpoint that left are spread over all others", () => {
    const ips = Array.from({ length: 6 }, (_, i) => POD_BASE + i);
    const made = filled(name, ips);
    const before = placement(made);
    replace(made, endpoints(ips.slice(1)));
    const heirs = placement(made).filter((_, i) => before[i] === ips[0]);
    expect(new Set(heirs)).toEqual(new Set(ips.slice(1)));
  });

  it("all nodes choose alike, whatever they saw before", () => {
    fc.assert(
      fc.property(podIps, podIps, (first, second) => {
        const newcomer = POD_BASE + 9999;
        const set = [...second, newcomer].sort((a, b) => a - b);
        const made = filled(name, first);
        replace(made, endpoints(set));
        expect(placement(made)).toEqual(placement(filled(name, set)));
      }),
      { numRuns: 12 },
    );
  });

  it("the same question gives the same answer, also after a sync that changed nothing", () => {
    const made = filled(name, [POD_BASE, POD_BASE + 1, POD_BASE + 2]);
    const before = placement(made);
    replace(made, endpoints([POD_BASE, POD_BASE + 1, POD_BASE + 2]));
    expect(placement(made)).toEqual(before);
  });

  it("a newcomer takes its share, and little more moves than that", () => {
    const ips = Array.from({ length: 9 }, (_, i) => POD_BASE + i * 3);
    const made = filled(name, ips.slice(0, 8));
    const before = placement(made);
    replace(made, endpoints(ips));
    const after = placement(made);
    const moved = after.filter((ip, i) => ip !== before[i]);
    const toNewcomer = moved.filter((ip) => ip === ips[8]).length;
    expect(toNewcomer).toBeGreaterThan(CLIENTS / 9 / 2);
    expect(moved.length - toNewcomer).toBeLessThan(CLIENTS / 10);
  });

  it("spreads clients over endpoints", () => {
    const ips = Array.from({ length: 5 }, (_, i) => POD_BASE + i);
    const made = filled(name, ips);
    const seen = Array.from(
      { length: 20_000 },
      (_, i) => made.pick(query((0x0a000001 + i) >>> 0, 40_000))?.ip,
    );
    for (const ip of ips) {
      const share = seen.filter((picked) => picked === ip).length / seen.length;
      expect(share).toBeGreaterThan(0.17);
      expect(share).toBeLessThan(0.23);
    }
  });
});

describe("sh", () => {
  it("looks at the client's address only", () => {
    const made = filled("sh", [POD_BASE, POD_BASE + 1, POD_BASE + 2]);
    const seen = Array.from({ length: 100 }, (_, sport) => made.pick(query(0x0a000009, sport))?.ip);
    expect(new Set(seen).size).toBe(1);
  });
});

describe("maglev", () => {
  it("spreads the connections of one client", () => {
    const made = filled("maglev", [POD_BASE, POD_BASE + 1, POD_BASE + 2]);
    const seen = Array.from({ length: 100 }, (_, sport) => made.pick(query(0x0a000009, sport))?.ip);
    expect(new Set(seen).size).toBe(3);
  });

  it("gives endpoints slots that differ by few (the paper's point): measured over many connections", () => {
    const count = 10;
    const ips = Array.from({ length: count }, (_, i) => POD_BASE + i);
    const made = filled("maglev", ips);
    const seen = new Map<number | undefined, number>();
    const tries = TABLE_SLOTS * 40;
    for (let i = 0; i < tries; i++) {
      const ip = made.pick(query((0x0a000000 + i * 2_654_435) >>> 0, i & 0xffff))?.ip;
      seen.set(ip, (seen.get(ip) ?? 0) + 1);
    }
    for (const ip of ips) expect(Math.abs((seen.get(ip) ?? 0) / (tries / count) - 1)).toBeLessThan(0.05);
  });
});
