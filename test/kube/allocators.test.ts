import { afterEach, describe, expect, it } from "vitest";
import type { Service } from "../../src/kube/index.js";
import { type Lab, refusal, service, startLab } from "./harness.js";

const labs: Lab[] = [];
afterEach(async () => {
  for (const lab of labs.splice(0)) await lab.close();
});
async function start(options: Parameters<typeof startLab>[0] = {}): Promise<Lab> {
  const lab = await startLab(options);
  labs.push(lab);
  return lab;
}
const create = (lab: Lab, name: string, spec: Service["spec"] = {}) =>
  lab.local.create<Service>("services", service(name, spec));
const nodePort = (port: number, more: object = {}) => ({ port: 80, nodePort: port, ...more });
const causes = async (call: Promise<unknown>) =>
  (await refusal(call)).details?.causes?.map((one) => `${one.field}: ${one.message}`);

describe("ClusterIPs", () => {
  it("come from the upper part of the range and are unique", async () => {
    const lab = await start();
    const made = await Promise.all(Array.from({ length: 50 }, (_, index) => create(lab, `s${index}`)));
    const ips = made.map((one) => one.spec?.clusterIP ?? "");
    expect(new Set(ips).size).toBe(50);
    for (const [index, ip] of ips.entries()) {
      const [a, b, c, d] = ip.split(".").map(Number);
      expect([a, b]).toEqual([10, 254]);
      // The lowest 256 addresses are left to those who choose by hand.
      expect(c! * 256 + d!).toBeGreaterThan(256);
      expect(made[index]?.spec?.clusterIPs).toEqual([ip]);
    }
  });

  it("are given as asked, else refused in Kubernetes' words", async () => {
    const lab = await start();
    expect((await create(lab, "a", { clusterIP: "10.254.0.10" })).spec?.clusterIP).toBe("10.254.0.10");
    expect(await refusal(create(lab, "b", { clusterIP: "10.254.0.10" }))).toMatchObject({
      code: 422,
      message:
        'Service "b" is invalid: spec.clusterIPs: Invalid value: []string{"10.254.0.10"}: failed to allocate IP 10.254.0.10: provided IP is already allocated',
    });
    expect(await causes(create(lab, "b", { clusterIP: "fd00::1" }))).toEqual([
      'spec.clusterIPs[0]: Invalid value: []string{"fd00::1"}: IPv6 is not configured on this cluster',
    ]);
    for (const ip of ["10.96.0.1", "10.254.0.0", "10.254.255.255"]) {
      expect(await causes(create(lab, "b", { clusterIP: ip }))).toEqual([
        `spec.clusterIPs: Invalid value: []string{"${ip}"}: failed to allocate IP ${ip}: the provided IP (${ip}) is not in the valid range. The range of valid IPs is 10.254.0.0/16`,
      ]);
    }
  });

  it("may be spelled with leading zeros, which are no octal", async () => {
    const lab = await start();
    const made = await create(lab, "a", { clusterIP: "10.254.0.011" });
    expect(made.spec).toMatchObject({ clusterIP: "10.254.0.011", clusterIPs: ["10.254.0.011"] });
    const names = async () =>
      (await lab.local.list("ipaddresses")).items.map(({ metadata }) => metadata?.name ?? "");
    expect(await names()).toEqual(["10.254.0.11"]);
    expect(await causes(create(lab, "b", { clusterIP: "10.254.0.11" }))).toHaveLength(1);
    expect(await causes(create(lab, "b", { clusterIP: "10.254.000.011" }))).toHaveLength(1);
    expect((await create(lab, "octal", { clusterIP: "10.254.0.9" })).spec?.clusterIP).toBe("10.254.0.9");
    expect(await causes(create(lab, "b", { clusterIP: "10.254.0.0256" }))).toEqual([
      'spec.clusterIPs[0]: Invalid value: "10.254.0.0256": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
    ]);
    expect(await causes(create(lab, "b", { externalIPs: ["10.9.0.011"] }))).toHaveLength(1);
    await lab.local.delete("services", "default", "a");
    expect(await names()).toEqual(["10.254.0.9"]);
  });

  it("keep the first address for the API's own Service", async () => {
    const lab = await start();
    expect(await causes(create(lab, "b", { clusterIP: "10.254.0.1" }))).toHaveLength(1);
    expect((await create(lab, "kubernetes", { clusterIP: "10.254.0.1" })).spec?.clusterIP).toBe("10.254.0.1");
  });

  it("run out, leave .10 to those who ask, and are free again after a delete", async () => {
    const lab = await start({ serviceCidrs: ["10.9.0.0/28"] });
    // 14 usable addresses less .1 and .10.
    const made = await Promise.all(Array.from({ length: 12 }, (_, index) => create(lab, `s${index}`)));
    expect(new Set(made.map((one) => one.spec?.clusterIP)).size).toBe(12);
    expect(await refusal(create(lab, "full"))).toMatchObject({
      code: 500,
      message: "Internal error occurred: failed to allocate a serviceIP: range is full",
    });
    await create(lab, "dns", { clusterIP: "10.9.0.10" });
    await lab.local.delete("services", "default", "s3");
    expect((await create(lab, "next")).spec?.clusterIP).toBe(made[3]?.spec?.clusterIP);
  });

  it("are not for headless Services nor external names", async () => {
    const lab = await start();
    const headless = await create(lab, "headless", { clusterIP: "None", ports: [] });
    expect(headless.spec).toMatchObject({ clusterIP: "None", clusterIPs: ["None"] });
    const name = await create(lab, "name", { type: "ExternalName", externalName: "example.com", ports: [] });
    expect(name.spec?.clusterIP).toBeUndefined();
  });
});

describe("node ports", () => {
  it("come from 30000–32767 and are refused when taken or out of range", async () => {
    const lab = await start();
    const given = (await create(lab, "a", { type: "NodePort" })).spec?.ports?.[0]?.nodePort ?? 0;
    expect(given >= 30000 && given <= 32767).toBe(true);
    await create(lab, "b", { type: "NodePort", ports: [nodePort(30001)] });
    expect(await refusal(create(lab, "c", { type: "NodePort", ports: [nodePort(30001)] }))).toMatchObject({
      message:
        'Service "c" is invalid: spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated',
    });
    expect(await causes(create(lab, "c", { type: "NodePort", ports: [nodePort(80)] }))).toEqual([
      "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767",
    ]);
    await lab.local.delete("services", "default", "b");
    await create(lab, "c", { type: "NodePort", ports: [nodePort(30001)] });
  });

  it("may be shared by protocols within one Service only", async () => {
    const lab = await start();
    const dns = [
      { name: "udp", protocol: "UDP", port: 53 },
      { name: "tcp", protocol: "TCP", port: 53 },
      { name: "metrics", protocol: "TCP", port: 9153 },
    ];
    const [udp, tcp, metrics] = (await create(lab, "dns", { type: "NodePort", ports: dns })).spec!.ports!;
    expect(udp?.nodePort).toBe(tcp?.nodePort);
    expect(metrics?.nodePort).not.toBe(tcp?.nodePort);
    const other = { type: "NodePort", ports: [{ protocol: "SCTP", port: 1, nodePort: udp!.nodePort! }] };
    expect(await causes(create(lab, "other", other))).toHaveLength(1);
  });

  it("stay with their Service through updates and are freed by a change of type", async () => {
    const lab = await start();
    const made = await create(lab, "a", { type: "NodePort", ports: [nodePort(31000)] });
    const withoutAddresses = {
      ...made,
      spec: { type: "NodePort", ports: [{ port: 80 }], selector: { app: "z" } },
    } as Service;
    const updated = await lab.local.update<Service>("services", withoutAddresses);
    expect(updated.spec?.ports?.[0]?.nodePort).toBe(31000);
    expect(updated.spec?.clusterIP).toBe(made.spec?.clusterIP);
    const moved = { ...updated, spec: { ...updated.spec, ports: [nodePort(31001)] } };
    const again = await lab.local.update<Service>("services", moved);
    await create(lab, "b", { type: "NodePort", ports: [nodePort(31000)] });
    expect(await causes(create(lab, "c", { type: "NodePort", ports: [nodePort(31001)] }))).toHaveLength(1);
    const plain = await lab.local.update<Service>("services", {
      ...again,
      spec: { ...again.spec, type: "ClusterIP" },
    });
    expect(plain.spec?.ports?.[0]?.nodePort).toBeUndefined();
    expect(plain.spec?.externalTrafficPolicy).toBeUndefined();
    await create(lab, "c", { type: "NodePort", ports: [nodePort(31001)] });
  });

  it("give a local load balancer its health check port", async () => {
    const lab = await start();
    const made = await create(lab, "lb", { type: "LoadBalancer", externalTrafficPolicy: "Local" });
    const port = made.spec?.healthCheckNodePort ?? 0;
    expect(port).toBeGreaterThanOrEqual(30000);
    expect(port).not.toBe(made.spec?.ports?.[0]?.nodePort);
    expect(await causes(create(lab, "b", { type: "NodePort", ports: [nodePort(port)] }))).toHaveLength(1);
    const cluster = { ...made, spec: { ...made.spec, externalTrafficPolicy: "Cluster" } };
    expect((await lab.local.update<Service>("services", cluster)).spec?.healthCheckNodePort).toBeUndefined();
    await create(lab, "b", { type: "NodePort", ports: [nodePort(port)] });
  });
});

describe("allocation", () => {
  it("gives an address to one of many who race for it", async () => {
    const lab = await start();
    const spec = { type: "NodePort", clusterIP: "10.254.7.7", ports: [nodePort(30777)] };
    const tries = Array.from({ length: 8 }, (_, index) =>
      (index % 2 ? lab.http : lab.local).create("services", service(`s${index}`, spec)),
    );
    const outcomes = await Promise.allSettled(tries);
    expect(outcomes.filter((one) => one.status === "fulfilled")).toHaveLength(1);
  });

  it("gives back what an update that lost its race had taken", async () => {
    const lab = await start();
    const made = await create(lab, "a", { type: "NodePort", ports: [nodePort(30100)] });
    const wants = (port: number) =>
      lab.http.update("services", { ...made, spec: { ...made.spec, ports: [nodePort(port)] } });
    const outcomes = await Promise.allSettled([wants(30101), wants(30102)]);
    expect(outcomes.map((one) => one.status).sort()).toEqual(["fulfilled", "rejected"]);
    const { spec } = await lab.local.get<Service>("services", "default", "a");
    const loser = spec?.ports?.[0]?.nodePort === 30101 ? 30102 : 30101;
    await create(lab, "b", { type: "NodePort", ports: [nodePort(loser)] });
    await create(lab, "c", { type: "NodePort", ports: [nodePort(30100)] });
  });

  it("says that a Service exists before it says that its addresses are taken", async () => {
    const lab = await start();
    const spec = { type: "NodePort", clusterIP: "10.254.1.1", ports: [nodePort(30200)] };
    await create(lab, "a", spec);
    expect((await refusal(create(lab, "a", spec))).reason).toBe("AlreadyExists");
  });

  it("knows after a restart what is taken, and what was deleted", async () => {
    const first = await startLab();
    await create(first, "a", { type: "NodePort", clusterIP: "10.254.2.2", ports: [nodePort(30300)] });
    await create(first, "gone", { clusterIP: "10.254.2.3" });
    await first.local.delete("services", "default", "gone");
    await first.close();
    const lab = await start({ store: first.store });
    expect(await causes(create(lab, "b", { clusterIP: "10.254.2.2" }))).toHaveLength(1);
    expect(await causes(create(lab, "b", { type: "NodePort", ports: [nodePort(30300)] }))).toHaveLength(1);
    await create(lab, "b", { clusterIP: "10.254.2.3" });
  });

  it("reads the stored Services again after a write whose outcome is unknown", async () => {
    const lab = await start();
    const { txn } = lab.store;
    // The write arrives, the answer does not.
    lab.store.txn = async (...args) => {
      lab.store.txn = txn;
      await txn.apply(lab.store, args);
      throw new Error("connection lost");
    };
    await expect(create(lab, "a", { clusterIP: "10.254.3.3" })).rejects.toThrow("connection lost");
    expect(await causes(create(lab, "b", { clusterIP: "10.254.3.3" }))).toHaveLength(1);
  });

  it("refuses a service network that is none", async () => {
    await expect(startLab({ serviceCidrs: ["10.254.0.0"] })).rejects.toThrow(
      "give a network such as 10.254.0.0/16",
    );
    await expect(startLab({ serviceCidrs: ["10.254.0.0/31"] })).rejects.toThrow("too small");
  });
});
