import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type ApiServer,
  HttpKubeClient,
  Informer,
  type KubeClient,
  type Node,
  startApiServer,
} from "../../src/kube/index.js";
import { MemoryStore, type Store } from "../../src/store/index.js";

let dir: string;
const ends: (() => void | Promise<void>)[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "podwire-informer-"));
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  rmSync(dir, { recursive: true });
});

const node = (name: string, labels: Record<string, string> = {}): Node => ({ metadata: { name, labels } });
const socketPath = () => join(dir, "api.sock");

async function serve(store: Store, watchWindowEvents = 1000): Promise<ApiServer> {
  const server = await startApiServer({
    store,
    serviceCidrs: ["10.254.0.0/16"],
    listen: { socketPath: socketPath() },
    watchWindowEvents,
  });
  ends.push(() => server.close());
  return server;
}

/** An informer that notes what it is told. */
function inform(
  client: KubeClient,
  options = {},
): { informer: Informer<Node>; told: string[]; names: () => string[] } {
  const informer = new Informer<Node>(client, "nodes", options);
  const told: string[] = [];
  ends.push(() => informer.stop());
  informer.start({
    onAdd: (one) => told.push(`+${one.metadata?.name}`),
    onUpdate: (one, before) =>
      told.push(`~${one.metadata?.name} ${before.metadata?.labels?.v}->${one.metadata?.labels?.v}`),
    onDelete: (one) => told.push(`-${one.metadata?.name}`),
  });
  return {
    informer,
    told,
    names: () =>
      informer
        .items()
        .map((one) => one.metadata?.name ?? "")
        .sort(),
  };
}

async function relabel(client: KubeClient, name: string, labels: Record<string, string>): Promise<void> {
  const found = await client.get<Node>("nodes", undefined, name);
  await client.update<Node>("nodes", { ...found, metadata: { ...found.metadata, labels } });
}

describe("an informer", () => {
  it.each(["local", "http"])(
    "tells of what there is and of each change, over the %s client",
    async (kind) => {
      const server = await serve(new MemoryStore());
      const client = kind === "local" ? server.client : new HttpKubeClient({ socketPath: socketPath() });
      await server.client.create("nodes", node("a", { v: "1" }));
      const { informer, told, names } = inform(client);
      await informer.synced;
      expect(told).toEqual(["+a"]);
      await server.client.create("nodes", node("b", { v: "1" }));
      await relabel(server.client, "a", { v: "2" });
      await server.client.delete("nodes", undefined, "b");
      await expect.poll(() => told).toEqual(["+a", "+b", "~a 1->2", "-b"]);
      expect(names()).toEqual(["a"]);
    },
  );

  it("sees through its selector", async () => {
    const server = await serve(new MemoryStore());
    const { informer, told } = inform(server.client, { labelSelector: "v=1" });
    await informer.synced;
    await server.client.create("nodes", node("a", { v: "1" }));
    await server.client.create("nodes", node("b", { v: "2" }));
    await relabel(server.client, "a", { v: "2" });
    await relabel(server.client, "b", { v: "1" });
    await expect.poll(() => told).toEqual(["+a", "-a", "+b"]);
  });

  it("keeps what it knows while the server is away, and catches up after a restart", async () => {
    const store = new MemoryStore();
    const first = await serve(store);
    for (const name of ["a", "b", "c"]) await first.client.create("nodes", node(name, { v: "1" }));
    const { informer, told, names } = inform(new HttpKubeClient({ socketPath: socketPath() }));
    await informer.synced;
    expect(names()).toEqual(["a", "b", "c"]);
    told.length = 0;
    await first.close();
    expect(names()).toEqual(["a", "b", "c"]);
    // Meanwhile others write; this server is not where the informer looks.
    const aside = await startApiServer({ store, serviceCidrs: ["10.254.0.0/16"] });
    await aside.client.delete("nodes", undefined, "a");
    await relabel(aside.client, "b", { v: "2" });
    await aside.client.create("nodes", node("d"));
    await aside.close();
    await serve(store);
    await expect.poll(() => [...told].sort(), { timeout: 10_000 }).toEqual(["+d", "-a", "~b 1->2"]);
    expect(names()).toEqual(["b", "c", "d"]);
  });

  it("tells an object that was made anew from the one before", async () => {
    const store = new MemoryStore();
    const first = await serve(store);
    await first.client.create("nodes", node("a"));
    const { informer, told } = inform(new HttpKubeClient({ socketPath: socketPath() }));
    await informer.synced;
    await first.close();
    const aside = await startApiServer({ store, serviceCidrs: ["10.254.0.0/16"] });
    await aside.client.delete("nodes", undefined, "a");
    await aside.client.create("nodes", node("a"));
    await aside.close();
    await serve(store);
    await expect.poll(() => told, { timeout: 10_000 }).toEqual(["+a", "-a", "+a"]);
  });

  it("lists again when its version has expired", async () => {
    const server = await serve(new MemoryStore(), 4);
    const { client } = server;
    let lists = 0;
    let expire = true;
    // The first watch begins long after the list.
    const late: KubeClient = Object.assign(Object.create(client) as KubeClient, {
      list: (...args: Parameters<KubeClient["list"]>) => {
        lists++;
        return client.list(...args);
      },
      watch: async function* (...[resource, options]: Parameters<KubeClient["watch"]>) {
        if (expire) for (let index = 0; index < 12; index++) await client.create("nodes", node(`n${index}`));
        expire = false;
        // The window has moved on when a fresh watch has seen everything.
        let seen = 0;
        for await (const _ of client.watch("nodes")) if (++seen === 12) break;
        yield* client.watch(resource, options);
      },
    });
    const { informer, names } = inform(late);
    await informer.synced;
    await expect.poll(() => names().length, { timeout: 10_000 }).toBe(12);
    expect(lists).toBeGreaterThan(1);
  });

  it("waits for a server that is not there yet, and one that breaks connections off", async () => {
    const breaker = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => breaker.listen(socketPath(), resolve));
    const { informer, names } = inform(new HttpKubeClient({ socketPath: socketPath() }));
    await new Promise((resolve) => breaker.once("connection", resolve));
    await new Promise((resolve) => breaker.close(resolve));
    const server = await serve(new MemoryStore());
    await server.client.create("nodes", node("a"));
    await informer.synced;
    await expect.poll(names).toEqual(["a"]);
  });

  it("tells nothing after it was stopped", async () => {
    const server = await serve(new MemoryStore());
    const { informer, told } = inform(server.client);
    await informer.synced;
    informer.stop();
    await server.client.create("nodes", node("a"));
    const other = inform(server.client);
    await expect.poll(() => other.told).toEqual(["+a"]);
    expect(told).toEqual([]);
  });
});
