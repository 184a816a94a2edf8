/** What a lab leaves in an etcd that outlives it: nothing, or everything. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  connectStore,
  putKey,
  type Store,
  type StoreServer,
  startStoreServer,
} from "../../src/store/index.js";
import { CrashLab } from "./crash-lab.js";

const dir = mkdtempSync(join(tmpdir(), "pwt-etcd-"));
const endpoint = `unix:${dir}/s`;
const lab = new CrashLab("extstore", { nodes: 1 });
let server: StoreServer;
let store: Store;

beforeAll(async () => {
  server = await startStoreServer({ dir: join(dir, "data"), listen: [endpoint] });
  store = connectStore({ endpoints: [endpoint] });
  await putKey(store, "/others/key", Buffer.from("theirs"));
});
afterAll(async () => {
  await lab.close();
  await store.close();
  await server.close();
  rmSync(dir, { recursive: true });
});

const keys = async () => (await store.range("/", { prefix: true, keysOnly: true })).kvs.map(({ key }) => key);

describe("an etcd that outlives the lab", () => {
  it("holds after `down` what it held before", async () => {
    await lab.up(lab.topology, "--store", endpoint);
    const during = await keys();
    expect(during).toContain("/registry/nodes/node-1");
    expect(during).toContain("/coreos.com/network/config");
    await lab.ok("down", lab.name);
    expect(await keys()).toEqual(["/others/key"]);
  });

  it("keeps the objects when asked to, and they are nobody's to delete then", async () => {
    await lab.up(lab.topology, "--store", endpoint);
    await lab.ok("down", lab.name, "--keep-store");
    expect(await keys()).toContain("/registry/nodes/node-1");
    await lab.up(lab.topology, "--store", endpoint);
    await lab.ok("down", lab.name);
    expect(await keys()).toContain("/registry/nodes/node-1");
    await store.txn([], [{ type: "delete", key: "/registry/", prefix: true }]);
    await store.txn([], [{ type: "delete", key: "/coreos.com/", prefix: true }]);
  });

  it("that is away: `down` says so and keeps its records, and --keep-store does without", async () => {
    await lab.up(lab.topology, "--store", endpoint);
    await server.close();
    const failed = await lab.podwire("down", lab.name);
    expect([failed.code, failed.stderr]).toEqual([
      1,
      expect.stringMatching(/objects in the store: .*--keep-store/),
    ]);
    await lab.ok("down", lab.name, "--keep-store");
    expect(await lab.podwire("status")).toMatchObject({ stderr: expect.stringContaining("no lab is up") });
  });
});
