import { afterEach, describe, expect, it } from "vitest";
import type { IPAddress, Service, ServiceCIDR } from "../../src/kube/index.js";
import { MemoryStore } from "../../src/store/index.js";
import { type Lab, refusal, service, startLab } from "./harness.js";

const labs: Lab[] = [];
afterEach(async () => {
  for (const lab of labs.splice(0)) await lab.close();
});
const V4 = "10.96.0.0/16";
const V6 = "fd00:10:96::/112";
async function start(serviceCidrs: string[] = [V4, V6], options: object = {}): Promise<Lab> {
  const lab = await startLab({ serviceCidrs, ...options });
  labs.push(lab);
  return lab;
}
const create = (lab: Lab, name: string, spec: object = {}) =>
  lab.http.create<Service>("services", service(name, spec));
const causes = async (call: Promise<unknown>) =>
  (await refusal(call)).details?.causes?.map((one) => `${one.field}: ${one.message}`);
const familiesOf = ({ spec }: Service) => ({
  policy: spec?.ipFamilyPolicy,
  families: spec?.ipFamilies,
  ips: spec?.clusterIPs?.map((ip) =>
    ip.startsWith("fd00:10:96::") ? "v6" : ip.startsWith("10.96.") ? "v4" : ip,
  ),
});

describe("IP families of Services", () => {
  it("[sig-network] [Feature:IPv6DualStack] should create a single stack service with cluster ip from primary service range", async () => {
    const lab = await start();
    const made = await create(lab, "web");
    expect(familiesOf(made)).toEqual({ policy: "SingleStack", families: ["IPv4"], ips: ["v4"] });
    const other = await start([V6, V4]);
    expect(familiesOf(await create(other, "web"))).toMatchObject({ families: ["IPv6"], ips: ["v6"] });
  });

  it("[sig-network] [Feature:IPv6DualStack] should create service with ipv4 cluster ip", async () => {
    const made = await create(await start(), "web", { ipFamilies: ["IPv4"] });
    expect(familiesOf(made)).toEqual({ policy: "SingleStack", families: ["IPv4"], ips: ["v4"] });
  });

  it("[sig-network] [Feature:IPv6DualStack] should create service with ipv6 cluster ip", async () => {
    const made = await create(await start(), "web", { ipFamilies: ["IPv6"] });
    expect(familiesOf(made)).toEqual({ policy: "SingleStack", families: ["IPv6"], ips: ["v6"] });
    expect(made.spec?.clusterIP).toBe(made.spec?.clusterIPs?.[0]);
  });

  it("[sig-network] [Feature:IPv6DualStack] should create service with ipv4,v6 cluster ip", async () => {
    const ipFamilies = ["IPv4", "IPv6"];
    const made = await create(await start(), "web", { ipFamilyPolicy: "RequireDualStack", ipFamilies });
    expect(familiesOf(made)).toEqual({ policy: "RequireDualStack", families: ipFamilies, ips: ["v4", "v6"] });
  });

  it("[sig-network] [Feature:IPv6DualStack] should create service with ipv6,v4 cluster ip", async () => {
    const ipFamilies = ["IPv6", "IPv4"];
    const made = await create(await start(), "web", { ipFamilyPolicy: "RequireDualStack", ipFamilies });
    expect(familiesOf(made)).toEqual({ policy: "RequireDualStack", families: ipFamilies, ips: ["v6", "v4"] });
  });

  it.each<[string, object, object]>([
    [
      "prefer two",
      { ipFamilyPolicy: "PreferDualStack" },
      { policy: "PreferDualStack", families: ["IPv4", "IPv6"], ips: ["v4", "v6"] },
    ],
    [
      "prefer two, the second first",
      { ipFamilyPolicy: "PreferDualStack", ipFamilies: ["IPv6"] },
      { families: ["IPv6", "IPv4"], ips: ["v6", "v4"] },
    ],
    [
      "are those of the addresses asked for",
      { clusterIP: "fd00:10:96::77" },
      { families: ["IPv6"], ips: ["v6"] },
    ],
    [
      "are two for two addresses",
      {
        ipFamilyPolicy: "PreferDualStack",
        clusterIP: "10.96.0.77",
        clusterIPs: ["10.96.0.77", "fd00:10:96::77"],
      },
      { families: ["IPv4", "IPv6"], ips: ["v4", "v6"] },
    ],
    [
      "are one for headless ones with a selector",
      { clusterIP: "None" },
      { policy: "SingleStack", families: ["IPv4"], ips: ["None"] },
    ],
    [
      "are both for headless ones without one",
      { clusterIP: "None", selector: undefined },
      { policy: "RequireDualStack", families: ["IPv4", "IPv6"], ips: ["None"] },
    ],
  ])("%s", async (_, spec, expected) => {
    expect(familiesOf(await create(await start(), "web", spec))).toMatchObject(expected);
  });

  it.each<[object, ...string[]]>([
    [
      { ipFamilies: ["IPv4", "IPv6"] },
      "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
    ],
    [
      { clusterIPs: ["10.96.0.7", "fd00:10:96::7"] },
      "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified",
    ],
    [{ ipFamilies: ["IPv4", "IPv4"] }, 'spec.ipFamilies[1]: Duplicate value: "IPv4"'],
    [
      { ipFamilies: ["IPv5"] },
      'spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"',
    ],
    [
      { clusterIP: "10.96.0.7", ipFamilies: ["IPv6"] },
      'spec.clusterIPs[0]: Invalid value: "10.96.0.7": expected an IPv6 value as indicated by `ipFamilies[0]`',
    ],
    [
      { ipFamilyPolicy: "PreferDualStack", clusterIPs: ["10.96.0.7", "10.96.0.8"] },
      'spec.clusterIPs: Invalid value: []string{"10.96.0.7", "10.96.0.8"}: may specify no more than one IP for each IP family',
    ],
    [
      { clusterIPs: ["None", "10.96.0.8"] },
      'spec.clusterIPs: Invalid value: []string{"None", "10.96.0.8"}: \'None\' must be the first and only value',
    ],
    [
      { clusterIP: "fd00:10:97::1" },
      'spec.clusterIPs: Invalid value: []string{"fd00:10:97::1"}: failed to allocate IP fd00:10:97::1: the provided IP (fd00:10:97::1) is not in the valid range. The range of valid IPs is fd00:10:96::/112',
    ],
  ])("%j is refused", async (spec, ...expected) => {
    expect(await causes(create(await start(), "web", spec))).toEqual(expected);
  });

  it("are what a cluster of one family has", async () => {
    const lab = await start([V4]);
    expect(await causes(create(lab, "a", { ipFamilyPolicy: "RequireDualStack" }))).toEqual([
      'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services',
    ]);
    const preferring = await create(lab, "b", { ipFamilyPolicy: "PreferDualStack" });
    expect(familiesOf(preferring)).toEqual({ policy: "PreferDualStack", families: ["IPv4"], ips: ["v4"] });
  });

  it("may be upgraded and downgraded, but not changed", async () => {
    const lab = await start();
    const one = await create(lab, "web");
    const dual = await lab.http.update<Service>("services", {
      ...one,
      spec: { ...one.spec, ipFamilyPolicy: "PreferDualStack" },
    });
    expect(familiesOf(dual)).toMatchObject({ families: ["IPv4", "IPv6"], ips: ["v4", "v6"] });
    expect(dual.spec?.clusterIP).toBe(one.spec?.clusterIP);
    const [first = "", second = ""] = dual.spec?.clusterIPs ?? [];
    const update = (spec: object) =>
      lab.http.update<Service>("services", { ...dual, spec: { ...dual.spec, ...spec } });
    expect(await causes(update({ clusterIPs: [first], ipFamilies: ["IPv4"] }))).toEqual([
      "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be 'SingleStack' to release the secondary cluster IP",
      "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be 'SingleStack' to release the secondary IP family",
    ]);
    expect(
      await causes(update({ ipFamilies: ["IPv6", "IPv4"], clusterIPs: [second, first], clusterIP: second })),
    ).toEqual(expect.arrayContaining([expect.stringContaining("may not change once set")]));
    const single = await update({ ipFamilyPolicy: "SingleStack" });
    expect(familiesOf(single)).toEqual({ policy: "SingleStack", families: ["IPv4"], ips: ["v4"] });
    // The second address is free again.
    const next = await create(lab, "next", { clusterIP: second });
    expect(next.spec?.ipFamilies).toEqual(["IPv6"]);
  });
});

describe("IPAddresses", () => {
  const names = async (lab: Lab) =>
    (await lab.http.list<IPAddress>("ipaddresses")).items.map(({ metadata }) => metadata?.name).sort();

  it("are there for each ClusterIP, as long as its Service has it", async () => {
    const lab = await start();
    const dual = await create(lab, "web", { ipFamilyPolicy: "PreferDualStack" });
    expect(await names(lab)).toEqual([...dual.spec!.clusterIPs!].sort());
    const first = await lab.http.get<IPAddress>("ipaddresses", undefined, dual.spec!.clusterIP!);
    expect(first).toMatchObject({
      metadata: {
        labels: {
          "ipaddress.kubernetes.io/ip-family": "IPv4",
          "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        },
      },
      spec: { parentRef: { resource: "services", namespace: "default", name: "web" } },
    });
    await lab.http.update("services", { ...dual, spec: { ...dual.spec, ipFamilyPolicy: "SingleStack" } });
    expect(await names(lab)).toEqual([dual.spec!.clusterIP]);
    await lab.http.delete("services", "default", "web");
    expect(await names(lab)).toEqual([]);
  });

  it("of others keep their address from Services", async () => {
    const lab = await start();
    await lab.http.create<IPAddress>("ipaddresses", {
      metadata: { name: "10.96.0.99" },
      spec: { parentRef: { group: "g", resource: "things", name: "mine" } },
    });
    expect((await causes(create(lab, "web", { clusterIP: "10.96.0.99" })))?.[0]).toContain(
      "already allocated",
    );
    // One that was made after the allocator had looked.
    await create(lab, "a");
    const spec = { parentRef: { resource: "things", name: "mine" } };
    await lab.http.create<IPAddress>("ipaddresses", { metadata: { name: "10.96.0.98" }, spec });
    expect((await causes(create(lab, "web", { clusterIP: "10.96.0.98" })))?.[0]).toContain(
      "already allocated",
    );
    await lab.http.delete("ipaddresses", undefined, "10.96.0.98");
    expect((await create(lab, "web", { clusterIP: "10.96.0.98" })).spec?.clusterIP).toBe("10.96.0.98");
  });

  it("are made at the start for Services of an older store", async () => {
    const store = new MemoryStore();
    const before = await start([V4], { store });
    const made = await create(before, "web");
    await before.http.delete("ipaddresses", undefined, made.spec!.clusterIP!);
    expect(await names(await start([V4], { store }))).toEqual([made.spec!.clusterIP]);
  });
});

describe("ServiceCIDRs", () => {
  it("give Services further addresses", async () => {
    const lab = await start();
    const own = await lab.http.get<ServiceCIDR>("servicecidrs", undefined, "kubernetes");
    expect(own).toMatchObject({
      spec: { cidrs: [V4, V6] },
      status: { conditions: [{ type: "Ready", status: "True" }] },
    });
    expect(await causes(create(lab, "web", { clusterIP: "203.0.113.10" }))).toHaveLength(1);
    await lab.http.create<ServiceCIDR>("servicecidrs", {
      metadata: { name: "test-svc-cidr" },
      spec: { cidrs: ["203.0.113.0/24"] },
    });
    expect((await create(lab, "web", { clusterIP: "203.0.113.10" })).spec?.clusterIP).toBe("203.0.113.10");
  });
});
