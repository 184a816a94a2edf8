import { describe, expect, it } from "vitest";
import type { EndpointSlice, Endpoints, Service } from "../../src/kube/index.js";
import { Cluster, eventually } from "./cluster.js";

const PLACE = { serviceIp: "10.96.0.1", address: "10.0.0.1", port: 6443 };
const get = async (cluster: Cluster) => ({
  service: await cluster.client.get<Service>("services", "default", "kubernetes"),
  endpoints: await cluster.client.get<Endpoints>("endpoints", "default", "kubernetes"),
  slice: await cluster.client.get<EndpointSlice>("endpointslices", "default", "kubernetes"),
});

describe("the Service kubernetes", () => {
  it("[sig-network] API Server should provide secure master service", async () => {
    const cluster = await Cluster.start({ apiServer: PLACE });
    const { service } = await eventually(() => get(cluster));
    expect(service).toMatchObject({
      metadata: { labels: { component: "apiserver", provider: "kubernetes" } },
      spec: {
        type: "ClusterIP",
        clusterIP: "10.96.0.1",
        sessionAffinity: "None",
        ports: [{ name: "https", port: 443, protocol: "TCP", targetPort: 6443 }],
      },
    });
  });

  it("[sig-network] API Server should have Endpoints and EndpointSlices pointing to API Server", async () => {
    const cluster = await Cluster.start({ apiServer: PLACE });
    const { endpoints, slice } = await eventually(() => get(cluster));
    expect(endpoints.subsets).toEqual([
      { addresses: [{ ip: "10.0.0.1" }], ports: [{ name: "https", port: 6443, protocol: "TCP" }] },
    ]);
    expect(endpoints.metadata?.labels).toEqual({ "endpointslice.kubernetes.io/skip-mirror": "true" });
    const slices = await cluster.slices("kubernetes");
    expect(slices).toEqual([slice]);
    expect(slice).toMatchObject({
      addressType: "IPv4",
      endpoints: [{ addresses: ["10.0.0.1"], conditions: { ready: true } }],
      ports: [{ name: "https", port: 6443, protocol: "TCP" }],
    });
  });

  it("keeps them when somebody deletes or changes them, or the API has moved", async () => {
    const cluster = await Cluster.start({ apiServer: PLACE });
    const first = await eventually(() => get(cluster));
    for (const resource of ["services", "endpoints", "endpointslices"] as const)
      await cluster.client.delete(resource, "default", "kubernetes");
    const again = await eventually(async () => {
      const found = await get(cluster);
      expect(found.slice.metadata?.uid).not.toBe(first.slice.metadata?.uid);
      expect(found.service.metadata?.uid).not.toBe(first.service.metadata?.uid);
      return found;
    });
    await cluster.client.update<EndpointSlice>("endpointslices", { ...again.slice, endpoints: [] });
    await eventually(async () => expect((await get(cluster)).slice.endpoints).toEqual(again.slice.endpoints));

    await cluster.stopControllers();
    await cluster.startControllers({ apiServer: { ...PLACE, port: 8001 } });
    await eventually(async () => {
      const { endpoints, slice } = await get(cluster);
      expect([endpoints.subsets?.[0]?.ports?.[0]?.port, slice.ports?.[0]?.port]).toEqual([8001, 8001]);
    });
  });
});
