/** What every store does, whoever serves it: run against the in-memory store, the embedded server and a real etcd. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  CompactedError,
  type Compare,
  createIfAbsent,
  deleteKey,
  getKey,
  LeaseNotFoundError,
  type Operation,
  prefixEnd,
  putKey,
  type Store,
  type StoreEvent,
  StoreRequestError,
  type WatchOptions,
} from "../../src/store/index.js";

export interface OpenStore {
  readonly store: Store;
  /** Lets time pass for leases; without it, they end in real time. */
  advance?(ms: number): void;
  close(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (value: Uint8Array): string => new TextDecoder().decode(value);
const put = (key: string, value = "", lease = "0"): Operation => ({
  type: "put",
  key,
  value: bytes(value),
  lease,
});
const line = ({ type, kv }: StoreEvent): string => `${type} ${kv.key}=${textOf(kv.value)}`;

/** Reads events until there are `count` of them. */
async function take(store: Store, key: string, count: number, options: WatchOptions): Promise<StoreEvent[]> {
  const events: StoreEvent[] = [];
  for await (const batch of store.watch(key, options)) {
    events.push(...batch.events);
    if (events.length >= count) break;
  }
  return events;
}

/** Starts a watch and resolves when it is in place; `events` resolves when so many have come. */
async function watchNow(store: Store, key: string, count: number, options: WatchOptions = {}) {
  let events: Promise<StoreEvent[]> = Promise.resolve([]);
  const revision = await new Promise<number>((resolve, reject) => {
    events = take(store, key, count, { ...options, onCreated: resolve });
    events.catch(reject);
  });
  return { revision, events };
}

export function storeCompliance(name: string, open: () => Promise<OpenStore>): void {
  describe(name, () => {
    let opened: OpenStore;
    let store: Store;
    let space = 0;
    /** A part of the key space for one test. */
    const fresh = (): string => `test/${++space}/`;
    beforeAll(async () => {
      opened = await open();
      store = opened.store;
    });
    afterAll(() => opened?.close());

    it("counts revisions and versions of a key", async () => {
      const key = `${fresh()}a`;
      const first = await putKey(store, key, bytes("1"));
      const second = await putKey(store, key, bytes("2"));
      expect(second).toBe(first + 1);
      const expected = { key, createRevision: first, modRevision: second, version: 2, lease: "0" };
      expect(await getKey(store, key)).toEqual({ ...expected, value: bytes("2") });
      expect(await deleteKey(store, key)).toBe(true);
      expect(await deleteKey(store, key)).toBe(false);
      expect(await getKey(store, key)).toBeUndefined();
      const third = await putKey(store, key, bytes("3"));
      expect(await getKey(store, key)).toMatchObject({ createRevision: third, version: 1 });
    });

    it("does not count a transaction that writes nothing", async () => {
      const { revision } = await store.range("x");
      expect(await deleteKey(store, `${fresh()}none`)).toBe(false);
      expect((await store.range("x")).revision).toBe(revision);
    });

    it("orders keys by their bytes and keeps any text and any value", async () => {
      const prefix = fresh();
      const names = ["a", "a/b", "b", "ä", "z", "字", "\u{1f600}", "\uffee", "~"];
      const every = Uint8Array.from({ length: 256 }, (_, i) => i);
      await store.txn(
        [],
        names.map((name) => ({ type: "put", key: prefix + name, value: every }) as const),
      );
      const { kvs } = await store.range(prefix, { prefix: true });
      const sorted = names
        .map((name) => prefix + name)
        .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      expect(kvs.map((kv) => kv.key)).toEqual(sorted);
      expect(kvs.every((kv) => Buffer.compare(kv.value, every) === 0)).toBe(true);
    });

    it("reads pages, keys only and counts", async () => {
      const prefix = fresh();
      await store.txn(
        [],
        ["a", "b", "c", "d", "e"].map((name) => put(prefix + name, name)),
      );
      const first = await store.range(prefix, { prefix: true, limit: 2 });
      expect(first).toMatchObject({ count: 5, more: true });
      const rest = { rangeEnd: prefixEnd(prefix), limit: 3 };
      const second = await store.range(`${first.kvs[1].key}\0`, rest);
      expect(second.kvs.map((kv) => kv.key.slice(prefix.length))).toEqual(["c", "d", "e"]);
      expect(second).toMatchObject({ count: 3, more: false });
      const keys = await store.range(prefix, { prefix: true, keysOnly: true });
      expect(keys.kvs.map((kv) => kv.value.length)).toEqual([0, 0, 0, 0, 0]);
      expect(await store.range(prefix, { prefix: true, countOnly: true })).toMatchObject({
        kvs: [],
        count: 5,
      });
    });

    it("reads an empty prefix as everything", async () => {
      const key = `${fresh()}a`;
      await putKey(store, key, bytes(""));
      expect((await store.range("", { prefix: true })).kvs.map((kv) => kv.key)).toContain(key);
    });

    it("reads the past", async () => {
      const prefix = fresh();
      const revision = await putKey(store, `${prefix}a`, bytes("old"));
      await putKey(store, `${prefix}a`, bytes("new"));
      await putKey(store, `${prefix}b`, bytes("new"));
      const past = await store.range(prefix, { prefix: true, revision });
      expect(past.kvs.map((kv) => textOf(kv.value))).toEqual(["old"]);
      expect(past.revision).toBe(revision);
      await expect(store.range(prefix, { revision: 1e9 })).rejects.toThrow("future revision");
    });

    it("gives all writes of a transaction one revision", async () => {
      const prefix = fresh();
      await putKey(store, `${prefix}gone`, bytes(""));
      const operations: Operation[] = [
        put(`${prefix}a`, "1"),
        { type: "delete", key: `${prefix}gone` },
        { type: "range", key: prefix, options: { prefix: true } },
        put(`${prefix}b`, "2"),
      ];
      const { revision, results } = await store.txn([], operations);
      expect(results.map((result) => result.type)).toEqual(["put", "delete", "range", "put"]);
      expect(results[1]).toMatchObject({ deleted: 1 });
      expect(results[2]).toMatchObject({ count: 1, kvs: [{ key: `${prefix}a`, modRevision: revision }] });
      const { kvs } = await store.range(prefix, { prefix: true });
      expect(kvs.map((kv) => kv.modRevision)).toEqual([revision, revision]);
    });

    it("compares versions, revisions, values and leases", async () => {
      const prefix = fresh();
      const key = `${prefix}a`;
      const missing = `${prefix}none`;
      await putKey(store, key, bytes("x"));
      const revision = await putKey(store, key, bytes("m"));
      const holds: Compare[] = [
        { key, target: "version", result: "=", value: 2 },
        { key, target: "version", result: ">", value: 1 },
        { key, target: "modRevision", result: "=", value: revision },
        { key, target: "createRevision", result: "<", value: revision },
        { key, target: "value", result: "=", value: bytes("m") },
        { key, target: "value", result: "!=", value: bytes("x") },
        { key, target: "lease", result: "=", value: "0" },
        { key: missing, target: "createRevision", result: "=", value: 0 },
        { key: missing, target: "version", result: "<", value: 1 },
      ];
      for (const compare of holds)
        expect((await store.txn([compare], [])).succeeded, JSON.stringify(compare)).toBe(true);
      const fails: Compare[] = [
        { key, target: "version", result: "!=", value: 2 },
        { key, target: "lease", result: "!=", value: "0" },
        { key: missing, target: "value", result: "=", value: bytes("") },
        { key: missing, target: "value", result: "!=", value: bytes("x") },
      ];
      for (const compare of fails)
        expect((await store.txn([compare], [])).succeeded, JSON.stringify(compare)).toBe(false);
      const both = await store.txn([holds[0], fails[0]], [put(key, "yes")], [put(key, "no")]);
      expect(both.succeeded).toBe(false);
      expect(textOf((await getKey(store, key))!.value)).toBe("no");
    });

    it("lets one of two writers create a key", async () => {
      const key = `${fresh()}a`;
      const made = await Promise.all(
        ["1", "2", "3"].map((value) => createIfAbsent(store, key, bytes(value))),
      );
      expect(made.filter(Boolean)).toHaveLength(1);
    });

    it("refuses what etcd refuses, with its words", async () => {
      const prefix = fresh();
      const key = `${prefix}a`;
      await expect(store.range("")).rejects.toThrow("etcdserver: key is not provided");
      await expect(store.txn([], [put("")])).rejects.toThrow("etcdserver: key is not provided");
      const twice = store.txn([], [put(key), put(key)]);
      await expect(twice).rejects.toThrow("etcdserver: duplicate key given in txn request");
      const over = store.txn([], [put(key), { type: "delete", key: prefix, prefix: true }]);
      await expect(over).rejects.toThrow("etcdserver: duplicate key given in txn request");
      const many = store.txn(
        [],
        Array.from({ length: 129 }, (_, i) => put(`${prefix}${i}`)),
      );
      await expect(many).rejects.toThrow("etcdserver: too many operations in txn request");
      await expect(many).rejects.toBeInstanceOf(StoreRequestError);
      const noLease = putKey(store, key, bytes(""), "12345");
      await expect(noLease).rejects.toBeInstanceOf(LeaseNotFoundError);
      expect((await store.range(prefix, { prefix: true })).count).toBe(0);
    });

    it("watches what comes, with previous values", async () => {
      const prefix = fresh();
      await putKey(store, `${prefix}a`, bytes("0"));
      const { events } = await watchNow(store, prefix, 3, { prefix: true, prevKv: true });
      await putKey(store, `${prefix}a`, bytes("1"));
      await putKey(store, `other/${prefix}`, bytes(""));
      const deleted = await store.txn([], [{ type: "delete", key: prefix, prefix: true }]);
      await putKey(store, `${prefix}b`, bytes("2"));
      const seen = await events;
      expect(seen.map(line)).toEqual([`put ${prefix}a=1`, `delete ${prefix}a=`, `put ${prefix}b=2`]);
      expect(seen.map(({ prevKv }) => prevKv && textOf(prevKv.value))).toEqual(["0", "1", undefined]);
      expect(seen[1].kv.modRevision).toBe(deleted.revision);
    });

    it("watches from a revision in the past and in the future", async () => {
      const prefix = fresh();
      const revision = await putKey(store, `${prefix}a`, bytes("1"));
      await store.txn([], [put(`${prefix}a`, "2"), put(`${prefix}b`, "2")]);
      const past = await take(store, prefix, 3, { prefix: true, fromRevision: revision });
      expect(past.map(line)).toEqual([`put ${prefix}a=1`, `put ${prefix}a=2`, `put ${prefix}b=2`]);
      expect(past.every(({ prevKv }) => prevKv === undefined)).toBe(true);
      const { events } = await watchNow(store, prefix, 1, { prefix: true, fromRevision: revision + 3 });
      await putKey(store, `${prefix}c`, bytes("3"));
      await putKey(store, `${prefix}c`, bytes("4"));
      expect((await events).map(line)).toEqual([`put ${prefix}c=4`]);
    });

    it("keeps the events of a revision together", async () => {
      const prefix = fresh();
      const { revision } = await store.txn(
        [],
        Array.from({ length: 100 }, (_, i) => put(`${prefix}${i}`)),
      );
      for await (const batch of store.watch(prefix, { prefix: true, fromRevision: revision })) {
        expect(batch.events).toHaveLength(100);
        expect(batch.revision).toBe(revision);
        break;
      }
    });

    it("ends a watch by its signal", async () => {
      const abort = new AbortController();
      const { events } = await watchNow(store, fresh(), 1, { signal: abort.signal });
      abort.abort();
      expect(await events).toEqual([]);
      expect(await take(store, fresh(), 1, { signal: AbortSignal.abort() })).toEqual([]);
    });

    it("attaches keys to leases and deletes them with the lease", async () => {
      const prefix = fresh();
      const lease = await store.leases.grant(60);
      expect(lease.grantedTtlSeconds).toBe(60);
      await store.txn(
        [],
        [put(`${prefix}a`, "", lease.id), put(`${prefix}b`, "", lease.id), put(`${prefix}c`)],
      );
      expect(await getKey(store, `${prefix}a`)).toMatchObject({ lease: lease.id });
      await putKey(store, `${prefix}b`, bytes("no lease any more"));
      const info = await store.leases.timeToLive(lease.id);
      expect(info).toMatchObject({ id: lease.id, grantedTtlSeconds: 60, keys: [`${prefix}a`] });
      expect(info.ttlSeconds).toBeGreaterThan(0);
      expect(await store.leases.keepAlive(lease.id)).toBe(60);
      const { events } = await watchNow(store, prefix, 1, { prefix: true });
      await store.leases.revoke(lease.id);
      expect((await events).map(line)).toEqual([`delete ${prefix}a=`]);
      expect(
        (await store.range(prefix, { prefix: true })).kvs.map((kv) => kv.key.slice(prefix.length)),
      ).toEqual(["b", "c"]);
      await expect(store.leases.keepAlive(lease.id)).rejects.toBeInstanceOf(LeaseNotFoundError);
      await expect(store.leases.revoke(lease.id)).rejects.toBeInstanceOf(LeaseNotFoundError);
      expect(await store.leases.timeToLive(lease.id)).toMatchObject({ ttlSeconds: -1, keys: [] });
    });

    it("takes a lease id of the caller's once", async () => {
      const id = "7587870000000000123";
      expect((await store.leases.grant(60, id)).id).toBe(id);
      await expect(store.leases.grant(60, id)).rejects.toThrow("etcdserver: lease already exists");
      await store.leases.revoke(id);
    });

    it("deletes the keys of a lease that expires", async () => {
      const key = `${fresh()}a`;
      const { id } = await store.leases.grant(2);
      const revision = await putKey(store, key, bytes(""), id);
      opened.advance?.(2000);
      const events = await take(store, key, 1, { fromRevision: revision + 1 });
      expect(events.map(line)).toEqual([`delete ${key}=`]);
      await expect(store.leases.keepAlive(id)).rejects.toBeInstanceOf(LeaseNotFoundError);
    });

    // The last one, since it takes the history away.
    it("compacts", async () => {
      const prefix = fresh();
      await putKey(store, `${prefix}gone`, bytes(""));
      await deleteKey(store, `${prefix}gone`);
      const old = await putKey(store, `${prefix}a`, bytes("1"));
      const kept = await putKey(store, `${prefix}a`, bytes("2"));
      await putKey(store, `${prefix}a`, bytes("3"));
      await store.compact(kept);
      await expect(store.range(prefix, { prefix: true, revision: old })).rejects.toBeInstanceOf(
        CompactedError,
      );
      const { kvs } = await store.range(prefix, { prefix: true, revision: kept });
      expect(kvs.map((kv) => textOf(kv.value))).toEqual(["2"]);
      const failure = await take(store, prefix, 1, { prefix: true, fromRevision: old }).catch(
        (error) => error,
      );
      expect(failure).toBeInstanceOf(CompactedError);
      expect(failure.compactRevision).toBe(kept);
      const after = await take(store, prefix, 1, { prefix: true, fromRevision: kept + 1 });
      expect(after.map(line)).toEqual([`put ${prefix}a=3`]);
      await expect(store.compact(kept)).rejects.toBeInstanceOf(CompactedError);
      await expect(store.compact(1e9)).rejects.toThrow("future revision");
    });
  });
}
