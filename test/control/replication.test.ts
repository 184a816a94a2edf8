import { describe, expect, it } from "vitest";
import type { Pod, ReplicaSet, ReplicationController } from "../../src/kube/index.js";
import { Cluster, eventually, pod, podTemplate, replicationController, settle } from "./cluster.js";

const status = async (cluster: Cluster) =>
  (await cluster.client.get<ReplicationController>("replicationcontrollers", "default", "web")).status;

const names = (pods: readonly Pod[]) => pods.map((one) => one.metadata?.name ?? "").sort();

async function replicas(cluster: Cluster, count: number): Promise<Pod[]> {
  return eventually(async () => {
    const pods = await cluster.pods();
    expect(pods.length).toBe(count);
    const counts = {
      replicas: count,
      readyReplicas: count,
      availableReplicas: count,
      fullyLabeledReplicas: count,
    };
    const { observedGeneration, ...found } = { ...counts, ...(await status(cluster)) };
    expect(found).toMatchObject(counts);
    expect(observedGeneration).toBeGreaterThan(0);
    return pods;
  });
}

describe("a ReplicationController", () => {
  it("goes from 0 to 5 to 0 pods", async () => {
    const cluster = await Cluster.start();
    await cluster.client.create("replicationcontrollers", replicationController("web", 0));
    await replicas(cluster, 0);
    await cluster.scale("replicationcontrollers", "web", 5);
    const pods = await replicas(cluster, 5);
    const owner = await cluster.client.get<ReplicationController>("replicationcontrollers", "default", "web");
    for (const one of pods) {
      expect(one.metadata?.name).toMatch(/^web-[a-z0-9]{5}$/);
      expect(one.metadata?.labels).toEqual({ app: "web" });
      expect(one.metadata?.ownerReferences).toEqual([
        {
          apiVersion: "v1",
          kind: "ReplicationController",
          name: "web",
          uid: owner.metadata?.uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ]);
    }
    await cluster.scale("replicationcontrollers", "web", 0);
    await replicas(cluster, 0);
    // Not one more than was asked for was ever made.
    await eventually(async () => {
      const created = (await cluster.events("SuccessfulCreate")).map((event) => event.message);
      expect(created.sort()).toEqual(names(pods).map((name) => `Created pod: ${name}`));
      const deleted = (await cluster.events("SuccessfulDelete")).map((event) => event.message);
      expect(deleted.sort()).toEqual(names(pods).map((name) => `Deleted pod: ${name}`));
    });
  });

  it("replaces pods that are deleted or have ended", async () => {
    const cluster = await Cluster.start();
    await cluster.client.create("replicationcontrollers", replicationController("web", 3));
    const [first, second, third] = names(await replicas(cluster, 3));
    await cluster.client.delete("pods", "default", first!);
    await cluster.setPod(second!, { phase: "Failed", ready: false });
    await eventually(async () => {
      const pods = await cluster.pods();
      const active = pods.filter((one) => one.status?.phase === "Running");
      expect(active.length).toBe(3);
      expect(names(active)).toContain(third);
      expect(names(active)).not.toContain(second);
    });
    expect((await cluster.pods()).length).toBe(4);
  });

  it("adopts pods that match, and lets go of those that do not any more", async () => {
    const cluster = await Cluster.start();
    await cluster.client.create("pods", pod("orphan", { app: "web" }));
    await cluster.client.create("pods", pod("stranger", { app: "db" }));
    await cluster.client.create("replicationcontrollers", replicationController("web", 2));
    await eventually(async () => {
      const pods = await cluster.pods();
      expect(pods.filter((one) => one.metadata?.ownerReferences?.length).length).toBe(2);
      expect(pods.length).toBe(3);
    });
    await eventually(async () => {
      const orphan = await cluster.client.get<Pod>("pods", "default", "orphan");
      await cluster.client.update<Pod>("pods", {
        ...orphan,
        metadata: { ...orphan.metadata, labels: { app: "free" } },
      });
    });
    await eventually(async () => {
      expect((await cluster.pods()).length).toBe(4);
      const orphan = await cluster.client.get<Pod>("pods", "default", "orphan");
      expect(orphan.metadata?.ownerReferences ?? []).toEqual([]);
    });
  });

  it("gives up the pod that is not ready first", async () => {
    const cluster = await Cluster.start();
    await cluster.client.create("replicationcontrollers", replicationController("web", 4));
    const before = names(await replicas(cluster, 4));
    await cluster.setPod(before[2]!, { ready: false });
    await eventually(async () => expect((await status(cluster))?.readyReplicas).toBe(3));
    await cluster.scale("replicationcontrollers", "web", 3);
    const after = names(await replicas(cluster, 3));
    expect(after).toEqual(before.filter((_, index) => index !== 2));
  });

  it("makes no pod twice when the controllers start anew", async () => {
    const cluster = await Cluster.start();
    await cluster.client.create("replicationcontrollers", replicationController("web", 5));
    const before = names(await replicas(cluster, 5));
    await cluster.stopControllers();
    await cluster.client.delete("pods", "default", before[0]!);
    await cluster.startControllers();
    const after = names(await replicas(cluster, 5));
    await settle();
    expect(after.filter((name) => before.includes(name))).toEqual(before.slice(1));
    expect((await cluster.pods()).length).toBe(5);
  });
});

it("a ReplicaSet does the same with a set-based selector", async () => {
  const cluster = await Cluster.start();
  await cluster.client.create<ReplicaSet>("replicasets", {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: { name: "web", namespace: "default" },
    spec: {
      replicas: 3,
      selector: { matchExpressions: [{ key: "app", operator: "In", values: ["web", "www"] }] },
      template: podTemplate("web"),
    },
  });
  await cluster.client.create("pods", pod("other", { app: "www" }));
  await eventually(async () => {
    const owned = (await cluster.pods()).filter(
      (one) => one.metadata?.ownerReferences?.[0]?.kind === "ReplicaSet",
    );
    expect(owned.length).toBe(3);
    const { status: found } = await cluster.client.get<ReplicaSet>("replicasets", "default", "web");
    expect(found).toMatchObject({ replicas: 3, readyReplicas: 3, availableReplicas: 3 });
  });
});
