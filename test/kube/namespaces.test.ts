import { afterEach, expect, it } from "vitest";
import type { Namespace, Pod, WatchEvent } from "../../src/kube/index.js";
import { boundPod, controller, type Lab, pod, refusal, service, startLab } from "./harness.js";

const labs: Lab[] = [];
afterEach(async () => {
  for (const lab of labs.splice(0)) await lab.close();
});
async function start(options: Parameters<typeof startLab>[0] = {}): Promise<Lab> {
  const lab = await startLab(options);
  labs.push(lab);
  return lab;
}

const inTeam = <T extends { metadata?: object }>(object: T): T => ({
  ...object,
  metadata: { ...object.metadata, namespace: "team" },
});

/** Resolves when the namespace is gone. */
async function gone(lab: Lab, name: string): Promise<void> {
  const stop = new AbortController();
  const options = { fieldSelector: `metadata.name=${name}`, signal: stop.signal };
  for await (const event of lab.http.watch<Namespace>("namespaces", options) as AsyncIterable<
    WatchEvent<Namespace>
  >) {
    if (event.type === "DELETED") return stop.abort();
  }
}

async function fill(lab: Lab): Promise<void> {
  await lab.local.create<Namespace>("namespaces", { metadata: { name: "team" } });
  await lab.local.create("pods", inTeam(pod("free")));
  await lab.local.create("services", inTeam(service("web", { clusterIP: "10.254.4.4" })));
  await lab.local.create("replicationcontrollers", inTeam(controller("web", 1)));
}

it("a namespace goes with its contents, once its pods have ended, and takes nothing in meanwhile", async () => {
  const lab = await start();
  await fill(lab);
  await lab.local.create("pods", inTeam(boundPod("bound", "n1")));
  const deleted = gone(lab, "team");
  await lab.http.delete("namespaces", undefined, "team");
  const terminating = await lab.http.get<Namespace>("namespaces", undefined, "team");
  expect(terminating).toMatchObject({
    status: { phase: "Terminating" },
    metadata: { deletionTimestamp: expect.any(String) },
  });
  expect(await refusal(lab.http.create("pods", inTeam(pod("late"))))).toMatchObject({
    code: 403,
    reason: "Forbidden",
    message:
      'pods "late" is forbidden: unable to create new content in namespace team because it is being terminated',
    details: { causes: [{ reason: "NamespaceTerminating" }] },
  });
  await expect.poll(async () => (await lab.local.list("services", { namespace: "team" })).items).toEqual([]);
  await expect
    .poll(async () => (await lab.local.get<Pod>("pods", "team", "bound")).metadata?.deletionTimestamp)
    .toBeDefined();
  // The kubelet reports that it has ended.
  await lab.http.delete("pods", "team", "bound", { gracePeriodSeconds: 0 });
  await deleted;
  for (const resource of ["pods", "services", "replicationcontrollers"] as const) {
    expect((await lab.local.list(resource, { namespace: "team" })).items).toEqual([]);
  }
  await lab.local.create("services", service("web", { clusterIP: "10.254.4.4" }));
});

it("a deletion that a restart interrupts goes on", async () => {
  const first = await startLab();
  await fill(first);
  await first.local.create("pods", inTeam(boundPod("bound", "n1")));
  await first.local.delete("namespaces", undefined, "team");
  await first.close();
  const lab = await start({ store: first.store });
  const deleted = gone(lab, "team");
  await lab.local.delete("pods", "team", "bound", { gracePeriodSeconds: 0 });
  await deleted;
});

it("creates that race with the deletion of their namespace leave nothing behind", async () => {
  const lab = await start();
  await fill(lab);
  const deleted = gone(lab, "team");
  const creates = Array.from({ length: 20 }, (_, index) => lab.http.create("pods", inTeam(pod(`p${index}`))));
  await Promise.allSettled([
    ...creates.slice(0, 10),
    lab.http.delete("namespaces", undefined, "team"),
    ...creates.slice(10),
  ]);
  await deleted;
  expect((await lab.store.range("/registry/pods/team/", { prefix: true })).kvs).toEqual([]);
});

it("a namespace with somebody's finalizer stays until it is taken off", async () => {
  const lab = await start();
  await lab.local.create<Namespace>("namespaces", {
    metadata: { name: "team", finalizers: ["podwire.test/hold"] },
  });
  const deleted = gone(lab, "team");
  await lab.local.delete("namespaces", undefined, "team");
  const held = await lab.local.get<Namespace>("namespaces", undefined, "team");
  await lab.local.update<Namespace>("namespaces", {
    ...held,
    metadata: { ...held.metadata, finalizers: [] },
  });
  await deleted;
});

it("namespaces carry the label of their name", async () => {
  const lab = await start();
  const made = await lab.local.create<Namespace>("namespaces", { metadata: { name: "team" } });
  expect(made).toMatchObject({
    metadata: { labels: { "kubernetes.io/metadata.name": "team" } },
    spec: { finalizers: ["kubernetes"] },
    status: { phase: "Active" },
  });
});
