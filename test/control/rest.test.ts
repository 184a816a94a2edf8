import { expect, it } from "vitest";
import type { Pod } from "../../src/kube/index.js";
import { Cluster, eventually, replicationController, service, settle } from "./cluster.js";

it("writes nothing when everything is as it should be, also after a new start", async () => {
  const cluster = await Cluster.start();
  await cluster.client.create("services", service("web"));
  await cluster.client.create("replicationcontrollers", replicationController("web", 5));
  await eventually(async () => expect((await cluster.addresses("web")).ready.length).toBe(5));
  const revision = async () => (await cluster.client.list<Pod>("pods")).metadata.resourceVersion;
  // The last of the events and statuses may still be on their way.
  const atRest = await eventually(async () => {
    const before = await revision();
    for (let turn = 0; turn < 5; turn++) await settle();
    expect(await revision()).toBe(before);
    return before;
  });
  await cluster.stopControllers();
  await cluster.startControllers();
  for (let turn = 0; turn < 10; turn++) await settle();
  expect(await revision()).toBe(atRest);
});
