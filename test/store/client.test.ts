/** The client when things go wrong: stores that are away, come back, or break off in the middle. */
import { Server, ServerCredentials, type sendUnaryData } from "@grpc/grpc-js";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  connectStore,
  getKey,
  putKey,
  type Store,
  type StoreServer,
  StoreUnavailableError,
  startStoreServer,
} from "../../src/store/index.js";
import { header, type RangeResponse } from "../../src/store/messages.js";
import { KV } from "../../src/store/services.js";
import { testClient, testDir } from "./temp.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (value: Uint8Array): string => new TextDecoder().decode(value);

/** A durable server that the test may stop and start again at the same place. */
function restartable(dir: string) {
  const listen = [`unix:${dir}/s`];
  let server: StoreServer | undefined;
  const stop = async () => {
    await server?.close();
    server = undefined;
  };
  onTestFinished(stop);
  return {
    endpoints: listen,
    stop,
    start: async () => {
      server = await startStoreServer({ dir: `${dir}/data`, listen });
    },
  };
}

describe("client", () => {
  it("resumes a watch after a restart, without loss and without repeating", async () => {
    const server = restartable(testDir());
    await server.start();
    const store = testClient(server.endpoints);
    const created: number[] = [];
    const seen: string[] = [];
    const options = {
      prefix: true,
      onCreated: (revision: number) => created.push(revision),
      fromRevision: 2,
    };
    await putKey(store, "w/a", bytes("0"));
    for await (const { events } of store.watch("w/", options)) {
      seen.push(...events.map(({ kv }) => textOf(kv.value)));
      if (seen.length === 4) break;
      await server.stop();
      await server.start();
      await putKey(store, "w/a", bytes(`${seen.length}`));
    }
    expect(seen).toEqual(["0", "1", "2", "3"]);
    expect(created).toHaveLength(1);
  });

  it("waits for a store that is not there yet", async () => {
    const server = restartable(testDir());
    const store = testClient(server.endpoints);
    const writing = putKey(store, "a", bytes("1"));
    const watching = store.watch("a", { fromRevision: 2 })[Symbol.asyncIterator]().next();
    await server.start();
    expect(await writing).toBe(2);
    expect((await watching).value).toMatchObject({ revision: 2 });
  });

  it("gives up after the deadline, naming the endpoint and the reason", async () => {
    const dir = testDir();
    const store = testClient([`unix:${dir}/none`], 200);
    const failure = await getKey(store, "a").catch((error) => error);
    expect(failure).toBeInstanceOf(StoreUnavailableError);
    expect(failure.message).toMatch(new RegExp(`^store unix:${dir}/none unavailable: .*ENOENT`));
    await expect(store.leases.keepAlive("1")).rejects.toBeInstanceOf(StoreUnavailableError);
  });

  it("tries its endpoints in turn", async () => {
    const server = restartable(testDir());
    await server.start();
    const store = testClient([`unix:${testDir()}/none`, ...server.endpoints]);
    expect(await putKey(store, "a", bytes("1"))).toBe(2);
    await server.stop();
    await server.start();
    expect(textOf((await getKey(store, "a"))!.value)).toBe("1");
  });

  it("lets writers race without losing an update", async () => {
    const server = restartable(testDir());
    await server.start();
    const count = async (store: Store) => {
      for (let done = 0; done < 20; ) {
        const now = await getKey(store, "count");
        const next = bytes(`${Number(textOf(now?.value ?? bytes("0"))) + 1}`);
        const unchanged = {
          key: "count",
          target: "modRevision",
          result: "=",
          value: now?.modRevision ?? 0,
        } as const;
        if ((await store.txn([unchanged], [{ type: "put", key: "count", value: next }])).succeeded) done++;
      }
    };
    const stores = [testClient(server.endpoints), testClient(server.endpoints), testClient(server.endpoints)];
    await Promise.all(stores.map(count));
    expect(textOf((await getKey(stores[0], "count"))!.value)).toBe("60");
  });

  it("repeats a read that broke off, but not a write", async () => {
    const address = `unix:${testDir()}/s`;
    const calls: string[] = [];
    /** A server that answers its first call only when it is the fourth of all; else another takes its place. */
    const breaking = async (): Promise<void> => {
      const server = new Server();
      onTestFinished(() => server.forceShutdown());
      const handle = (name: string) => (_: unknown, reply: sendUnaryData<Partial<RangeResponse>>) => {
        calls.push(name);
        if (calls.length === 4) return reply(null, { header: header.make({ revision: 9 }) });
        server.forceShutdown();
        void breaking();
      };
      server.register(
        KV.range.path,
        handle("range"),
        KV.range.response.encode,
        KV.range.request.decode,
        "unary",
      );
      server.register(KV.txn.path, handle("txn"), KV.range.response.encode, KV.txn.request.decode, "unary");
      const credentials = ServerCredentials.createInsecure();
      await new Promise((resolve) => server.bindAsync(address, credentials, resolve));
    };
    await breaking();
    const store = testClient([address], 60_000);
    await expect(putKey(store, "a", bytes("1"))).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(calls).toEqual(["txn"]);
    expect((await store.range("a")).revision).toBe(9);
    expect(calls).toEqual(["txn", "range", "range", "range"]);
  });

  it("ends watches and refuses calls when it is closed", async () => {
    const server = restartable(testDir());
    await server.start();
    const store = connectStore({ endpoints: server.endpoints });
    const batches = store.watch("a", { onCreated: () => void store.close() });
    for await (const batch of batches) throw new Error(`unexpected ${batch.revision}`);
    await expect(getKey(store, "a")).rejects.toThrow("this client was closed");
  });

  it.each([
    [[], "store: no endpoint given"],
    [["https://127.0.0.1:2379"], "TLS is not supported; use http://host:port"],
    [["http://me:secret@127.0.0.1:2379"], "user names are not supported"],
    [["127.0.0.1:2379"], "is not understood; use http://host:port or unix:/path"],
    [["unix:relative"], "is not understood"],
  ])("refuses endpoints %j", (endpoints, message) => {
    expect(() => connectStore({ endpoints })).toThrow(message);
  });
});
