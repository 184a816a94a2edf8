/** EndpointSlices that are written by hand, tried with real sockets. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { EndpointSlice } from "../../src/kube/index.js";
import { identity } from "./lab.js";
import { ServiceLab } from "./service-lab.js";

const lab = new ServiceLab("slices");

beforeAll(async () => {
  await lab.up();
  await lab.pod("pod1", { node: "node-1" });
  await lab.pod("pod2", { node: "node-2" });
  await lab.pod("client", { node: "node-3" });
  await lab.ready("pod1", "pod2", "client");
});
afterAll(() => lab.down());

let serial = 0;
let name = "";
beforeEach(() => {
  name = `example-custom-endpoints-${++serial}`;
});

/** A slice of the test's Service with one endpoint. */
async function slice(suffix: string, pod: string, port: { name: string; port: number }): Promise<void> {
  await lab.client.create<EndpointSlice>("endpointslices", {
    metadata: {
      name: `${name}-${suffix}`,
      namespace: "default",
      labels: {
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": "e2e-test.k8s.io",
      },
    },
    addressType: "IPv4",
    ports: [{ ...port, protocol: "TCP" }],
    endpoints: [{ addresses: [await lab.podIp(pod)] }],
  });
}

const url = (ip: string | undefined, port: number) => `http://${ip}:${port}/`;
/** Which pods answer, in order, once one does. */
async function answering(address: string): Promise<string[]> {
  await lab.becomes("client", address, /pod=/);
  const lines = await lab.ask("client", address, 8);
  return [...new Set(lines.map((line) => identity(line).pod))].sort();
}

describe("EndpointSlices written by hand", () => {
  it("[sig-network] EndpointSlice should support a Service with multiple endpoint IPs specified in multiple EndpointSlices", async () => {
    const service = await lab.service(name, { ports: [{ name: "port80", port: 80 }] });
    await slice("1", "pod1", { name: "port80", port: 8080 });
    await slice("2", "pod2", { name: "port80", port: 8080 });
    const address = url(service.spec?.clusterIP, 80);
    const both = async () => JSON.stringify(await answering(address)) === '["pod1","pod2"]';
    await lab.until("both slices to count", both);
  });

  it("[sig-network] EndpointSlice should support a Service with multiple ports specified in multiple EndpointSlices", async () => {
    const ports = [
      { name: "port80", port: 80 },
      { name: "port81", port: 81 },
    ];
    const service = await lab.service(name, { ports });
    await slice("1", "pod1", { name: "port80", port: 8080 });
    await slice("2", "pod2", { name: "port81", port: 8080 });
    expect(await answering(url(service.spec?.clusterIP, 80))).toEqual(["pod1"]);
    expect(await answering(url(service.spec?.clusterIP, 81))).toEqual(["pod2"]);
  });

  it("[sig-network] EndpointSliceMirroring should mirror a custom Endpoint with multiple subsets and same IP address", async () => {
    const service = await lab.service(name, {
      ports: [
        { name: "port80", port: 80 },
        { name: "port81", port: 81 },
      ],
    });
    const addresses = [{ ip: await lab.podIp("pod1") }];
    // The echo image listens on one port; the second subset's leads to the same pod by its other name.
    const subset = (port: string) => ({ addresses, ports: [{ name: port, port: 8080 }] });
    await lab.client.create("endpoints", {
      metadata: { name, namespace: "default" },
      subsets: [subset("port80"), subset("port81")],
    } as object);
    for (const port of [80, 81])
      expect(await answering(url(service.spec?.clusterIP, port))).toEqual(["pod1"]);
    await lab.client.delete("endpoints", "default", name);
    for (const port of [80, 81]) await lab.becomes("client", url(service.spec?.clusterIP, port), "refused");
  });
});
