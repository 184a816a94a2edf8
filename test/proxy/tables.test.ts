import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AddressTable, hash } from "../../src/proxy/address-table.js";
import { AffinityTable } from "../../src/proxy/affinity-table.js";
import type { Backend } from "../../src/proxy/schedulers/index.js";

/** The slow, obvious twin of AddressTable. */
class MapTwin {
  readonly map = new Map<string, number>();
  key(protocol: number, ip: number, port: number): string {
    return `${protocol} ${ip} ${port}`;
  }
}

describe("AddressTable", () => {
  it("behaves as a Map under random changes, in a space so small that all walks collide", () => {
    const change = fc.record({
      op: fc.constantFrom("set", "set", "delete"),
      protocol: fc.constantFrom(6, 17),
      ip: fc.constantFrom(0, 1, 2, 3, 0xffffffff, 0x80000000),
      port: fc.integer({ min: 0, max: 12 }),
      value: fc.integer({ min: 1, max: 1000 }),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 300 }), (changes) => {
        const table = new AddressTable<number>();
        const twin = new MapTwin();
        for (const { op, protocol, ip, port, value } of changes) {
          if (op === "set") {
            table.set(protocol, ip, port, value);
            twin.map.set(twin.key(protocol, ip, port), value);
          } else {
            table.delete(protocol, ip, port);
            twin.map.delete(twin.key(protocol, ip, port));
          }
          expect(table.get(protocol, ip, port)).toBe(twin.map.get(twin.key(protocol, ip, port)));
        }
        expect(table.size).toBe(twin.map.size);
        for (const protocol of [6, 17]) {
          for (const ip of [0, 1, 2, 3, 0xffffffff, 0x80000000]) {
            for (let port = 0; port <= 12; port++) {
              expect(table.get(protocol, ip, port)).toBe(twin.map.get(twin.key(protocol, ip, port)));
            }
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it("its hash keeps walks short: 50,000 Services with cluster IP, external IP and node port, in every order of addresses", () => {
    const keys: [ip: number, port: number][] = [];
    for (let i = 0; i < 50_000; i++) {
      keys.push([0x0afe0001 + i, (6 << 16) | 80], [0xc6120000 + i * 256, (17 << 16) | 53]);
      keys.push([0, (6 << 16) | (i + 10_000)]);
    }
    // The table's own law: at most half full, a walk from the key's home to the first free slot.
    const slots = 2 ** Math.ceil(Math.log2(keys.length * 2));
    const taken = new Uint8Array(slots);
    const walks = keys.map(([ip, port]) => {
      let looks = 1;
      let slot = hash(ip | 0, port) & (slots - 1);
      for (; taken[slot] === 1; looks++) slot = (slot + 1) & (slots - 1);
      taken[slot] = 1;
      return looks;
    });
    // 1.5 is what linear probing takes at half full when the hash is as good as random (Knuth, TAOCP 6.4).
    expect(walks.reduce((sum, looks) => sum + looks, 0) / walks.length).toBeLessThan(1.6);
    expect(walks.every((looks) => looks < 100)).toBe(true);
  });

  it("deleting what is not there changes nothing", () => {
    const table = new AddressTable<string>();
    table.set(6, 1, 80, "a");
    table.delete(6, 1, 81);
    table.delete(17, 1, 80);
    expect([table.size, table.get(6, 1, 80)]).toEqual([1, "a"]);
  });
});

describe("AffinityTable", () => {
  const make = (ip: number): Backend => ({ ip, port: 80, target: "", weight: 1, live: true });

  it("knows nobody at first", () => {
    expect(new AffinityTable().find(0, { src: 0, nowMs: 0 }, 1000)).toBeUndefined();
  });

  it("keeps clients and pools apart", () => {
    const table = new AffinityTable();
    const [a, b, c] = [make(1), make(2), make(3)];
    table.remember(1, { src: 7, nowMs: 0 }, a);
    table.remember(1, { src: 8, nowMs: 0 }, b);
    table.remember(2, { src: 7, nowMs: 0 }, c);
    expect([
      table.find(1, { src: 7, nowMs: 1 }, 10),
      table.find(1, { src: 8, nowMs: 1 }, 10),
      table.find(2, { src: 7, nowMs: 1 }, 10),
    ]).toEqual([a, b, c]);
    expect(table.find(2, { src: 8, nowMs: 1 }, 10)).toBeUndefined();
  });

  it("forgets after the timeout, counted from the last renewal", () => {
    const table = new AffinityTable();
    const a = make(1);
    table.remember(1, { src: 7, nowMs: 0 }, a);
    table.remember(1, { src: 7, nowMs: 900 }, a);
    expect(table.find(1, { src: 7, nowMs: 1899 }, 1000)).toBe(a);
    expect(table.find(1, { src: 7, nowMs: 1900 }, 1000)).toBeUndefined();
  });

  it("forgets an endpoint that is gone", () => {
    const table = new AffinityTable();
    const a = make(1);
    table.remember(1, { src: 7, nowMs: 0 }, a);
    a.live = false;
    expect(table.find(1, { src: 7, nowMs: 1 }, 1000)).toBeUndefined();
  });

  it("when full, replaces endpoints that are gone first, then the client that was quiet longest", () => {
    const table = new AffinityTable(1);
    const all = Array.from({ length: 8 }, (_, i) => make(i));
    for (const [i, e] of all.entries()) table.remember(1, { src: i, nowMs: 100 - i }, e);
    all[2].live = false;
    table.remember(1, { src: 100, nowMs: 200 }, make(100));
    table.remember(1, { src: 101, nowMs: 200 }, make(101));
    const known = all.map((_, i) => table.find(1, { src: i, nowMs: 200 }, 1000) !== undefined);
    expect(known).toEqual([true, true, false, true, true, true, true, false]);
    expect([
      table.find(1, { src: 100, nowMs: 200 }, 1000)?.ip,
      table.find(1, { src: 101, nowMs: 200 }, 1000)?.ip,
    ]).toEqual([100, 101]);
  });
});
