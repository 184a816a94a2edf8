import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  FlowTable,
  Meta,
  REPLY_TUPLE,
  WORDS_PER_ENTRY,
  Word,
} from "../../src/datapath/conntrack/flow-table.js";
import { Labels } from "../../src/datapath/conntrack/labels.js";
import { FragmentCache } from "../../src/datapath/fragments.js";
import { PortKind } from "../../src/datapath/index.js";
import { MacTable } from "../../src/datapath/mac-table.js";
import { Packet } from "../../src/datapath/packet.js";
import { Port } from "../../src/datapath/ports.js";
import { TokenBucket } from "../../src/datapath/rate-limit.js";
import { type Route, RouteTable } from "../../src/datapath/routes.js";
import { NO_ROOM, Scratch } from "../../src/datapath/scratch.js";
import * as h from "./harness.js";

type Key = readonly [protocol: number, src: number, dst: number, ports: number];

/** Few values, so that keys meet again and slots collide. */
const key = fc.tuple(
  fc.constantFrom(6, 17),
  fc.constantFrom(1, 0xffffffff),
  fc.constantFrom(2, 0x80000000),
  fc.integer({ min: 0, max: 8 }),
);

function insert(table: FlowTable, original: Key, reply: Key): number {
  const entry = table.allocate();
  if (entry === 0) return 0;
  const at = entry * WORDS_PER_ENTRY;
  table.words.set(original.slice(1), at + Word.src);
  table.words.set(reply.slice(1), at + REPLY_TUPLE + Word.src);
  table.words[at + Word.meta] = original[0];
  table.link(entry);
  return entry;
}

/** The reply tuple of the model: another address space, so that it never equals an original one. */
const replyOf = ([protocol, src, dst, ports]: Key): Key => [protocol, dst + 77, src, ports];

describe("FlowTable", () => {
  it("does what a map does, whatever comes and goes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), key), { minLength: 100, maxLength: 200 }),
        fc.integer(),
        (steps, seed) => {
          const capacity = 24;
          const table = new FlowTable(capacity, seed, ~seed);
          const model = new Map<string, number>();
          for (const [adds, tuple] of steps) {
            const known = model.get(String(tuple));
            if (!adds && known !== undefined) {
              table.remove(known);
              model.delete(String(tuple));
            } else if (adds && known === undefined) {
              const entry = insert(table, tuple, replyOf(tuple));
              expect(entry === 0).toBe(model.size === capacity);
              if (entry !== 0) model.set(String(tuple), entry);
            }
            const lost = [...model].filter(([text, entry]) => {
              const present = text.split(",").map(Number) as unknown as Key;
              return (
                table.find(...present) !== entry * 2 || table.find(...replyOf(present)) !== entry * 2 + 1
              );
            });
            expect(lost).toEqual([]);
            const now = model.get(String(tuple));
            expect(table.find(...tuple)).toBe(now === undefined ? 0 : now * 2);
            expect(table.count).toBe(model.size);
          }
          for (const entry of model.values()) expect(table.isLive(entry)).toBe(true);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("fills to its capacity and takes at most 64 bytes an entry", () => {
    const capacity = 50_000;
    const table = new FlowTable(capacity, 1, 2);
    for (let i = 0; i < capacity; i++) insert(table, [6, i, 9, i], [6, 9, i, i]);
    expect(table.allocate()).toBe(0);
    for (let i = 0; i < capacity; i += 97) expect(table.find(6, i, 9, i)).not.toBe(0);
    expect(table.find(6, capacity, 9, 0)).toBe(0);
    expect(table.byteSize / capacity).toBeLessThan(64);
  });

  it("refuses sizes that it cannot have", () => {
    expect(() => new FlowTable(0, 1, 2)).toThrow(RangeError);
    expect(() => new FlowTable(1 << 25, 1, 2)).toThrow("conntrack size");
    expect(Meta.stateMask >>> Meta.stateShift).toBe(15);
  });
});

describe("RouteTable", () => {
  const route = fc.tuple(fc.nat(0xffffffff), fc.integer({ min: 0, max: 32 })).map(([address, length]) => {
    const hosts = 2 ** (32 - length);
    return { address: Math.floor(address / hosts) * hosts, length };
  });

  /** The longest of all prefixes that hold the address. */
  function slowLookup(routes: readonly Route[], address: number): Route | undefined {
    const holds = routes.filter(({ prefix }) => {
      const hosts = 2 ** (32 - prefix.length);
      return Math.floor(address / hosts) * hosts === prefix.address;
    });
    return holds.sort((a, b) => b.prefix.length - a.prefix.length)[0];
  }

  it("finds the longest prefix like a search through all", () => {
    fc.assert(
      fc.property(
        fc.array(route, { maxLength: 60 }),
        fc.array(fc.nat(0xffffffff)),
        fc.nat(59),
        (prefixes, addresses, gone) => {
          const table = new RouteTable();
          for (const [i, prefix] of prefixes.entries()) table.put({ prefix, port: i, nextHop: i });
          if (prefixes[gone] !== undefined) expect(table.delete(prefixes[gone])).toBe(true);
          const all = table.list();
          const edges = prefixes.flatMap(({ address, length }) => [
            address,
            address + 2 ** (32 - length) - 1,
            (address - 1) >>> 0,
          ]);
          for (const address of [...addresses, ...edges])
            expect(table.lookup(address)).toEqual(slowLookup(all, address));
        },
      ),
      { numRuns: 100 },
    );
  });

  it("replaces, lists and refuses host bits", () => {
    const table = new RouteTable();
    table.put({ prefix: h.prefix("10.0.0.0/8"), port: 1, nextHop: 5 });
    table.put({ prefix: h.prefix("10.0.0.0/8"), port: 2, nextHop: 6 });
    expect(table.list()).toHaveLength(1);
    expect(table.lookup(h.ip("10.1.1.1"))?.port).toBe(2);
    expect(table.hasPeer(2, 6)).toBe(true);
    expect(table.hasPeer(1, 6)).toBe(false);
    expect(table.delete(h.prefix("11.0.0.0/8"))).toBe(false);
    expect(() =>
      table.put({ prefix: { address: h.ip("10.0.0.1"), length: 8 }, port: 1, nextHop: 0 }),
    ).toThrow("route to 10.0.0.1/8: not a network address; clear its host bits");
  });
});

describe("MacTable", () => {
  const port = (id: number) => new Port({ id, name: `p${id}`, kind: PortKind.pod, mtuBytes: 1500 });
  const mac = (n: number) => Uint8Array.from([2, 0, 0, 0, n >>> 8, n]);

  it("learns, moves, ages and forgets like a map", () => {
    const ports = [port(1), port(2), port(3)];
    const step = fc.tuple(fc.nat(30), fc.nat(2), fc.constantFrom(0, 1000, 200_000));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const table = new MacTable();
        const model = new Map<number, { port: Port; seen: number }>();
        let now = 0;
        for (const [n, p, passes] of steps) {
          now += passes;
          table.learn(mac(n), 0, ports[p], now);
          model.set(n, { port: ports[p], seen: now });
          table.age(now);
          for (const [m, { port, seen }] of model) {
            expect(table.lookup(mac(m), 0, now)).toBe(now - seen < 300_000 ? port : undefined);
          }
        }
        table.removePort(ports[0]);
        for (const [m, { port }] of model)
          if (port === ports[0]) expect(table.lookup(mac(m), 0, now)).toBeUndefined();
      }),
      { numRuns: 40 },
    );
  });

  it("never moves an address that was given to a port, and stops learning when full", () => {
    const table = new MacTable();
    const [owner, thief] = [port(1), port(2)];
    table.assign(mac(1), owner);
    table.learn(mac(1), 0, thief, 5);
    expect(table.lookup(mac(1), 0, 1e12)).toBe(owner);
    for (let n = 2; n < 3000; n++) table.learn(mac(n), 0, thief, 5);
    expect(table.lookup(mac(1000), 0, 5)).toBe(thief);
    expect(table.lookup(mac(2999), 0, 5)).toBeUndefined();
  });
});

describe("small parts", () => {
  it("Labels count uses and give numbers back", () => {
    const labels = new Labels(2);
    const a = labels.take("s", "e1");
    expect(labels.take("s", "e1")).toBe(a);
    const b = labels.take("s", "e2");
    expect([labels.service(b), labels.endpoint(b)]).toEqual(["s", "e2"]);
    expect(labels.take("t", "e")).toBe(0);
    labels.release(a);
    expect(labels.take("t", "e")).toBe(0);
    labels.release(a);
    expect(labels.take("t", "e")).toBe(a);
    expect(labels.take("", "e")).toBe(0);
  });

  it("Scratch gives aligned room behind headroom until it ends", () => {
    const bytes = new Uint8Array(4096).fill(1);
    const scratch = new Scratch(bytes, 100, 1000);
    const first = scratch.take(100);
    const second = scratch.take(100);
    expect(first).toBeGreaterThanOrEqual(100 + 128);
    expect(second).toBeGreaterThanOrEqual(first + 100 + 128);
    expect([...bytes.slice(first - 10, first)]).toEqual(Array(10).fill(0));
    expect(scratch.take(1000)).toBe(NO_ROOM);
    scratch.reset();
    expect(scratch.take(100)).toBe(first);
    expect(() => new Scratch(bytes, 0, 5000)).toThrow("not inside the arena");
  });

  it("TokenBucket never gives more than its rate and burst", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { maxLength: 200 }), (steps) => {
        const bucket = new TokenBucket(100, 5);
        let now = 0;
        let given = 0;
        for (const step of steps) {
          now += step;
          if (bucket.take(now)) given++;
        }
        expect(given).toBeLessThanOrEqual(5 + (now * 100) / 1000);
      }),
    );
  });

  it("FragmentCache forgets after 30 s and never mixes up datagrams", () => {
    const cache = new FragmentCache();
    const packet = (id: number, offset: number, nowMs: number) => {
      const bytes = new Uint8Array(64);
      const made = new Packet(bytes);
      Object.assign(made.view, { id, protocol: 17, fragmentOffset: offset, moreFragments: 1 });
      Object.assign(made, { src: 1, dst: 2, nowMs, isLaterFragment: offset > 0, newDst: id });
      return made;
    };
    for (let id = 0; id < 300; id++) cache.remember(packet(id, 0, 0));
    const found = Array.from({ length: 300 }, (_, id) => packet(id, 8, 29_999)).filter((later) => {
      const follows = cache.follow(later);
      if (follows) expect(later.newDst).toBe(later.view.id);
      return follows;
    });
    expect(found.length).toBeGreaterThan(250);
    expect(cache.follow(packet(299, 8, 30_000))).toBe(false);
    expect(cache.follow(packet(400, 8, 0))).toBe(false);
  });
});
