import { describe, expect, it } from "vitest";
import type { Endpoints, Node, Pod, ReplicationController, Service } from "../../src/kube/index.js";
import { Cluster, eventually, pod, replicationController, service } from "./cluster.js";

async function web(cluster: Cluster, count: number, spec: object = {}): Promise<string[]> {
  await cluster.client.create("services", service("web", spec));
  await cluster.client.create("replicationcontrollers", replicationController("web", count));
  return eventually(async () => {
    const { ready } = await cluster.addresses("web");
    expect(ready.length).toBe(count);
    expect(await cluster.sliceAddresses("web")).toEqual(ready);
    return (await cluster.pods()).map((one) => one.metadata?.name ?? "").sort();
  });
}

describe("a Service's endpoints", () => {
  it("are its ready pods, in Endpoints and in slices", async () => {
    const cluster = await Cluster.start();
    await web(cluster, 3);
    const endpoints = await cluster.client.get<Endpoints>("endpoints", "default", "web");
    expect(endpoints.subsets?.[0]?.ports).toEqual([{ port: 8080, protocol: "TCP" }]);
    const [slice] = await cluster.slices("web");
    const owner = await cluster.client.get<Service>("services", "default", "web");
    expect(slice).toMatchObject({
      addressType: "IPv4",
      ports: [{ name: "", port: 8080, protocol: "TCP" }],
      metadata: {
        labels: {
          "kubernetes.io/service-name": "web",
          "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        },
        ownerReferences: [
          { apiVersion: "v1", kind: "Service", name: "web", uid: owner.metadata?.uid, controller: true },
        ],
      },
    });
    for (const { conditions, nodeName, targetRef } of slice?.endpoints ?? []) {
      expect(conditions).toEqual({ ready: true, serving: true, terminating: false });
      expect(nodeName).toMatch(/^n[123]$/);
      expect(targetRef).toMatchObject({
        kind: "Pod",
        namespace: "default",
        name: expect.stringMatching(/^web-/),
      });
    }
  });

  it("are in a slice without ports when they lack the port's name, and then in no Endpoints", async () => {
    const cluster = await Cluster.start();
    await cluster.client.create(
      "services",
      service("web", { ports: [{ port: 80, targetPort: "nameless" }] }),
    );
    await cluster.client.create("replicationcontrollers", replicationController("web", 2));
    await eventually(async () => {
      const slices = await cluster.slices("web");
      expect(slices.map(({ ports, endpoints }) => [ports ?? [], endpoints.length])).toEqual([[[], 2]]);
    });
    expect((await cluster.client.get<Endpoints>("endpoints", "default", "web")).subsets ?? []).toEqual([]);
  });

  it("carry the time of the change that they were written for, while it is known", async () => {
    const cluster = await Cluster.start();
    const [name] = await web(cluster, 2);
    const annotation = async () => {
      const [slice] = await cluster.slices("web");
      return slice?.metadata?.annotations?.["endpoints.kubernetes.io/last-change-trigger-time"];
    };
    const { status } = await cluster.client.get<Pod>("pods", "default", name!);
    const ready = status?.conditions?.find(({ type }) => type === "Ready");
    expect(await annotation()).toBe(new Date(ready?.lastTransitionTime ?? "").toISOString());
    const controllers = "replicationcontrollers";
    const stored = await cluster.client.get<ReplicationController>(controllers, "default", "web");
    await cluster.client.update(controllers, { ...stored, spec: { ...stored.spec, replicas: 1 } });
    await eventually(async () => expect(await cluster.sliceAddresses("web")).toHaveLength(1));
    expect(await annotation()).toBeUndefined();
  });

  it("move between ready and not ready with the pod", async () => {
    const cluster = await Cluster.start();
    const [name] = await web(cluster, 2);
    await cluster.setPod(name!, { ready: false });
    await eventually(async () => {
      const { ready, notReady } = await cluster.addresses("web");
      expect([ready.length, notReady.length]).toEqual([1, 1]);
      expect(await cluster.sliceAddresses("web")).toEqual(ready);
    });
    const [slice] = await cluster.slices("web");
    expect(slice?.endpoints.find(({ targetRef }) => targetRef?.name === name)?.conditions).toEqual({
      ready: false,
      serving: false,
      terminating: false,
    });
    await cluster.setPod(name!, { ready: true });
    await eventually(async () => expect((await cluster.addresses("web")).ready.length).toBe(2));
  });

  it("show a pod that terminates in slices only, while it still serves", async () => {
    const cluster = await Cluster.start({ kubelet: false });
    await cluster.client.create("services", service("web"));
    await cluster.client.create("pods", pod("p", { app: "web" }));
    await cluster.setPod("p", { ready: true });
    await eventually(async () => expect((await cluster.addresses("web")).ready.length).toBe(1));
    await cluster.client.delete("pods", "default", "p", { gracePeriodSeconds: 30 });
    await eventually(async () => expect(await cluster.addresses("web")).toEqual({ ready: [], notReady: [] }));
    await eventually(async () => {
      const [slice] = await cluster.slices("web");
      expect(slice?.endpoints.map(({ conditions }) => conditions)).toEqual([
        { ready: false, serving: true, terminating: true },
      ]);
    });
  });

  it("may be published before they are ready", async () => {
    const cluster = await Cluster.start({ kubelet: false });
    await cluster.client.create(
      "services",
      service("web", { publishNotReadyAddresses: true, clusterIP: "None" }),
    );
    await cluster.client.create("pods", pod("p", { app: "web" }));
    await cluster.setPod("p", { ready: false, ip: "10.244.9.9" });
    await eventually(async () => {
      expect((await cluster.addresses("web")).ready).toEqual(["10.244.9.9"]);
      expect(await cluster.sliceAddresses("web")).toEqual(["10.244.9.9"]);
    });
    const [slice] = await cluster.slices("web");
    expect(slice?.endpoints[0]?.conditions).toEqual({ ready: true, serving: false, terminating: false });
    expect(slice?.metadata?.labels).toHaveProperty(["service.kubernetes.io/headless"], "");
  });

  it("exist, empty, for a selector that matches nothing, and follow its changes", async () => {
    const cluster = await Cluster.start();
    await web(cluster, 2);
    const found = await cluster.client.get<Service>("services", "default", "web");
    const select = (app: string) =>
      cluster.client.update<Service>("services", {
        ...found,
        metadata: { name: "web", namespace: "default" },
        spec: { ...found.spec, selector: { app } },
      });
    await select("nobody");
    await eventually(async () => {
      expect(await cluster.addresses("web")).toEqual({ ready: [], notReady: [] });
      expect((await cluster.slices("web")).map(({ endpoints }) => endpoints)).toEqual([[]]);
    });
    await select("web");
    await eventually(async () => {
      expect((await cluster.addresses("web")).ready.length).toBe(2);
      expect((await cluster.sliceAddresses("web")).length).toBe(2);
    });
    expect((await cluster.slices("web")).length).toBe(1);
  });

  it("go with the Service", async () => {
    const cluster = await Cluster.start();
    await web(cluster, 1);
    await cluster.client.delete("services", "default", "web");
    await eventually(async () => {
      expect(await cluster.list("endpoints")).toEqual([]);
      expect(await cluster.list("endpointslices")).toEqual([]);
    });
  });

  it("come back when somebody deletes or changes them", async () => {
    const cluster = await Cluster.start();
    await web(cluster, 2);
    await cluster.client.delete("endpoints", "default", "web");
    const [slice] = await cluster.slices("web");
    await cluster.client.update("endpointslices", { ...slice!, endpoints: [] });
    await eventually(async () => {
      expect((await cluster.addresses("web")).ready.length).toBe(2);
      expect((await cluster.sliceAddresses("web")).length).toBe(2);
    });
  });

  it("are left to the user where the Service has no selector", async () => {
    const cluster = await Cluster.start();
    const mine: Endpoints = {
      apiVersion: "v1",
      kind: "Endpoints",
      metadata: { name: "db", namespace: "default" },
      subsets: [{ addresses: [{ ip: "192.0.2.1" }], ports: [{ port: 5432 }] }],
    };
    await cluster.client.create("endpoints", mine);
    await cluster.client.create("services", { ...service("db", { selector: undefined }) });
    await eventually(async () => expect(await cluster.sliceAddresses("db")).toEqual(["192.0.2.1"]));
    expect((await cluster.addresses("db")).ready).toEqual(["192.0.2.1"]);
    await cluster.client.delete("services", "default", "db");
    await eventually(async () => expect(await cluster.list("endpoints")).toEqual([]));
  });

  it("are in slices of each family that the Service has, and in Endpoints of the first", async () => {
    const cluster = await Cluster.start({ api: { serviceCidrs: ["10.96.0.0/16", "fd00:96::/112"] } });
    const spec = { ipFamilyPolicy: "RequireDualStack", ipFamilies: ["IPv6", "IPv4"] };
    await cluster.client.create("services", service("web", spec));
    await cluster.client.create("pods", pod("one", { app: "web" }));
    const families = async () =>
      (await cluster.slices("web")).map(({ addressType, endpoints }) => [
        addressType,
        endpoints[0]?.addresses,
      ]);
    await eventually(async () => {
      expect(new Map((await families()) as [string, string[]][])).toEqual(
        new Map([
          ["IPv4", ["10.244.0.1"]],
          ["IPv6", ["fd00:244::1"]],
        ]),
      );
      expect((await cluster.addresses("web")).ready).toEqual(["fd00:244::1"]);
    });
    const found = await cluster.client.get<Service>("services", "default", "web");
    const single = { ...found.spec, ipFamilyPolicy: "SingleStack" };
    await cluster.client.update("services", { ...found, spec: single });
    await eventually(async () => expect(await families()).toEqual([["IPv6", ["fd00:244::1"]]]));
  });

  it("carry the zone of their node, and hints for it when the Service prefers near ones", async () => {
    const cluster = await Cluster.start({ nodes: [] });
    const zone = (name: string) => ({ "topology.kubernetes.io/zone": name });
    await cluster.addNode("n1", { labels: zone("a") });
    await cluster.client.create("services", service("web", { trafficDistribution: "PreferSameNode" }));
    await cluster.client.create("pods", pod("one", { app: "web" }, { nodeName: "n1" }));
    const endpoint = async () => (await cluster.slices("web"))[0]?.endpoints[0];
    await eventually(async () =>
      expect(await endpoint()).toMatchObject({
        zone: "a",
        nodeName: "n1",
        hints: { forZones: [{ name: "a" }], forNodes: [{ name: "n1" }] },
      }),
    );
    const node = await cluster.client.get<Node>("nodes", undefined, "n1");
    await cluster.client.update<Node>("nodes", {
      ...node,
      metadata: { ...node.metadata, labels: zone("b") },
    });
    await eventually(async () => expect(await endpoint()).toMatchObject({ zone: "b" }));
  });

  it("of 250 pods are in three slices, and one change rewrites one of them", async () => {
    const cluster = await Cluster.start({ kubelet: false });
    await cluster.stopControllers();
    await cluster.client.create("services", service("web"));
    for (let id = 0; id < 250; id++) {
      await cluster.client.create("pods", pod(`p-${id}`, { app: "web" }, { nodeName: "n1" }));
      await cluster.setPod(`p-${id}`, { ready: true });
    }
    await cluster.startControllers();
    await eventually(async () => expect((await cluster.sliceAddresses("web")).length).toBe(250));
    const before = await cluster.slices("web");
    expect(before.map(({ endpoints }) => endpoints.length).sort()).toEqual([100, 100, 50]);
    await eventually(async () => expect((await cluster.addresses("web")).ready.length).toBe(250));
    await cluster.setPod("p-17", { ready: false });
    await eventually(async () => expect((await cluster.sliceAddresses("web")).length).toBe(249));
    const versions = (slices: typeof before) =>
      new Map(slices.map(({ metadata }) => [metadata?.name, metadata?.resourceVersion]));
    const old = versions(before);
    const changed = [...versions(await cluster.slices("web"))].filter(
      ([name, version]) => old.get(name) !== version,
    );
    expect(changed.length).toBe(1);
  }, 30_000);
});
