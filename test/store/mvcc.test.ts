import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { prefixEnd, toRange, toText } from "../../src/store/keys.js";
import { Mvcc } from "../../src/store/mvcc.js";
import type { KeyValue } from "../../src/store/types.js";

const ALL = { key: "\0", end: "\0" };
const key = fc.constantFrom("a", "aa", "ab", "b", "c\u00ff", "d");
const put = fc.record({ type: fc.constant("put" as const), key });
const del = fc.record({ type: fc.constant("delete" as const), key, end: fc.option(key, { nil: undefined }) });
const compact = fc.record({ type: fc.constant("compact" as const), back: fc.nat(5) });

/** The slow twin: a whole copy of the key space for every revision. */
class Copies {
  readonly at: Map<string, KeyValue>[] = [new Map(), new Map()];

  get revision(): number {
    return this.at.length - 1;
  }

  write(change: (next: Map<string, KeyValue>, revision: number) => boolean): void {
    const next = new Map(this.at[this.revision]);
    if (change(next, this.revision + 1)) this.at.push(next);
  }

  put(name: string, value: Uint8Array): void {
    this.write((next, modRevision) => {
      const old = next.get(name);
      const [createRevision, version] = [old?.createRevision ?? modRevision, (old?.version ?? 0) + 1];
      next.set(name, { key: name, value, createRevision, modRevision, version, lease: "0" });
      return true;
    });
  }

  delete(from: string, end: string | undefined): void {
    this.write((next) => {
      const gone = [...next.keys()].filter((name) =>
        end === undefined ? name === from : name >= from && name < end,
      );
      for (const name of gone) next.delete(name);
      return gone.length > 0;
    });
  }

  sorted(revision: number): KeyValue[] {
    return [...this.at[revision].values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }
}

describe("mvcc", () => {
  it("reads every revision as a copy of it, until compacted", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 4, arbitrary: put }, del, compact), { maxLength: 60 }),
        (steps) => {
          const [mvcc, twin] = [new Mvcc(), new Copies()];
          for (const [index, step] of steps.entries()) {
            const value = Uint8Array.of(index);
            if (step.type === "put") {
              mvcc.write((writer) => writer.put(step.key, value, "0"));
              twin.put(step.key, value);
            } else if (step.type === "delete") {
              mvcc.write((writer) => writer.delete(step));
              twin.delete(step.key, step.end);
            } else if (mvcc.revision - step.back > mvcc.compactRevision) {
              mvcc.compact(mvcc.revision - step.back);
            }
          }
          expect(mvcc.revision).toBe(twin.revision);
          for (let at = Math.max(1, mvcc.compactRevision); at <= mvcc.revision; at++) {
            expect(mvcc.range(ALL, at)).toEqual(twin.sorted(at));
            expect(mvcc.eventsAt(at).every(({ kv }) => kv.modRevision === at)).toBe(true);
          }
          const before = mvcc.compactRevision - 1;
          if (before > 0) expect(() => mvcc.range(ALL, before)).toThrow("compacted");
        },
      ),
    );
  });

  it("keeps nothing of what was deleted before a compaction", () => {
    const mvcc = new Mvcc();
    for (let i = 0; i < 100; i++) {
      mvcc.write((writer) => writer.put(`key${i}`, Uint8Array.of(i), "0"));
      mvcc.write((writer) => writer.delete({ key: `key${i}` }));
    }
    mvcc.compact(mvcc.revision);
    expect(mvcc.state()).toEqual({ revision: 201, compactRevision: 201, base: [], log: [] });
  });
});

describe("keys", () => {
  it("make a prefix a range that holds exactly what starts with it", () => {
    const names = fc.string({
      unit: fc.constantFrom("a", "b", "\u007f", "ÿ", "\ud7ff", "\ue000", "\u{10ffff}"),
      maxLength: 4,
    });
    fc.assert(
      fc.property(names, names, (prefix, name) => {
        const bytes = Buffer.from(name).toString("latin1");
        const { key: from, end = "" } = toRange(prefix, { prefix: true });
        expect(bytes >= from && (end === "\0" || bytes < end)).toBe(name.startsWith(prefix) && name !== "");
        expect(toText(bytes)).toBe(name);
        const bound = prefixEnd(prefix);
        const below = bound === "\0" || Buffer.compare(Buffer.from(name), Buffer.from(bound)) < 0;
        expect(below && Buffer.compare(Buffer.from(name), Buffer.from(prefix)) >= 0).toBe(
          name.startsWith(prefix),
        );
      }),
    );
  });
});
