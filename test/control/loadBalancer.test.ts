import { describe, expect, it } from "vitest";
import { AddressPool } from "../../src/control/addressPool.js";
import type { Event, Service } from "../../src/kube/index.js";
import { Cluster, eventually, service, settle } from "./cluster.js";

const FINALIZER = "service.kubernetes.io/load-balancer-cleanup";
const start = (pool = ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/30"], api: object = {}) =>
  Cluster.start({ http: true, loadBalancerPool: pool, api });
const get = (cluster: Cluster, name: string) => cluster.client.get<Service>("services", "default", name);
const ipsOf = ({ status }: Service) => status?.loadBalancer?.ingress?.map(({ ip }) => ip);
const balancer = (cluster: Cluster, name: string, spec: object = {}, metadata: object = {}) => {
  const made = service(name, { type: "LoadBalancer", ...spec });
  return cluster.client.create<Service>("services", { ...made, metadata: { ...made.metadata, ...metadata } });
};
const expectIps = (cluster: Cluster, name: string, ips: string[] | undefined) =>
  eventually(async () => {
    const found = await get(cluster, name);
    expect(ipsOf(found)).toEqual(ips);
    return found;
  });

describe("a pool of addresses", () => {
  it("has all addresses of its networks, in order", () => {
    const pool = new AddressPool(["192.0.2.0/31", "198.51.100.7/32", "fd00::/126"]);
    const taken = new Set<string>();
    const take = (family: "IPv4" | "IPv6") => {
      const ip = pool.free(family, (one) => taken.has(one));
      if (ip) taken.add(ip);
      return ip;
    };
    expect([take("IPv4"), take("IPv4"), take("IPv4"), take("IPv4")]).toEqual([
      "192.0.2.0",
      "192.0.2.1",
      "198.51.100.7",
      undefined,
    ]);
    expect([take("IPv6"), take("IPv6")]).toEqual(["fd00::", "fd00::1"]);
    expect(["192.0.2.1", "192.0.2.2", "198.51.100.8", "fd00::2", "x"].map((ip) => pool.has(ip))).toEqual([
      true,
      false,
      false,
      true,
      false,
    ]);
    expect(() => new AddressPool(["192.0.2.1"])).toThrow("load balancer pool 192.0.2.1: give a network");
  });
});

describe("Services of type LoadBalancer", () => {
  it("get an address, which goes with them", async () => {
    const cluster = await start();
    await balancer(cluster, "a");
    const made = await expectIps(cluster, "a", ["192.0.2.1"]);
    expect(made.status?.loadBalancer?.ingress).toEqual([{ ip: "192.0.2.1", ipMode: "VIP" }]);
    expect(made.metadata?.finalizers).toEqual([FINALIZER]);
    expect(made.spec?.ports?.[0]?.nodePort).toBeGreaterThan(0);
    await balancer(cluster, "b");
    await expectIps(cluster, "b", ["192.0.2.2"]);
    await cluster.client.delete("services", "default", "a");
    await eventually(() => expect(get(cluster, "a")).rejects.toThrow("not found"));
    await balancer(cluster, "c");
    await expectIps(cluster, "c", ["192.0.2.1"]);
    await eventually(async () => {
      const reasons = (await cluster.list<Event>("events")).map(({ reason }) => reason);
      for (const reason of [
        "EnsuringLoadBalancer",
        "EnsuredLoadBalancer",
        "DeletingLoadBalancer",
        "DeletedLoadBalancer",
      ])
        expect(reasons).toContain(reason);
    });
  });

  it("[sig-network] LoadBalancers should handle load balancer cleanup finalizer for service [Slow]", async () => {
    const cluster = await start();
    await balancer(cluster, "web");
    const made = await expectIps(cluster, "web", ["192.0.2.1"]);
    expect(made.metadata?.finalizers).toContain(FINALIZER);
    const plain = {
      ...made,
      metadata: { ...made.metadata },
      spec: { ...made.spec, type: "ClusterIP" as const },
    };
    await cluster.client.update<Service>("services", plain);
    await eventually(async () => expect((await get(cluster, "web")).metadata?.finalizers ?? []).toEqual([]));
    await expectIps(cluster, "web", undefined);
    const now = await get(cluster, "web");
    await cluster.client.update<Service>("services", { ...now, spec: { ...now.spec, type: "LoadBalancer" } });
    const again = await expectIps(cluster, "web", ["192.0.2.1"]);
    expect(again.metadata?.finalizers).toContain(FINALIZER);
    await cluster.client.delete("services", "default", "web");
    await eventually(() => expect(get(cluster, "web")).rejects.toThrow("not found"));
  });

  it("[sig-network] LoadBalancers should be able to create LoadBalancer Service without NodePort and change it [Slow]", async () => {
    const cluster = await start();
    await balancer(cluster, "web", { allocateLoadBalancerNodePorts: false });
    const made = await expectIps(cluster, "web", ["192.0.2.1"]);
    expect(made.spec?.ports?.map(({ nodePort }) => nodePort)).toEqual([undefined]);
    const spec = { ...made.spec, allocateLoadBalancerNodePorts: true };
    const changed = await cluster.client.update<Service>("services", { ...made, spec });
    expect(changed.spec?.ports?.[0]?.nodePort).toBeGreaterThanOrEqual(30000);
  });

  it("have the address that they ask for, or wait for it and are told why", async () => {
    const cluster = await start();
    await balancer(cluster, "a", { loadBalancerIP: "192.0.2.5" });
    await expectIps(cluster, "a", ["192.0.2.5"]);
    const annotations = { "podwire.dev/load-balancer-ips": "192.0.2.6" };
    await balancer(cluster, "b", {}, { annotations });
    await expectIps(cluster, "b", ["192.0.2.6"]);
    await balancer(cluster, "c", { loadBalancerIP: "192.0.2.5" });
    await balancer(cluster, "d", { loadBalancerIP: "10.0.0.1" });
    await eventually(async () => {
      const messages = (await cluster.events("SyncLoadBalancerFailed")).map(({ message }) => message);
      expect(messages).toContainEqual(expect.stringContaining("the address 192.0.2.5 is already in use"));
      expect(messages).toContainEqual(expect.stringContaining("10.0.0.1 is not in the pool 192.0.2.1/32"));
    });
    expect(ipsOf(await get(cluster, "c"))).toBeUndefined();
    await cluster.client.delete("services", "default", "a");
    await expectIps(cluster, "c", ["192.0.2.5"]);
  });

  it("wait when the pool is exhausted", async () => {
    const cluster = await start(["192.0.2.9/32"]);
    await balancer(cluster, "a");
    await expectIps(cluster, "a", ["192.0.2.9"]);
    await balancer(cluster, "b");
    await eventually(async () => {
      const [event] = await cluster.events("SyncLoadBalancerFailed");
      expect(event?.message).toContain("no IPv4 address of the pool 192.0.2.9/32 is free");
    });
    await cluster.client.delete("services", "default", "a");
    await expectIps(cluster, "b", ["192.0.2.9"]);
  });

  it("keep their address over a restart of the controllers, and of another's class are left alone", async () => {
    const cluster = await start();
    for (const name of ["a", "b"]) {
      await balancer(cluster, name);
      await eventually(async () => expect(ipsOf(await get(cluster, name))).toHaveLength(1));
    }
    await balancer(cluster, "classy", { loadBalancerClass: "example.com/internal-vip" });
    const before = [ipsOf(await get(cluster, "a")), ipsOf(await get(cluster, "b"))];
    await cluster.stopControllers();
    await cluster.startControllers();
    await settle();
    expect([ipsOf(await get(cluster, "a")), ipsOf(await get(cluster, "b"))]).toEqual(before);
    const classy = await get(cluster, "classy");
    expect([ipsOf(classy), classy.metadata?.finalizers]).toEqual([undefined, undefined]);
  });

  it("have one address of each of their families", async () => {
    const cluster = await start(["192.0.2.1/32", "fd00:1b::/64"], {
      serviceCidrs: ["10.96.0.0/16", "fd00:96::/112"],
    });
    await balancer(cluster, "dual", { ipFamilyPolicy: "RequireDualStack" });
    await expectIps(cluster, "dual", ["192.0.2.1", "fd00:1b::"]);
    await balancer(cluster, "six", { ipFamilies: ["IPv6"] });
    await expectIps(cluster, "six", ["fd00:1b::1"]);
  });
});
