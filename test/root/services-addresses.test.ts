import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Service, ServiceCIDR } from "../../src/kube/index.js";
import { NODE_IPS, NODES, ServiceLab } from "./service-lab.js";

/** Addresses and node ports other than the usual ones: spelled oddly, of networks added later, of another range. */
const lab = new ServiceLab("svcad");
const HTTP = [{ name: "http", port: 80, targetPort: 8080 }];
const WEB = { app: "web" };
const PLACES = ["client", "node-1", "node-3", "host"];
const url = (address: string, port = 80) => `http://${address}:${port}/hostname`;

beforeAll(async () => {
  await lab.up("network: { nodePorts: 20000-20100 }");
  await lab.pod("web", { node: NODES[1], labels: WEB });
  await lab.pod("client", { node: NODES[0] });
  await lab.ready("web", "client");
});
afterAll(() => lab.down());

describe("[sig-network] CVE-2021-29923", () => {
  it("IPv4 Service Type ClusterIP with leading zeros should work interpreted as decimal", async () => {
    const own = (await lab.client.get<Service>("services", "default", "kubernetes")).spec?.clusterIP ?? "";
    const at = (last: string) => own.replace(/\d+$/, last);
    const service = await lab.service("funny-ip", { clusterIP: at("013"), selector: WEB, ports: HTTP });
    expect(service.spec?.clusterIP).toBe(at("013"));
    for (const place of PLACES) await lab.becomes(place, url(at("13")), "web");
    // What it would be as octal.
    for (const place of PLACES) expect(await lab.ask(place, url(at("11")), 1, 1)).toEqual(["timeout"]);
    await lab.remove("services", "funny-ip");
  });
});

describe("node ports of another range", () => {
  it("are reached at all of a node's addresses, loopback's too", async () => {
    const ports = [...HTTP, { name: "udp", port: 80, targetPort: 8080, protocol: "UDP" }];
    const service = await lab.service("ranged", { type: "NodePort", selector: WEB, ports });
    const [http = 0, udp = 0] = (service.spec?.ports ?? []).map(({ nodePort }) => nodePort ?? 0);
    for (const port of [http, udp]) {
      expect(port).toBeGreaterThanOrEqual(20_000);
      expect(port).toBeLessThanOrEqual(20_100);
    }
    for (const [place, address] of [
      ["node-1", "127.0.0.1"],
      ["node-1", NODE_IPS[0]],
      ["client", NODE_IPS[2]],
      ["host", NODE_IPS[0]],
    ] as const) {
      await lab.becomes(place, url(address, http), "web");
      expect(await lab.udp(place, address, udp)).toEqual(["web"]);
    }
    // Not of the usual range: loopback is as any other.
    expect(await lab.ask("node-1", url("127.0.0.1", 30_000))).toEqual(["refused"]);
    await lab.remove("services", "ranged");
  });
});

describe("a ServiceCIDR that a user makes", () => {
  const cidr = (name: string, cidrs: string[]) =>
    lab.client.create<ServiceCIDR>("servicecidrs", { metadata: { name }, spec: { cidrs } });
  const route = async (network: string) =>
    (await lab.run("host", "ip", "route", "show", network)).stdout.trim();

  it("is routed, for Services with addresses from it, while it is there", async () => {
    await cidr("more", ["10.88.0.0/24"]);
    await lab.until("a route", async () => (await route("10.88.0.0/24")).includes("via 10.177.0."));
    await lab.service("asked", { clusterIP: "10.88.0.10", selector: WEB, ports: HTTP });
    for (const place of PLACES) await lab.becomes(place, url("10.88.0.10"), "web");
    // Nobody's address: dropped by the first node that sees it, and not sent around until its TTL is over.
    for (const place of PLACES) expect(await lab.ask(place, url("10.88.0.11"), 1, 1)).toEqual(["timeout"]);
    await lab.remove("services", "asked");
    await lab.client.delete("servicecidrs", undefined, "more");
    await lab.until("no route", async () => (await route("10.88.0.0/24")) === "");
  });

  it("is not routed where the host has a way of its own", async () => {
    await lab.run("host", "ip", "route", "add", "10.89.0.0/16", "dev", "lo");
    await cidr("taken", ["10.89.7.0/24"]);
    await cidr("free", ["10.90.0.0/24"]);
    await lab.until("the other's route", async () => (await route("10.90.0.0/24")) !== "");
    expect(await route("10.89.7.0/24")).toBe("");
    expect(await route("10.89.0.0/16")).toContain("dev lo");
    await lab.client.delete("servicecidrs", undefined, "taken");
    await lab.client.delete("servicecidrs", undefined, "free");
  });
});
