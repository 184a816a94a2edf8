/** The embedded server: sockets, what is on disk when it answers, and the parts of the protocol our client does not use. */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { Client, credentials } from "@grpc/grpc-js";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import {
  getKey,
  putKey,
  type Store,
  type StoreServerOptions,
  startStoreServer,
} from "../../src/store/index.js";
import { type WatchRequest, type WatchResponse, watchCreate } from "../../src/store/messages.js";
import { KV, type Method, WATCH } from "../../src/store/services.js";
import { testClient, testDir } from "./temp.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

async function serve(options: Partial<StoreServerOptions> = {}) {
  const server = await startStoreServer({ listen: [`unix:${testDir()}/s`], ...options });
  onTestFinished(() => server.close());
  return server;
}

/** The bare protocol. */
function raw(endpoint: string): Client {
  const client = new Client(endpoint, credentials.createInsecure());
  onTestFinished(() => client.close());
  return client;
}

function call<Q, A>(
  client: Client,
  { path, request, response }: Method<Q, A>,
  message: Partial<Q>,
): Promise<A> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, request.encode, response.decode, message, (error, answer) => {
      if (error === null) resolve(answer!);
      else reject(error);
    });
  });
}

function watchStream(client: Client) {
  const { path, request, response } = WATCH;
  const stream = client.makeBidiStreamRequest<Partial<WatchRequest>, WatchResponse>(
    path,
    request.encode,
    response.decode,
  );
  stream.on("error", () => undefined);
  onTestFinished(() => stream.cancel());
  const responses = stream[Symbol.asyncIterator]() as AsyncIterator<WatchResponse>;
  return {
    send: (message: Partial<WatchRequest>) => stream.write(message),
    next: async () => (await responses.next()).value,
  };
}

const put = (store: Store, key: string, value = "") => putKey(store, key, bytes(value));

describe("embedded server", () => {
  it("has what it answered on disk", async () => {
    const dir = testDir();
    const { endpoints } = await serve({ dir: `${dir}/data`, listen: [`unix:${dir}/s`] });
    const store = testClient(endpoints);
    for (let i = 0; i < 5; i++) {
      await Promise.all([put(store, `a${i}`), put(store, `b${i}`)]);
      // As if it had been killed here.
      mkdirSync(`${dir}/${i}`);
      copyFileSync(`${dir}/data/journal`, `${dir}/${i}/journal`);
      const copy = await serve({ dir: `${dir}/${i}` });
      expect((await testClient(copy.endpoints).range("", { prefix: true })).count).toBe(2 * (i + 1));
    }
  });

  it("stays shut when the disk fails, and is right again after a restart", async () => {
    const dir = testDir();
    const lines: string[] = [];
    const options = { dir: `${dir}/data`, rewriteBytes: 0 };
    const server = await startStoreServer({
      ...options,
      listen: [`unix:${dir}/s`],
      log: (_, line) => lines.push(line),
    });
    const store = testClient(server.endpoints, 300);
    const revision = await put(store, "a", "x".repeat(1000));
    // The journal cannot be written anew while something else has the name.
    mkdirSync(`${dir}/data/journal.new`);
    await expect(store.compact(revision)).rejects.toThrow("cannot be written");
    await expect(put(store, "b")).rejects.toThrow("cannot be written");
    await expect(getKey(store, "a")).rejects.toThrow("cannot be written");
    expect(lines).toHaveLength(1);
    await expect(server.close()).rejects.toThrow("cannot be written");
    expect(readdirSync(`${dir}/data`)).toEqual(["journal", "journal.new"]);
    const again = await serve({ ...options, rewriteBytes: 1e6, listen: [`unix:${dir}/s2`] });
    expect((await getKey(testClient(again.endpoints), "a"))?.modRevision).toBe(revision);
  });

  it("makes sockets for their owner alone and takes them away again", async () => {
    const dir = testDir();
    const server = await startStoreServer({ listen: [`unix:${dir}/s`] });
    expect(statSync(`${dir}/s`).mode & 0o777).toBe(0o600);
    const again = startStoreServer({ listen: [`unix:${dir}/s`] });
    await expect(again).rejects.toThrow(`store cannot listen on unix:${dir}/s: another server listens there`);
    await server.close();
    expect(readdirSync(dir)).toEqual([]);
    const long = `unix:${dir}/${"x".repeat(100)}`;
    await expect(startStoreServer({ listen: [long] })).rejects.toThrow("longer than 107 bytes");
  });

  it("takes the place of a socket whose server is gone", async () => {
    const dir = testDir();
    // A plain listener that is renamed away leaves its socket behind when it closes.
    const gone = createServer().listen(`${dir}/first`);
    await new Promise((resolve) => gone.once("listening", resolve));
    const { renameSync } = await import("node:fs");
    renameSync(`${dir}/first`, `${dir}/s`);
    await new Promise((resolve) => gone.close(resolve));
    expect(statSync(`${dir}/s`).isSocket()).toBe(true);
    const { endpoints } = await serve({ listen: [`unix:${dir}/s`] });
    expect(await put(testClient(endpoints), "a")).toBe(2);
  });

  it("says which address it cannot have, and leaves the directory free", async () => {
    const dir = testDir();
    const { endpoints } = await serve({ listen: ["127.0.0.1:0"] });
    const address = endpoints[0].replace("http://", "");
    const failing = startStoreServer({ dir, listen: [address] });
    await expect(failing).rejects.toThrow(`store cannot listen on ${address}: `);
    expect(readdirSync(dir)).toEqual(["journal"]);
    expect(readFileSync(`${dir}/journal`).length).toBeGreaterThan(0);
  });

  it("answers previous values, ignores value or lease, compares ranges", async () => {
    const { endpoints } = await serve();
    const client = raw(endpoints[0]);
    await call(client, KV.put, { key: "a", value: bytes("1") });
    const second = await call(client, KV.put, { key: "a", ignoreValue: true, lease: "0", prevKv: true });
    expect(second.prevKv).toMatchObject({ value: bytes("1"), version: 1 });
    const missing = call(client, KV.put, { key: "none", ignoreValue: true });
    await expect(missing).rejects.toThrow("INVALID_ARGUMENT: etcdserver: key not found");
    const given = call(client, KV.put, { key: "a", value: bytes("2"), ignoreValue: true });
    await expect(given).rejects.toThrow("INVALID_ARGUMENT: etcdserver: value is provided");
    await call(client, KV.put, { key: "b" });
    const compare = { result: 0, target: 0, key: "a", version: 2, rangeEnd: "b" };
    const txn = (rangeEnd: string) =>
      call(client, KV.txn, {
        compare: [{ ...compare, rangeEnd, createRevision: 0, modRevision: 0, value: bytes(""), lease: "0" }],
      });
    expect((await txn("b")).succeeded).toBe(true);
    expect((await txn("c")).succeeded).toBe(false);
    const nested = { range: undefined, put: undefined, delete: undefined, txn: {} };
    await expect(call(client, KV.txn, { success: [nested] })).rejects.toThrow(
      "UNIMPLEMENTED: podwire store: transactions inside",
    );
  });

  it("keeps several watches on one stream, with filters, ids, progress and cancel", async () => {
    const { endpoints } = await serve();
    const store = testClient(endpoints);
    const { send, next } = watchStream(raw(endpoints[0]));
    send({ create: watchCreate.make({ key: "a", filters: [1] }) });
    expect(await next()).toMatchObject({ watchId: 0, created: true, header: { revision: 1, raftTerm: 1 } });
    send({ create: watchCreate.make({ key: "a", filters: [0], watchId: 7 }) });
    expect(await next()).toMatchObject({ watchId: 7, created: true, canceled: false });
    send({ create: watchCreate.make({ key: "x", watchId: 7 }) });
    expect(await next()).toMatchObject({
      watchId: -1,
      created: true,
      canceled: true,
      cancelReason: expect.stringContaining("duplicate"),
    });
    await put(store, "a", "1");
    expect(await next()).toMatchObject({ watchId: 0, events: [{ type: 0, kv: { key: "a" } }] });
    await store.txn([], [{ type: "delete", key: "a" }]);
    expect(await next()).toMatchObject({
      watchId: 7,
      events: [{ type: 1, kv: { key: "a", modRevision: 3 } }],
    });
    send({ progress: {} });
    expect(await next()).toMatchObject({ watchId: -1, header: { revision: 3 }, events: [] });
    send({ cancel: { watchId: 0 } });
    expect(await next()).toMatchObject({ watchId: 0, canceled: true, compactRevision: 0 });
    await put(store, "a", "2");
    await store.txn([], [{ type: "delete", key: "a" }]);
    expect(await next()).toMatchObject({ watchId: 7, header: { revision: 5 } });
    await store.compact(5);
    send({ create: watchCreate.make({ key: "a", startRevision: 2 }) });
    expect(await next()).toMatchObject({ watchId: 1, created: true });
    expect(await next()).toMatchObject({ watchId: 1, canceled: true, compactRevision: 5 });
  });

  it("tells an idle watch that asks for it how far it is", async () => {
    const { endpoints } = await serve();
    const store = testClient(endpoints);
    await put(store, "other");
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    const { send, next } = watchStream(raw(endpoints[0]));
    send({ create: watchCreate.make({ key: "a" }) });
    send({ create: watchCreate.make({ key: "b", progressNotify: true }) });
    expect([await next(), await next()]).toMatchObject([{ created: true }, { created: true }]);
    await put(store, "other");
    vi.advanceTimersByTime(60_000);
    expect(await next()).toMatchObject({ watchId: 1, header: { revision: 3 }, events: [], canceled: false });
  });

  it("sends a slow reader everything", async () => {
    const { endpoints } = await serve();
    const store = testClient(endpoints);
    const value = new Uint8Array(20_000);
    for (let i = 0; i < 200; i++) await putKey(store, `k${i}`, value);
    const seen: number[] = [];
    for await (const { events } of store.watch("k", { prefix: true, fromRevision: 2 })) {
      if (seen.length === 0) await put(store, "k-last", "");
      seen.push(...events.map(({ kv }) => kv.modRevision));
      if (seen.length === 201) break;
    }
    expect(seen).toEqual(Array.from({ length: 201 }, (_, i) => i + 2));
  });
});
