/** Upstream's cases of cluster DNS, and of how soon Services have endpoints, on a whole lab (test/e2e/network/dns.go, service_latency.go). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Endpoints, Pod, Service } from "../../src/kube/index.js";
import { eventually } from "./lab.js";
import { NODES, ServiceLab } from "./service-lab.js";

const lab = new ServiceLab("updns");
const ZONE = "cluster.local";
const NAME = "dns-querier";
/** Of the cluster, so that nobody outside is asked. More than 6 entries and more than 256 characters, the limits before Kubernetes 1.26. */
const MANY_SEARCHES = [
  ...Array.from({ length: 9 }, (_, index) => `${String(index).repeat(30)}.${ZONE}`),
  `kube-system.svc.${ZONE}`,
];

beforeAll(async () => {
  await lab.up();
  const spec = { containers: [{ name: "main", image: "podwire/echo" }] };
  const pods: Record<string, object> = {
    [NAME]: {},
    named: { hostname: "dns-querier-2", subdomain: "dns-test-service-2" },
    searching: { dnsConfig: { searches: MANY_SEARCHES } },
    own: { dnsPolicy: "None", dnsConfig: { nameservers: ["1.1.1.1"], searches: ["resolv.conf.local"] } },
    onhost: { hostNetwork: true, dnsPolicy: "ClusterFirstWithHostNet" },
  };
  for (const [name, more] of Object.entries(pods))
    await lab.client.create<Pod>("pods", {
      metadata: { name, namespace: "default", labels: { name } },
      spec: { ...spec, nodeName: NODES[1], ...more },
    });
  await lab.service("dns-test-service-2", { clusterIP: "None", selector: { name: "named" } });
  await lab.service("web", {
    selector: { name: NAME },
    ports: [{ name: "http", port: 80, targetPort: 8080 }],
  });
  await lab.ready(...Object.keys(pods));
}, 120_000);
afterAll(() => lab.down());

/** Addresses that the pod's resolver finds, as programs in it would. */
async function resolve(pod: string, name: string): Promise<string[]> {
  const look = async () => {
    const { stdout } = await lab.run(pod, "getent", "ahostsv4", name);
    return [...new Set(stdout.split("\n").map((line) => line.split(/\s+/)[0] ?? ""))].filter(Boolean);
  };
  return eventually(`${name} in ${pod}`, look, (addresses) => addresses.length > 0, 30_000);
}

async function clusterIp(name: string): Promise<string> {
  return (await lab.client.get<Service>("services", "default", name)).spec?.clusterIP ?? "";
}

const file = async (pod: string, path: string) => (await lab.run(pod, "cat", path)).stdout;

describe("[sig-network] DNS", () => {
  it("should provide DNS for the cluster", async () => {
    const kubernetes = await clusterIp("kubernetes");
    expect(await resolve(NAME, `kubernetes.default.svc.${ZONE}`)).toEqual([kubernetes]);
    const dig = ["dig", "+short", "+tries=1", `kubernetes.default.svc.${ZONE}`, "A"];
    for (const transport of ["+notcp", "+tcp"])
      expect((await lab.run(NAME, ...dig, transport)).stdout.trim()).toBe(kubernetes);
  });

  it("should resolve DNS of partial qualified names for the cluster", async () => {
    const kubernetes = await clusterIp("kubernetes");
    for (const name of ["kubernetes", "kubernetes.default", "kubernetes.default.svc"])
      expect(await resolve(NAME, name)).toEqual([kubernetes]);
  });

  it("should resolve DNS of partial qualified names for services", async () => {
    for (const name of ["web", "web.default", "web.default.svc"])
      expect(await resolve(NAME, name)).toEqual([await clusterIp("web")]);
    expect(await resolve(NAME, "dns-test-service-2")).toEqual([await lab.podIp("named")]);
  });

  it("should provide DNS for pods for Hostname", async () => {
    const name = `dns-querier-2.dns-test-service-2.default.svc.${ZONE}`;
    expect(await resolve(NAME, name)).toEqual([await lab.podIp("named")]);
  });

  it("should provide DNS for pods for Subdomain", async () => {
    const name = `dns-test-service-2.default.svc.${ZONE}`;
    expect(await resolve(NAME, name)).toEqual([await lab.podIp("named")]);
  });

  it("should provide /etc/hosts entries for the cluster", async () => {
    const name = `dns-querier-2.dns-test-service-2.default.svc.${ZONE}`;
    const line = `${await lab.podIp("named")}\t${name}\tdns-querier-2`;
    expect((await file("named", "/etc/hosts")).split("\n")).toContain(line);
    expect(await resolve("named", "dns-querier-2")).toEqual([await lab.podIp("named")]);
  });

  it("should support configurable pod DNS nameservers", async () => {
    const conf = (await file("own", "/etc/resolv.conf")).trim().split("\n");
    expect(conf).toEqual(["search resolv.conf.local", "nameserver 1.1.1.1"]);
  });

  it("should work with the pod containing more than 6 DNS search paths and longer than 256 search list characters", async () => {
    const conf = await file("searching", "/etc/resolv.conf");
    expect(conf).toMatch(new RegExp(`^search .*${MANY_SEARCHES.join(" ")}`, "m"));
    // Only the last of them leads there.
    expect(await resolve("searching", "kube-dns")).toHaveLength(1);
  });

  it("HostNetwork should resolve DNS of partial qualified names for services on hostNetwork pods with dnsPolicy: ClusterFirstWithHostNet", async () => {
    for (const name of ["web", "web.default", "web.default.svc"])
      expect(await resolve("onhost", name)).toEqual([await clusterIp("web")]);
  });
});

describe("[sig-network] Service endpoints latency", () => {
  const SERVICES = 100;
  const IN_PARALLEL = 10;

  /** From a Service's creation to its first endpoint. */
  async function latencyMs(name: string): Promise<number> {
    const from = performance.now();
    await lab.service(name, { selector: { name: NAME }, ports: [{ port: 80, targetPort: 8080 }] });
    await eventually(
      `endpoints of ${name}`,
      () => lab.client.get<Endpoints>("endpoints", "default", name).catch(() => undefined),
      (found) => (found?.subsets?.[0]?.addresses?.length ?? 0) > 0,
      60_000,
    );
    return performance.now() - from;
  }

  it("should not be very high", async () => {
    const latencies: number[] = [];
    for (let first = 0; first < SERVICES; first += IN_PARALLEL) {
      const names = Array.from({ length: IN_PARALLEL }, (_, index) => `latency-svc-${first + index}`);
      latencies.push(...(await Promise.all(names.map(latencyMs))));
    }
    latencies.sort((a, b) => a - b);
    // Upstream's limits, "liberally set".
    expect(latencies[SERVICES / 2]).toBeLessThan(20_000);
    expect(latencies[SERVICES * 0.9]).toBeLessThan(50_000);
  });
});
