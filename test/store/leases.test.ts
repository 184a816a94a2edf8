import { describe, expect, it } from "vitest";
import { getKey, LeaseNotFoundError, MemoryStore, putKey, startStoreServer } from "../../src/store/index.js";
import { testClient, testDir } from "./temp.js";
import { VirtualClock } from "./virtual-clock.js";

const NOTHING = new Uint8Array(0);

describe("leases under virtual time", () => {
  it("end when their time is over, not before", async () => {
    const clock = new VirtualClock();
    const store = new MemoryStore({ clock });
    const { id } = await store.leases.grant(10);
    await putKey(store, "a", NOTHING, id);
    clock.advance(9_999);
    expect(await store.leases.timeToLive(id)).toMatchObject({ ttlSeconds: 0, keys: ["a"] });
    expect(await getKey(store, "a")).toBeDefined();
    clock.advance(1);
    expect(await getKey(store, "a")).toBeUndefined();
    await expect(store.leases.keepAlive(id)).rejects.toBeInstanceOf(LeaseNotFoundError);
  });

  it("live on when they are renewed, each on its own", async () => {
    const clock = new VirtualClock();
    const store = new MemoryStore({ clock });
    const renewed = await store.leases.grant(10);
    const left = await store.leases.grant(12);
    await putKey(store, "renewed", NOTHING, renewed.id);
    await putKey(store, "left", NOTHING, left.id);
    for (let i = 0; i < 5; i++) {
      clock.advance(6_000);
      expect(await store.leases.keepAlive(renewed.id)).toBe(10);
    }
    expect((await store.range("", { prefix: true })).kvs.map((kv) => kv.key)).toEqual(["renewed"]);
    clock.advance(10_000);
    expect((await store.range("", { prefix: true })).count).toBe(0);
  });

  it("delete all their keys in one revision, one lease after the other", async () => {
    const clock = new VirtualClock();
    const store = new MemoryStore({ clock });
    const first = await store.leases.grant(1);
    const second = await store.leases.grant(2);
    for (const key of ["b", "a"]) await putKey(store, `1${key}`, NOTHING, first.id);
    await putKey(store, "2", NOTHING, second.id);
    const { revision } = await store.range("x");
    clock.advance(60_000);
    const batches: string[][] = [];
    for await (const { events } of store.watch("", { prefix: true, fromRevision: revision + 1 })) {
      batches.push(events.map(({ type, kv }) => `${type} ${kv.key} ${kv.modRevision - revision}`));
      break;
    }
    expect(batches).toEqual([["delete 1a 1", "delete 1b 1", "delete 2 2"]]);
  });

  it("leave no timer behind", async () => {
    const clock = new VirtualClock();
    const store = new MemoryStore({ clock });
    const { id } = await store.leases.grant(5);
    await store.leases.grant(3);
    expect(clock.pending).toBe(1);
    await store.leases.revoke(id);
    clock.advance(10_000);
    expect(clock.pending).toBe(0);
    await store.leases.grant(5);
    await store.close();
    expect(clock.pending).toBe(0);
  });

  it("give ids that differ from store to store", async () => {
    const ids = [1, 2].map((idSpace) =>
      new MemoryStore({ idSpace, clock: new VirtualClock() }).leases.grant(5),
    );
    expect((await Promise.all(ids)).map(({ id }) => id)).toEqual(["4294967297", "8589934593"]);
  });

  it("start anew with their keys when the server starts again", async () => {
    const dir = testDir();
    const listen = [`unix:${dir}/s`];
    const clock = new VirtualClock();
    const first = await startStoreServer({ dir: `${dir}/data`, listen, clock });
    const store = testClient(first.endpoints);
    const { id } = await store.leases.grant(10);
    const revoked = await store.leases.grant(10);
    await putKey(store, "a", NOTHING, id);
    await store.leases.revoke(revoked.id);
    clock.advance(9_000);
    await first.close();
    clock.advance(60_000);
    const second = await startStoreServer({ dir: `${dir}/data`, listen, clock });
    expect(await store.leases.timeToLive(id)).toMatchObject({
      grantedTtlSeconds: 10,
      ttlSeconds: 10,
      keys: ["a"],
    });
    expect((await store.leases.timeToLive(revoked.id)).ttlSeconds).toBe(-1);
    const next = await store.leases.grant(10);
    expect(BigInt(next.id)).toBe(BigInt(revoked.id) + 1n);
    clock.advance(10_000);
    expect(await getKey(store, "a")).toBeUndefined();
    await second.close();
  });
});
