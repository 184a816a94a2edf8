/** Cluster DNS as objects: what the API server makes of them. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { clusterDnsAddress, dnsManifests } from "../../src/cluster/dns.js";
import type { ReplicationController, Service } from "../../src/kube/index.js";
import { type Lab, startLab } from "../kube/harness.js";

let lab: Lab;
beforeAll(async () => {
  lab = await startLab({ serviceCidrs: ["10.254.0.0/16"] });
});
afterAll(() => lab.close());

describe("the address of cluster DNS", () => {
  it("is the tenth of the service network", () => {
    expect(clusterDnsAddress("10.254.0.0/16")).toBe("10.254.0.10");
    expect(clusterDnsAddress("10.96.7.240/28")).toBe("10.96.7.250");
    expect(clusterDnsAddress("10.96.7.250/28")).toBe("10.96.7.250");
  });

  it.each(["10.0.0.0/29", "fd00::/108", "10.254.0.0/33", "nonsense"])("%s has none", (network) => {
    expect(() => clusterDnsAddress(network)).toThrow(`service network ${network}`);
  });
});

describe("its objects", () => {
  it("are accepted as they are, the Service at its address and selecting the pods", async () => {
    const [service, controller] = dnsManifests({
      serviceNetwork: "10.254.0.0/16",
      zone: "lab.test",
      replicas: 2,
    });
    const made = await lab.http.create<Service>("services", service);
    expect(made.spec).toMatchObject({ ...service.spec, type: "ClusterIP", clusterIPs: ["10.254.0.10"] });
    expect(made.metadata).toMatchObject({
      name: "kube-dns",
      namespace: "kube-system",
      labels: { "k8s-app": "kube-dns" },
    });
    const pods = await lab.http.create<ReplicationController>("replicationcontrollers", controller);
    expect(pods.spec?.replicas).toBe(2);
    expect(pods.spec?.template?.metadata?.labels).toMatchObject(service.spec?.selector ?? {});
    const [container] = pods.spec?.template?.spec?.containers ?? [];
    expect(container).toMatchObject({
      image: "podwire/dns",
      env: [{ name: "PODWIRE_DNS_ZONE", value: "lab.test" }],
      readinessProbe: { httpGet: { path: "/ready", port: 8181 } },
    });
  });
});
