import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { frame, parseFrames } from "../../src/store/frames.js";
import { type Journal, openJournal } from "../../src/store/journal.js";
import { testDir } from "./temp.js";

type Options = Parameters<typeof openJournal>[0];

function open(dir: string, options: Partial<Options> = {}): Promise<Journal> {
  return openJournal({ dir, log: () => undefined, engine: {}, ...options });
}

function put(journal: Journal, key: string, value: string, lease = "0"): number {
  const op = { type: "put", key, value: new TextEncoder().encode(value), lease } as const;
  return journal.engine.txn({ compares: [], success: [op], failure: [] }).revision;
}

const state = ({ engine }: Journal) => ({ ...engine.mvcc.state(), leases: engine.leases.all() });
const framesIn = (dir: string) => parseFrames(readFileSync(join(dir, "journal"))).payloads.length;

/** A journal with some of everything, closed again; what it held. */
async function filled(dir: string, options: Partial<Options> = {}) {
  const journal = await open(dir, options);
  const { engine } = journal;
  const { id } = engine.grant(600);
  engine.grant(60, "77");
  put(journal, "a", "1", id);
  put(journal, "b\u00ff", "2", "77");
  await journal.settled();
  put(journal, "a", "3");
  engine.txn({ compares: [], success: [{ type: "delete", range: { key: "b", end: "c" } }], failure: [] });
  engine.compact(3);
  engine.revoke("77");
  await journal.settled();
  put(journal, "c", "4", id);
  await journal.close();
  return { state: state(journal), identity: journal.identity };
}

describe("journal", () => {
  it("brings everything back, and the same store again after that", async () => {
    const dir = testDir();
    const before = await filled(dir);
    for (let i = 0; i < 2; i++) {
      const journal = await open(dir);
      expect({ state: state(journal), identity: journal.identity }).toEqual(before);
      expect(journal.engine.timeToLive(before.state.leases[0].id).keys).toEqual(["c"]);
      expect(journal.engine.visible).toBe(before.state.revision);
      await journal.close();
    }
  });

  it("writes all changes of one turn in one frame", async () => {
    const dir = testDir();
    const journal = await open(dir);
    for (let i = 0; i < 100; i++) put(journal, `key${i}`, "");
    expect(journal.engine.visible).toBe(1);
    await journal.settled();
    expect(journal.engine.visible).toBe(101);
    expect(framesIn(dir)).toBe(2);
    await journal.close();
  });

  it("keeps what it has to itself", async () => {
    const dir = join(testDir(), "data");
    const journal = await open(dir);
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(dir))
      expect(`${name} ${(statSync(join(dir, name)).mode & 0o777).toString(8)}`).toMatch(/ 600$/);
    await journal.close();
    expect(readdirSync(dir)).toEqual(["journal"]);
  });

  it("cuts off a torn last frame, wherever it is torn", async () => {
    const dir = testDir();
    await filled(dir);
    const path = join(dir, "journal");
    const file = readFileSync(path);
    const { payloads } = parseFrames(file);
    const lastAt = file.length - frame(payloads.at(-1)!).length;
    for (let length = lastAt + 1; length < file.length; length++) {
      // Some file systems leave zeros where bytes did not get.
      const torn = Buffer.alloc(length % 2 === 0 ? length : file.length + 5);
      file.copy(torn, 0, 0, length);
      writeFileSync(path, torn);
      const lines: string[] = [];
      const journal = await open(dir, { log: (level, line) => lines.push(`${level} ${line}`) });
      expect(journal.engine.mvcc.get("c")).toBeUndefined();
      put(journal, "after", "");
      await journal.close();
      expect(lines).toHaveLength(1);
      expect(lines[0]).toMatch(/^warn .*journal: cut off a torn write of \d+ bytes at byte \d+$/);
      const again = await open(dir);
      expect(again.engine.mvcc.get("after")).toBeDefined();
      await again.close();
    }
  });

  it("refuses a file that is damaged in the middle, and leaves it alone", async () => {
    const dir = testDir();
    await filled(dir);
    const path = join(dir, "journal");
    const file = readFileSync(path);
    const { payloads } = parseFrames(file);
    const lastAt = file.length - frame(payloads.at(-1)!).length;
    for (let at = 0; at < lastAt; at += 5) {
      const damaged = Buffer.from(file);
      damaged[at] ^= 0x41;
      writeFileSync(path, damaged);
      await expect(open(dir)).rejects.toThrow(
        /^store .*journal cannot be read: damaged record at byte \d+ of \d+; move/,
      );
      expect(readFileSync(path).equals(damaged)).toBe(true);
    }
    writeFileSync(path, file);
    await (await open(dir)).close();
  });

  it("refuses another format and records that do not follow", async () => {
    const dir = testDir();
    writeFileSync(join(dir, "journal"), frame(Buffer.alloc(0)));
    await expect(open(dir)).rejects.toThrow("it does not begin with the identity of a store");
    const whole = testDir();
    await filled(whole);
    const path = join(whole, "journal");
    const { payloads } = parseFrames(readFileSync(path));
    writeFileSync(path, Buffer.concat([payloads[0], ...payloads.slice(2)].map(frame)));
    await expect(open(whole)).rejects.toThrow(/cannot be read: .*; move the file away/);
  });

  it("is written anew after a compaction, once it has grown", async () => {
    const dir = testDir();
    const journal = await open(dir, { rewriteBytes: 10_000 });
    const { id } = journal.engine.grant(600);
    put(journal, "leased", "x", id);
    for (let i = 0; i < 50; i++) put(journal, "a", "x".repeat(1000));
    await journal.settled();
    const grown = journal.sizeBytes;
    journal.engine.compact(journal.engine.mvcc.revision - 2);
    // This one comes while the compaction is on its way to the disk.
    put(journal, "late", "x");
    await journal.settled();
    put(journal, "after", "x");
    await journal.close();
    expect(grown).toBeGreaterThan(50_000);
    expect(journal.sizeBytes).toBeLessThan(5000);
    expect(statSync(join(dir, "journal")).size).toBe(journal.sizeBytes);
    const again = await open(dir);
    expect(state(again)).toEqual(state(journal));
    expect(again.engine.timeToLive(id).keys).toEqual(["leased"]);
    await again.close();
  });

  it("compacts by itself, so that it stays bounded", async () => {
    const dir = testDir();
    const journal = await open(dir, { engine: { keepRevisions: 100 }, rewriteBytes: 0 });
    for (let i = 0; i < 1000; i++) {
      put(journal, `key${i % 10}`, "x".repeat(100));
      if (i % 50 === 0) await journal.settled();
    }
    await journal.close();
    const { compactRevision, revision } = journal.engine.mvcc;
    expect(revision - compactRevision).toBeLessThanOrEqual(110);
    expect(journal.sizeBytes).toBeLessThan(60_000);
    const again = await open(dir);
    expect(state(again)).toEqual(state(journal));
    await again.close();
  });

  it("lets one process in", async () => {
    const dir = testDir();
    const journal = await open(dir);
    await expect(open(dir)).rejects.toThrow(
      `store ${dir} is in use by process ${process.pid}; stop that one first`,
    );
    await journal.close();
    await (await open(dir)).close();
  });

  it.each(["", "no pid at all", "4194305 1", `${process.pid} 1`])(
    "takes over a stale lock (%j)",
    async (content) => {
      const dir = testDir();
      writeFileSync(join(dir, "lock"), content);
      const opened = await Promise.allSettled([open(dir), open(dir), open(dir)]);
      const journals = opened.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      expect(journals).toHaveLength(1);
      await journals[0].close();
      expect(readdirSync(dir)).toEqual(["journal"]);
    },
  );
});

describe("frames", () => {
  it("come back, with any payload", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1 })), (payloads) => {
        const file = Buffer.concat(payloads.map(frame));
        const parsed = parseFrames(file);
        expect(parsed.payloads.map((payload) => [...payload])).toEqual(
          payloads.map((payload) => [...payload]),
        );
        expect(parsed.endBytes).toBe(file.length);
      }),
    );
  });
});
