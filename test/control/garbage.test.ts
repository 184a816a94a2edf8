import { describe, expect, it } from "vitest";
import type { KubeObject, Pod } from "../../src/kube/index.js";
import { Cluster, eventually, pod, replicationController, settle, VirtualTime } from "./cluster.js";

describe("garbage", () => {
  it("are the pods of a deleted ReplicationController, and no others", async () => {
    const cluster = await Cluster.start();
    await cluster.client.create("pods", pod("alone", { app: "db" }));
    await cluster.client.create("replicationcontrollers", replicationController("web", 3));
    await eventually(async () => expect((await cluster.pods()).length).toBe(4));
    await cluster.client.delete("replicationcontrollers", "default", "web");
    await eventually(async () => {
      expect((await cluster.list<Pod>("pods")).map((one) => one.metadata?.name)).toEqual(["alone"]);
    });
  });

  it("is found when the owner went while nobody watched", async () => {
    const cluster = await Cluster.start();
    await cluster.client.create("replicationcontrollers", replicationController("web", 2));
    await eventually(async () => expect((await cluster.pods()).length).toBe(2));
    await cluster.stopControllers();
    await cluster.client.delete("replicationcontrollers", "default", "web");
    // One of the same name is another owner.
    await cluster.client.create("replicationcontrollers", replicationController("web", 0));
    await cluster.startControllers();
    await eventually(async () => expect(await cluster.list("pods")).toEqual([]));
  });

  it("is not what its owner leaves behind, and a new owner takes it over", async () => {
    const cluster = await Cluster.start();
    await cluster.client.create("replicationcontrollers", replicationController("web", 3));
    await eventually(async () => expect((await cluster.pods()).length).toBe(3));
    const uids = async () => (await cluster.pods()).map((one) => one.metadata?.uid).sort();
    const before = await uids();
    await cluster.client.delete("replicationcontrollers", "default", "web", { propagationPolicy: "Orphan" });
    await eventually(async () => expect(await cluster.list("replicationcontrollers")).toEqual([]));
    await settle();
    expect(await uids()).toEqual(before);
    for (const { metadata } of await cluster.pods()) expect(metadata?.ownerReferences ?? []).toEqual([]);
    const created = await cluster.client.create<KubeObject>(
      "replicationcontrollers",
      replicationController("web", 3),
    );
    await eventually(async () => {
      for (const { metadata } of await cluster.pods())
        expect(metadata?.ownerReferences?.[0]?.uid).toBe(created.metadata?.uid);
    });
    expect(await uids()).toEqual(before);
  });

  it("is not what was to be left behind while no controller worked", async () => {
    const cluster = await Cluster.start();
    await cluster.client.create("replicationcontrollers", replicationController("web", 2));
    await eventually(async () => expect((await cluster.pods()).length).toBe(2));
    await cluster.stopControllers();
    await cluster.client.delete("replicationcontrollers", "default", "web", { propagationPolicy: "Orphan" });
    const waiting = await cluster.list<Pod>("replicationcontrollers");
    expect(waiting[0]?.metadata).toMatchObject({
      finalizers: ["orphan"],
      deletionTimestamp: expect.any(String),
    });
    await cluster.startControllers();
    await eventually(async () => expect(await cluster.list("replicationcontrollers")).toEqual([]));
    await settle();
    expect((await cluster.pods()).length).toBe(2);
  });

  it("is not what has an owner of an unknown kind", async () => {
    const cluster = await Cluster.start();
    const owned = pod("p", {});
    const ownerReferences = [{ apiVersion: "example.com/v1", kind: "Robot", name: "r", uid: "1" }];
    await cluster.client.create("pods", { ...owned, metadata: { ...owned.metadata, ownerReferences } });
    await settle();
    expect((await cluster.pods()).length).toBe(1);
  });
});

describe("pods of a deleted node", () => {
  it("are deleted after the grace period", async () => {
    const time = new VirtualTime();
    const cluster = await Cluster.start({ nodes: ["n1"], nodeGraceMs: 4000, now: time.now, timers: time });
    await cluster.client.create("replicationcontrollers", replicationController("web", 2));
    await eventually(async () =>
      expect((await cluster.pods()).filter((one) => one.status?.podIP).length).toBe(2),
    );
    const before = (await cluster.pods()).map((one) => one.metadata?.name);
    await cluster.client.delete("nodes", undefined, "n1");
    await settle();
    await time.advance(3000);
    await settle();
    expect((await cluster.pods()).map((one) => one.metadata?.name)).toEqual(before);
    await eventually(async () => {
      await time.advance(1000);
      const pods = await cluster.pods();
      // The ReplicationController made others, which wait for a node.
      expect(pods.map((one) => one.spec?.nodeName ?? "")).toEqual(["", ""]);
    });
  });
});
