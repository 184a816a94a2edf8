import { describe, expect, it } from "vitest";
import type { Namespace, Service } from "../../src/kube/index.js";
import { take } from "../kube/harness.js";
import { Cluster, eventually, pod, service } from "./cluster.js";

const SERVICES = "/api/v1/namespaces/default/services";
const start = () => Cluster.start({ http: true });
const get = (cluster: Cluster, name: string) => cluster.client.get<Service>("services", "default", name);
const post = (cluster: Cluster, name: string, spec: object) =>
  cluster.raw("POST", SERVICES, service(name, spec));

/** Changes a Service as a user does who reads, edits and writes back. */
async function change(cluster: Cluster, name: string, spec: object): Promise<Service> {
  const found = await get(cluster, name);
  return cluster.client.update<Service>("services", { ...found, spec: { ...found.spec, ...spec } });
}
const EXTERNAL = { type: "ExternalName", externalName: "foo.example.com", selector: undefined, ports: [] };

describe("types of Services", () => {
  it("[sig-network] Services should be able to change the type from ExternalName to ClusterIP", async () => {
    const cluster = await start();
    await post(cluster, "externalname-service", EXTERNAL);
    const changed = await change(cluster, "externalname-service", {
      type: "ClusterIP",
      externalName: "",
      ports: [{ name: "http", port: 80, protocol: "TCP" }],
    });
    expect(changed.spec).toMatchObject({
      clusterIP: expect.stringMatching(/^10\.96\./),
      ipFamilies: ["IPv4"],
    });
    expect((await cluster.client.list("ipaddresses")).items).toHaveLength(1);
  });

  it("[sig-network] Services should be able to change the type from ExternalName to NodePort", async () => {
    const cluster = await start();
    await post(cluster, "externalname-service", EXTERNAL);
    const changed = await change(cluster, "externalname-service", {
      type: "NodePort",
      externalName: "",
      ports: [{ name: "http", port: 80, protocol: "TCP" }],
    });
    expect(changed.spec?.ports?.[0]?.nodePort).toBeGreaterThanOrEqual(30000);
    expect(changed.spec).toMatchObject({ clusterIP: expect.stringMatching(/^10\.96\./) });
  });

  it("[sig-network] Services should be able to change the type from ClusterIP to ExternalName", async () => {
    const cluster = await start();
    const made = (await post(cluster, "clusterip-service", {})).json as Service;
    const changed = await change(cluster, "clusterip-service", {
      type: "ExternalName",
      externalName: "foo.example.com",
    });
    expect(changed.spec?.clusterIP).toBeUndefined();
    expect(changed.spec?.clusterIPs).toBeUndefined();
    expect((await cluster.client.list("ipaddresses")).items).toEqual([]);
    // Its address is free for others.
    expect((await post(cluster, "heir", { clusterIP: made.spec?.clusterIP })).code).toBe(201);
  });

  it("[sig-network] Services should be able to change the type from NodePort to ExternalName", async () => {
    const cluster = await start();
    const made = (await post(cluster, "nodeport-service", { type: "NodePort" })).json as Service;
    const nodePort = made.spec?.ports?.[0]?.nodePort;
    const changed = await change(cluster, "nodeport-service", {
      type: "ExternalName",
      externalName: "foo.example.com",
    });
    expect(changed.spec?.clusterIP).toBeUndefined();
    expect(changed.spec?.ports?.[0]?.nodePort).toBeUndefined();
    const heir = await post(cluster, "heir", { type: "NodePort", ports: [{ port: 80, nodePort }] });
    expect(heir.code).toBe(201);
  });
});

describe("node ports", () => {
  it("[sig-network] Services should prevent NodePort collisions", async () => {
    const cluster = await start();
    const first = (await post(cluster, "nodeport-collision-1", { type: "NodePort" })).json as Service;
    const spec = { type: "NodePort", ports: [{ port: 80, nodePort: first.spec?.ports?.[0]?.nodePort }] };
    const second = await post(cluster, "nodeport-collision-2", spec);
    expect(second).toMatchObject({
      code: 422,
      json: { message: expect.stringMatching(/provided port is already allocated/) },
    });
    await cluster.client.delete("services", "default", "nodeport-collision-1");
    expect((await post(cluster, "nodeport-collision-2", spec)).code).toBe(201);
  });

  it("[sig-network] Services should check NodePort out-of-range", async () => {
    const cluster = await start();
    await post(cluster, "nodeport-range-test", { type: "NodePort" });
    const port = { port: 80, nodePort: 1 };
    const message = /provided port is not in the valid range\. The range of valid ports is 30000-32767/;
    const found = await get(cluster, "nodeport-range-test");
    const spec = { ...found.spec, ports: [{ ...found.spec?.ports?.[0], ...port }] };
    const refused = { code: 422, json: { message: expect.stringMatching(message) } };
    expect(await cluster.raw("PUT", `${SERVICES}/nodeport-range-test`, { ...found, spec })).toMatchObject(
      refused,
    );
    await cluster.client.delete("services", "default", "nodeport-range-test");
    expect(await post(cluster, "nodeport-range-test", { type: "NodePort", ports: [port] })).toMatchObject(
      refused,
    );
  });

  it("[sig-network] Services should release NodePorts on delete", async () => {
    const cluster = await start();
    const first = (await post(cluster, "nodeport-reuse", { type: "NodePort" })).json as Service;
    const nodePort = first.spec?.ports?.[0]?.nodePort;
    await cluster.client.delete("services", "default", "nodeport-reuse");
    const again = await post(cluster, "nodeport-reuse", {
      type: "NodePort",
      ports: [{ port: 80, nodePort }],
    });
    expect(again).toMatchObject({ code: 201, json: { spec: { ports: [{ nodePort }] } } });
  });
});

describe("the API of Services", () => {
  it("[sig-network] Services should find a service from listing all namespaces", async () => {
    const cluster = await start();
    await cluster.client.create<Namespace>("namespaces", { metadata: { name: "other" } });
    await cluster.client.create("services", {
      ...service("mine"),
      metadata: { name: "mine", namespace: "other" },
    });
    const { items } = (await cluster.raw("GET", "/api/v1/services")).json as { items: Service[] };
    expect(items.map(({ metadata }) => `${metadata?.namespace}/${metadata?.name}`)).toContain("other/mine");
  });

  it("[sig-network] Services should delete a collection of services", async () => {
    const cluster = await start();
    const labelled = (name: string, label: string) => {
      const made = service(name);
      return { ...made, metadata: { ...made.metadata, labels: { "e2e-test": label } } };
    };
    for (const name of ["e2e-svc-a", "e2e-svc-b"]) await cluster.raw("POST", SERVICES, labelled(name, "a"));
    await cluster.raw("POST", SERVICES, labelled("e2e-svc-c", "c"));
    expect((await cluster.raw("DELETE", `${SERVICES}?labelSelector=e2e-test%3Da`)).code).toBe(200);
    const left = await cluster.list<Service>("services");
    expect(left.map(({ metadata }) => metadata?.name)).toEqual(["e2e-svc-c"]);
    await eventually(async () => expect(await cluster.slices("e2e-svc-a")).toEqual([]));
  });

  it("[sig-network] Services should complete a service status lifecycle", async () => {
    const cluster = await start();
    const labelSelector = "test-service-static=true";
    const made = {
      ...service("test-service", { type: "LoadBalancer", loadBalancerClass: "example.com/internal-vip" }),
      metadata: { name: "test-service", labels: { "test-service-static": "true" } },
    };
    const before = await cluster.client.list("services", { labelSelector });
    const events = cluster.client
      .watch<Service>("services", { resourceVersion: before.metadata.resourceVersion!, labelSelector })
      [Symbol.asyncIterator]();
    const next = async () => {
      const { value } = await events.next();
      return value as { type: string; object: Service };
    };
    expect((await cluster.raw("POST", SERVICES, made)).code).toBe(201);
    expect(await next()).toMatchObject({ type: "ADDED", object: { status: { loadBalancer: {} } } });
    const path = `${SERVICES}/test-service`;
    expect((await cluster.raw("GET", `${path}/status`)).json).toMatchObject({ status: { loadBalancer: {} } });

    const patch = { status: { loadBalancer: { ingress: [{ ip: "203.0.113.1" }] } } };
    const patched = await cluster.raw("PATCH", `${path}/status`, patch, "application/merge-patch+json");
    expect(patched.code).toBe(200);
    expect(await next()).toMatchObject({
      type: "MODIFIED",
      object: { status: { loadBalancer: { ingress: [{ ip: "203.0.113.1", ipMode: "VIP" }] } } },
    });

    const condition = { type: "StatusUpdate", status: "True", reason: "E2E", message: "Set from e2e test" };
    const stored = (await cluster.raw("GET", path)).json as Service;
    const status = { ...stored.status, conditions: [condition] };
    expect((await cluster.raw("PUT", `${path}/status`, { ...stored, status })).code).toBe(200);
    expect(await next()).toMatchObject({ type: "MODIFIED", object: { status: { conditions: [condition] } } });

    const annotated = { metadata: { annotations: { patchedstatus: "true" } } };
    await cluster.raw("PATCH", path, annotated, "application/strategic-merge-patch+json");
    expect(await next()).toMatchObject({ type: "MODIFIED", object: annotated });
    expect((await cluster.raw("DELETE", path)).code).toBe(200);
    expect(await take(events, 1)).toEqual(["DELETED test-service"]);
    await events.return?.();
  });
});

describe("endpoints of Services", () => {
  const ready = (cluster: Cluster, name: string, expected: string[]) =>
    eventually(async () => {
      const slices = await cluster.slices(name);
      const lines = slices.flatMap(({ endpoints, ports = [] }) =>
        endpoints.flatMap(({ targetRef }) => ports.map(({ port }) => `${targetRef?.name} ${port}`)),
      );
      expect(lines.sort()).toEqual(expected);
    });
  const withPort = (name: string, port: object) =>
    pod(
      name,
      { app: "endpoint-test" },
      { containers: [{ name: "c", image: "podwire/echo", ports: [port] }] },
    );

  it("[sig-network] Services should serve a basic endpoint from pods", async () => {
    const cluster = await start();
    await post(cluster, "endpoint-test2", {
      selector: { app: "endpoint-test" },
      ports: [{ port: 80, targetPort: 80 }],
    });
    await ready(cluster, "endpoint-test2", []);
    await cluster.client.create("pods", withPort("pod1", { containerPort: 80 }));
    await ready(cluster, "endpoint-test2", ["pod1 80"]);
    await cluster.client.create("pods", withPort("pod2", { containerPort: 80 }));
    await ready(cluster, "endpoint-test2", ["pod1 80", "pod2 80"]);
    await cluster.client.delete("pods", "default", "pod1", { gracePeriodSeconds: 0 });
    await ready(cluster, "endpoint-test2", ["pod2 80"]);
    await cluster.client.delete("pods", "default", "pod2", { gracePeriodSeconds: 0 });
    await ready(cluster, "endpoint-test2", []);
  });

  it("[sig-network] Services should serve multiport endpoints from pods", async () => {
    const cluster = await start();
    await post(cluster, "multi-endpoint-test", {
      selector: { app: "endpoint-test" },
      ports: [
        { name: "portname1", port: 80, targetPort: "portname1" },
        { name: "portname2", port: 81, targetPort: "portname2" },
      ],
    });
    await ready(cluster, "multi-endpoint-test", []);
    await cluster.client.create("pods", withPort("pod1", { name: "portname1", containerPort: 100 }));
    await ready(cluster, "multi-endpoint-test", ["pod1 100"]);
    await cluster.client.create("pods", withPort("pod2", { name: "portname2", containerPort: 101 }));
    await ready(cluster, "multi-endpoint-test", ["pod1 100", "pod2 101"]);
    await cluster.client.delete("pods", "default", "pod1", { gracePeriodSeconds: 0 });
    await ready(cluster, "multi-endpoint-test", ["pod2 101"]);
    await cluster.client.delete("pods", "default", "pod2", { gracePeriodSeconds: 0 });
    await ready(cluster, "multi-endpoint-test", []);
  });
});
