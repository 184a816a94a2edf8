import { expect, it, vi } from "vitest";
import type { Node, Pod } from "../../src/kube/index.js";
import { Cluster, eventually, replicationController, service, settle, VirtualTime } from "./cluster.js";

const ready = async (cluster: Cluster, name: string) =>
  (await cluster.client.get<Node>("nodes", undefined, name)).status?.conditions?.find(
    ({ type }) => type === "Ready",
  );

it("a silent node becomes Unknown and its endpoints go, until it is heard of again", async () => {
  const time = new VirtualTime();
  const cluster = await Cluster.start({
    nodes: ["n1", "n2"],
    nodeGraceMs: 4000,
    now: time.now,
    timers: time,
  });
  await cluster.client.create("services", service("web"));
  await cluster.client.create("replicationcontrollers", replicationController("web", 4));
  await eventually(async () => expect((await cluster.addresses("web")).ready.length).toBe(4));

  // n2 is silent from here on, n1 is heard of every second.
  for (let second = 2; second < 8; second++) {
    await time.advance(1000);
    await cluster.heartbeat("n1", second);
    await settle();
  }
  await eventually(async () => {
    expect(await ready(cluster, "n2")).toMatchObject({
      status: "Unknown",
      reason: "NodeStatusUnknown",
      message: "Kubelet stopped posting node status.",
    });
    expect((await ready(cluster, "n1"))?.status).toBe("True");
    const { ready: left, notReady } = await cluster.addresses("web");
    expect([left.length, notReady.length]).toEqual([2, 2]);
    expect(await cluster.sliceAddresses("web")).toEqual(left);
  });
  const lost = (await cluster.pods()).filter((one) => one.spec?.nodeName === "n2");
  for (const one of lost) {
    expect(one.status?.conditions?.find(({ type }) => type === "Ready")).toMatchObject({
      status: "False",
      reason: "NodeNotReady",
    });
  }
  expect((await cluster.events("NodeNotReady")).map((event) => event.message)).toEqual([
    "Node n2 status is now: NodeNotReady",
  ]);

  await cluster.heartbeat("n2", 9);
  await eventually(async () => expect((await cluster.addresses("web")).ready.length).toBe(4));
});

it("a pod that was not ready stays so when its node returns", async () => {
  const time = new VirtualTime();
  const cluster = await Cluster.start({ nodes: ["n1"], nodeGraceMs: 4000, now: time.now, timers: time });
  await cluster.client.create("replicationcontrollers", replicationController("web", 2));
  const [unready] = await eventually(async () => {
    const pods = (await cluster.pods()).filter((one) => one.status?.podIP);
    expect(pods.length).toBe(2);
    return pods.map((one) => one.metadata?.name ?? "");
  });
  await cluster.setPod(unready!, { ready: false });
  await settle();
  await time.advance(5000);
  await eventually(async () => expect((await ready(cluster, "n1"))?.status).toBe("Unknown"));
  await cluster.heartbeat("n1", 20);
  const isReady = (one: Pod) =>
    one.status?.conditions?.find(({ type }) => type === "Ready")?.status === "True";
  await eventually(async () => expect((await cluster.pods()).filter(isReady).length).toBe(1));
  expect(isReady(await cluster.client.get<Pod>("pods", "default", unready!))).toBe(false);
});

it("a node that never posted a status is Unknown too", async () => {
  const time = new VirtualTime();
  const cluster = await Cluster.start({ nodes: [], nodeGraceMs: 4000, now: time.now, timers: time });
  await cluster.addNode("n1", { ready: false });
  await settle();
  await time.advance(5000);
  await eventually(async () => {
    expect(await ready(cluster, "n1")).toMatchObject({ status: "Unknown", reason: "NodeStatusNeverUpdated" });
  });
});

it("that nothing can be written makes no node silent: all get their time again", async () => {
  const time = new VirtualTime();
  const cluster = await Cluster.start({ nodes: ["n1"], nodeGraceMs: 4000, now: time.now, timers: time });
  const away = vi.spyOn(cluster.client, "update").mockRejectedValue(new Error("the store is away"));
  await time.advance(5000);
  await eventually(async () => expect(away).toHaveBeenCalled());
  await settle();
  away.mockRestore();
  // The grace began anew when it was over for the first time, at 4 s.
  await time.advance(2000);
  await settle();
  expect((await ready(cluster, "n1"))?.status).toBe("True");
  expect(cluster.log.join()).not.toContain("has not been heard of");
  await time.advance(5000);
  await eventually(async () => expect((await ready(cluster, "n1"))?.status).toBe("Unknown"));
});

it.each([
  ["away", () => Promise.reject(new Error("the store is away"))],
  [
    "back after a while",
    async (time: VirtualTime, get: () => Promise<Node>) => {
      await time.advance(1000);
      return get();
    },
  ],
] as const)(
  "a store that is %s halfway makes no node silent, though it is there when the time is up",
  async (_, answer) => {
    const time = new VirtualTime();
    const cluster = await Cluster.start({ nodes: ["n1"], nodeGraceMs: 4000, now: time.now, timers: time });
    await settle();
    const get = cluster.client.get.bind(cluster.client);
    const asked = vi
      .spyOn(cluster.client, "get")
      .mockImplementation(() => answer(time, () => get<Node>("nodes", undefined, "n1")) as Promise<never>);
    await time.advance(2000);
    await eventually(async () => expect(asked).toHaveBeenCalled());
    await settle();
    asked.mockRestore();
    await time.advance(2500);
    await settle();
    expect((await ready(cluster, "n1"))?.status).toBe("True");
    expect(cluster.log.join()).not.toContain("has not been heard of");
    await time.advance(5000);
    await eventually(async () => expect((await ready(cluster, "n1"))?.status).toBe("Unknown"));
  },
);
