import { describe, expect, it } from "vitest";
import type { EndpointSlice, Endpoints, Pod, Service } from "../../src/kube/index.js";
import { take } from "../kube/harness.js";
import { Cluster, eventually, pod, service } from "./cluster.js";

const SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const ENDPOINTS = "/api/v1/namespaces/default/endpoints";
const MERGE = "application/merge-patch+json";
const STRATEGIC = "application/strategic-merge-patch+json";
const start = () => Cluster.start({ http: true });

const EMPTY = { selector: { "does-not-match-anything": "yes" }, ports: [{ name: "example", port: 80 }] };
const endpointsOf = (cluster: Cluster, name: string) =>
  cluster.client.get<Endpoints>("endpoints", "default", name);

async function absent(cluster: Cluster, path: string): Promise<void> {
  await eventually(async () => expect((await cluster.raw("GET", path)).code).toBe(404));
}

/** Two pods that call different numbers by one port name, and the Services of the upstream cases. */
async function twoPods(cluster: Cluster): Promise<Pod[]> {
  const ports = (...list: [string, number][]) => ({
    containers: [
      {
        name: "container1",
        image: "podwire/echo",
        ports: list.map(([name, containerPort]) => ({ name, containerPort })),
      },
    ],
  });
  const labels = (own: string) => ({ [own]: "on", shared12: "on" });
  await cluster.client.create("pods", pod("pod1", labels("pod1"), ports(["example-name", 3000])));
  await cluster.client.create(
    "pods",
    pod("pod2", labels("pod2"), ports(["example-name", 3001], ["other-port", 3002])),
  );
  const make = (name: string, label: string, port: object) =>
    cluster.client.create(
      "services",
      service(name, { selector: { [label]: "on" }, publishNotReadyAddresses: true, ports: [port] }),
    );
  await make("example-int-port", "pod1", { name: "example", port: 80, targetPort: 3000 });
  await make("example-named-port", "shared12", { name: "http", port: 80, targetPort: "example-name" });
  await make("example-no-match", "pod3", { name: "example-no-match", port: 80, targetPort: 8080 });
  return eventually(async () => {
    const pods = await cluster.pods();
    expect(pods.every(({ status }) => status?.podIPs?.length)).toBe(true);
    return pods.sort((a, b) => (a.metadata!.name! < b.metadata!.name! ? -1 : 1));
  });
}

/** Address, port name and number of every ready endpoint, as lines. */
const subsetLines = ({ subsets = [] }: Endpoints) =>
  subsets
    .flatMap(({ addresses = [], ports = [] }) =>
      addresses.flatMap(({ ip, targetRef }) =>
        ports.map(({ name, port }) => `${ip} ${targetRef?.name} ${name} ${port}`),
      ),
    )
    .sort();
const sliceLines = (slices: EndpointSlice[]) =>
  slices
    .flatMap(({ endpoints, ports = [] }) =>
      endpoints.flatMap(({ addresses, targetRef }) =>
        ports.map(({ name, port }) => `${addresses[0]} ${targetRef?.name} ${name} ${port}`),
      ),
    )
    .sort();

describe("EndpointsController", () => {
  it("[sig-network] EndpointsController should create Endpoints for Pods matching a Service", async () => {
    const cluster = await start();
    const [one, two] = await twoPods(cluster);
    await eventually(async () => {
      const single = await endpointsOf(cluster, "example-int-port");
      expect(subsetLines(single)).toEqual([`${one!.status!.podIP} pod1 example 3000`]);
      const named = await endpointsOf(cluster, "example-named-port");
      expect(named.subsets).toHaveLength(2);
      expect(subsetLines(named)).toEqual(
        [`${one!.status!.podIP} pod1 http 3000`, `${two!.status!.podIP} pod2 http 3001`].sort(),
      );
    });
  });

  it("[sig-network] EndpointsController should create and delete Endpoints for a Service with a selector that matches no pods", async () => {
    const cluster = await start();
    await cluster.client.create("services", service("example-empty-selector", EMPTY));
    await eventually(() => endpointsOf(cluster, "example-empty-selector"));
    await cluster.client.delete("services", "default", "example-empty-selector");
    await absent(cluster, `${ENDPOINTS}/example-empty-selector`);
  });
});

describe("EndpointSlice", () => {
  it("[sig-network] EndpointSlice should create Endpoints and EndpointSlices for Pods matching a Service", async () => {
    const cluster = await start();
    const [one, two] = await twoPods(cluster);
    const named = async (count: number) => {
      const slices = await cluster.slices("example-named-port");
      expect(slices).toHaveLength(count);
      expect(sliceLines(slices)).toEqual(
        [`${one!.status!.podIP} pod1 http 3000`, `${two!.status!.podIP} pod2 http 3001`].sort(),
      );
      return slices;
    };
    await eventually(async () => {
      expect(sliceLines(await cluster.slices("example-int-port"))).toEqual([
        `${one!.status!.podIP} pod1 example 3000`,
      ]);
      const unmatched = await cluster.slices("example-no-match");
      expect(unmatched.map(({ endpoints }) => endpoints)).toEqual([[]]);
      expect((await endpointsOf(cluster, "example-no-match")).subsets ?? []).toEqual([]);
    });
    const slices = await eventually(() => named(2));
    for (const { metadata } of slices)
      await cluster.client.delete("endpointslices", "default", metadata!.name!);
    await eventually(() => named(2));
  });

  it("[sig-network] EndpointSlice should create and delete EndpointSlices for a Service with a selector that matches no pods", async () => {
    const cluster = await start();
    await cluster.client.create("services", service("example-empty-selector", EMPTY));
    const [slice] = await eventually(async () => {
      const slices = await cluster.slices("example-empty-selector");
      expect(slices).toHaveLength(1);
      return slices;
    });
    expect(slice?.endpoints).toEqual([]);
    expect(slice?.metadata?.labels).toMatchObject({
      "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    });
    await cluster.client.delete("services", "default", "example-empty-selector");
    await eventually(async () => expect(await cluster.slices("example-empty-selector")).toEqual([]));
  });

  it("[sig-network] EndpointSlice should support creating EndpointSlice API operations", async () => {
    const cluster = await start();
    const document = (await cluster.raw("GET", "/apis/discovery.k8s.io/v1")).json;
    expect(document.resources).toContainEqual(expect.objectContaining({ name: "endpointslices" }));
    const template = {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { generateName: "e2e-example-ing", labels: { "special-label": "api" } },
      addressType: "IPv4",
      endpoints: [{ addresses: ["1.2.3.4", "5.6.7.8"] }, { addresses: ["2.2.3.4", "6.6.7.8"] }],
    };
    const created = [];
    for (let count = 0; count < 3; count++) created.push(await cluster.raw("POST", SLICES, template));
    expect(created.map(({ code }) => code)).toEqual([201, 201, 201]);
    const { metadata } = created[2]!.json as unknown as EndpointSlice;
    const path = `${SLICES}/${metadata?.name}`;
    expect((await cluster.raw("GET", path)).json).toMatchObject({ metadata: { uid: metadata?.uid } });
    const labelSelector = "special-label=api";
    const list = await cluster.client.list<EndpointSlice>("endpointslices", { labelSelector });
    expect(list.items).toHaveLength(3);

    const resourceVersion = list.metadata.resourceVersion!;
    const events = cluster.client
      .watch<EndpointSlice>("endpointslices", { resourceVersion, labelSelector })
      [Symbol.asyncIterator]();
    const patched = await cluster.raw(
      "PATCH",
      path,
      { metadata: { annotations: { patched: "true" } } },
      MERGE,
    );
    expect(patched.json).toMatchObject({ metadata: { annotations: { patched: "true" } } });
    const update = { ...(patched.json as unknown as EndpointSlice) };
    update.endpoints = [{ addresses: ["10.0.0.9"] }];
    update.metadata = { ...update.metadata, annotations: { patched: "true", updated: "true" } };
    expect((await cluster.raw("PUT", path, update)).json).toMatchObject({
      endpoints: [{ addresses: ["10.0.0.9"] }],
    });
    expect(await take(events, 2)).toEqual([`MODIFIED ${metadata?.name}`, `MODIFIED ${metadata?.name}`]);
    expect((await cluster.raw("DELETE", path)).code).toBe(200);
    expect(await take(events, 1)).toEqual([`DELETED ${metadata?.name}`]);
    await events.return?.();
    await absent(cluster, path);
    expect((await cluster.raw("DELETE", `${SLICES}?labelSelector=special-label%3Dapi`)).code).toBe(200);
    expect((await cluster.client.list("endpointslices", { labelSelector })).items).toEqual([]);
  });
});

describe("Endpoints", () => {
  it("[sig-network] Endpoints should test the lifecycle of an Endpoint", async () => {
    const cluster = await start();
    const labelSelector = "test-endpoint-static=true";
    const before = await cluster.client.list("endpoints", { labelSelector });
    const events = cluster.client
      .watch<Endpoints>("endpoints", { resourceVersion: before.metadata.resourceVersion!, labelSelector })
      [Symbol.asyncIterator]();
    const made = await cluster.raw("POST", ENDPOINTS, {
      apiVersion: "v1",
      kind: "Endpoints",
      metadata: { name: "testservice", labels: { "test-endpoint-static": "true" } },
      subsets: [{ addresses: [{ ip: "10.0.0.24" }], ports: [{ name: "http", port: 80, protocol: "TCP" }] }],
    });
    expect(made.code).toBe(201);
    expect(await take(events, 1)).toEqual(["ADDED testservice"]);
    const { items } = await cluster.client.list<Endpoints>("endpoints", { labelSelector });
    const [found] = items;
    const labels = { ...found?.metadata?.labels, "test-service": "updated" };
    await cluster.client.update("endpoints", { ...found, metadata: { ...found?.metadata, labels } });
    expect(await take(events, 1)).toEqual(["MODIFIED testservice"]);

    const patch = {
      metadata: { labels: { "test-service": "patched" } },
      subsets: [{ addresses: [{ ip: "10.0.0.25" }], ports: [{ name: "http-test", port: 8080 }] }],
    };
    expect((await cluster.raw("PATCH", `${ENDPOINTS}/testservice`, patch, STRATEGIC)).code).toBe(200);
    expect(await take(events, 1)).toEqual(["MODIFIED testservice"]);
    expect(await endpointsOf(cluster, "testservice")).toMatchObject({
      metadata: { labels: { "test-endpoint-static": "true", "test-service": "patched" } },
      subsets: [{ addresses: [{ ip: "10.0.0.25" }], ports: [{ name: "http-test", port: 8080 }] }],
    });
    await cluster.raw("DELETE", `${ENDPOINTS}?labelSelector=${encodeURIComponent(labelSelector)}`);
    expect(await take(events, 1)).toEqual(["DELETED testservice"]);
    await events.return?.();
    await absent(cluster, `${ENDPOINTS}/testservice`);
  });
});

describe("EndpointSliceMirroring", () => {
  const custom = (subsets: object[], metadata: object = {}) =>
    ({
      apiVersion: "v1",
      kind: "Endpoints",
      metadata: { name: "example-custom-endpoints", namespace: "default", ...metadata },
      subsets,
    }) as Endpoints;
  const mirrored = (cluster: Cluster) => cluster.slices("example-custom-endpoints");
  const oneSubset = (ip: string) => [{ addresses: [{ ip }], ports: [{ port: 80 }] }];
  const withService = async (ports: object[] = [{ name: "example", port: 80 }]) => {
    const cluster = await start();
    await cluster.client.create<Service>("services", {
      metadata: { name: "example-custom-endpoints", namespace: "default" },
      spec: { ports: ports as never },
    });
    return cluster;
  };

  it("[sig-network] EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete", async () => {
    const cluster = await withService();
    await cluster.client.create("endpoints", custom(oneSubset("10.1.2.3"), { labels: { a: "b" } }));
    const expectOne = (ip: string) =>
      eventually(async () => {
        const slices = await mirrored(cluster);
        expect(slices).toMatchObject([
          {
            metadata: {
              labels: {
                a: "b",
                "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
              },
              ownerReferences: [{ kind: "Endpoints", name: "example-custom-endpoints", controller: true }],
            },
            addressType: "IPv4",
            endpoints: [{ addresses: [ip], conditions: { ready: true } }],
            ports: [{ name: "", port: 80, protocol: "TCP" }],
          },
        ]);
        return slices[0]?.metadata?.uid;
      });
    const uid = await expectOne("10.1.2.3");
    await cluster.client.update("endpoints", custom(oneSubset("10.2.3.4"), { labels: { a: "b" } }));
    await expectOne("10.2.3.4");
    // Somebody deletes the slice: it comes back.
    await cluster.raw(
      "DELETE",
      `${SLICES}?labelSelector=kubernetes.io/service-name%3Dexample-custom-endpoints`,
    );
    expect(await expectOne("10.2.3.4")).not.toBe(uid);
    await cluster.client.delete("endpoints", "default", "example-custom-endpoints");
    await eventually(async () => expect(await mirrored(cluster)).toEqual([]));
  });

  it("mirrors subsets with other ports, not-ready addresses and IPv6 addresses in slices of their own", async () => {
    const cluster = await withService();
    const subsets = [
      { addresses: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }], ports: [{ name: "a", port: 8090 }] },
      {
        addresses: [{ ip: "10.0.0.1" }],
        notReadyAddresses: [{ ip: "10.0.0.2" }],
        ports: [{ name: "b", port: 9090 }],
      },
    ];
    await cluster.client.create("endpoints", custom(subsets));
    await eventually(async () => {
      const lines = (await mirrored(cluster)).map(({ addressType, ports, endpoints }) => {
        const texts = endpoints.map(({ addresses, conditions }) => `${addresses[0]} ${conditions?.ready}`);
        return `${addressType} ${ports?.[0]?.port}: ${texts.join(", ")}`;
      });
      expect(lines.sort()).toEqual([
        "IPv4 8090: 10.0.0.1 true",
        "IPv4 9090: 10.0.0.1 true, 10.0.0.2 false",
        "IPv6 8090: fd00::1 true",
      ]);
    });
  });

  it("mirrors at most 1000 addresses of a subset, and tells", async () => {
    const cluster = await withService();
    const addresses = Array.from({ length: 1005 }, (_, id) => ({ ip: `10.0.${id >> 8}.${id & 255 || 1}` }));
    const unique = [...new Map(addresses.map((one) => [one.ip, one])).values()];
    await cluster.client.create("endpoints", custom([{ addresses: unique, ports: [{ port: 80 }] }]));
    await eventually(async () => {
      expect((await mirrored(cluster)).map(({ endpoints }) => endpoints.length)).toEqual([1000]);
      expect(await cluster.events("TooManyAddressesToMirror")).toHaveLength(1);
    });
  });

  it("leaves those alone that say so, that hold an election's record, or whose Service has a selector", async () => {
    const cluster = await withService();
    const skip = { labels: { "endpointslice.kubernetes.io/skip-mirror": "true" } };
    const leader = { annotations: { "control-plane.alpha.kubernetes.io/leader": "{}" } };
    await cluster.client.create("endpoints", custom(oneSubset("10.1.2.3"), skip));
    await cluster.client.update("endpoints", custom(oneSubset("10.1.2.3")));
    await eventually(async () => expect(await mirrored(cluster)).toHaveLength(1));
    for (const metadata of [skip, leader]) {
      await cluster.client.update("endpoints", custom(oneSubset("10.1.2.3"), metadata));
      await eventually(async () => expect(await mirrored(cluster)).toEqual([]));
      await cluster.client.update("endpoints", custom(oneSubset("10.1.2.3")));
      await eventually(async () => expect(await mirrored(cluster)).toHaveLength(1));
    }
    const found = await cluster.client.get<Service>("services", "default", "example-custom-endpoints");
    await cluster.client.update("services", { ...found, spec: { ...found.spec, selector: { app: "x" } } });
    await eventually(async () => {
      const managers = (await mirrored(cluster)).map(
        ({ metadata }) => metadata?.labels?.["endpointslice.kubernetes.io/managed-by"],
      );
      expect(managers).toEqual(["endpointslice-controller.k8s.io"]);
    });
  });
});
