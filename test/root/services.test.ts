import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Service } from "../../src/kube/index.js";
import { NODE_IPS, NODES, ServiceLab } from "./service-lab.js";

/** Upstream's Services cases (test/e2e/network/service.go) on one lab: a server and a client on each of three nodes. */
const lab = new ServiceLab("svc");
const SERVERS = ["web-1", "web-2", "web-3"];
const CLIENTS = ["client-1", "client-2", "client-3"];
const WEB = { app: "web" };
const HTTP = [{ name: "http", port: 80, targetPort: 8080 }];
const BOTH = [
  { name: "tcp", port: 80, targetPort: 8080, protocol: "TCP" },
  { name: "udp", port: 80, targetPort: 8080, protocol: "UDP" },
];

beforeAll(async () => {
  await lab.up();
  await Promise.all([
    ...SERVERS.map((name, index) => lab.pod(name, { node: NODES[index] ?? "", labels: { ...WEB, name } })),
    ...CLIENTS.map((name, index) => lab.pod(name, { node: NODES[index] ?? "", labels: { name } })),
  ]);
  await lab.ready(...SERVERS, ...CLIENTS);
});
afterAll(() => lab.down());

const distinct = (answers: readonly string[]) => [...new Set(answers)].sort();
const url = (address: string, port = 80) => `http://${address}:${port}/hostname`;
const portsOf = ({ spec }: Service) => (spec?.ports ?? []).map(({ nodePort }) => nodePort ?? 0);
const clusterIp = ({ spec }: Service) => spec?.clusterIP ?? "";
const name = (service: string) => `${service}.default.svc.cluster.local`;

/** Makes a Service, waits for its three endpoints, and removes it after the test. */
async function withService(spec: object, test: (service: Service) => Promise<void>): Promise<void> {
  const service = await lab.service("tried", { selector: WEB, ports: HTTP, ...spec });
  try {
    await lab.becomes("client-1", url(clusterIp(service)), /^web-/);
    await test(service);
  } finally {
    await lab.remove("services", "tried");
  }
}

describe("[sig-network] Services", () => {
  it("should be able to create a functioning NodePort service", () =>
    withService({ type: "NodePort" }, async (service) => {
      const [nodePort = 0] = portsOf(service);
      const targets = [
        url(name("tried")),
        url(clusterIp(service)),
        ...NODE_IPS.map((ip) => url(ip, nodePort)),
      ];
      for (const target of targets) {
        await lab.becomes("client-1", target, /^web-/);
        expect(distinct(await lab.ask("client-1", target, 6))).toEqual(SERVERS);
      }
      expect(distinct(await lab.ask("host", url(NODE_IPS[2], nodePort), 3))).toEqual(SERVERS);
      expect(distinct(await lab.ask("node-2", url(NODE_IPS[0], nodePort), 3))).toEqual(SERVERS);
    }));

  it("should preserve source pod IP for traffic thru service cluster IP [LinuxOnly]", () =>
    withService({ selector: { name: "web-1" } }, async (service) => {
      for (const client of ["client-1", "client-2"]) {
        const [seen] = await lab.ask(client, `http://${clusterIp(service)}/clientip`);
        expect(seen?.split(":")[0]).toBe(await lab.podIp(client));
      }
    }));

  it("should allow pods to hairpin back to themselves through services", () =>
    withService({ selector: { name: "web-2" } }, async (service) => {
      expect(await lab.ask("web-2", url(clusterIp(service)), 2)).toEqual(["web-2", "web-2"]);
    }));

  const affinity = { sessionAffinity: "ClientIP" };
  describe.each([
    ["service with type clusterIP", {}, (service: Service) => url(clusterIp(service))],
    ["NodePort service", { type: "NodePort" }, (service: Service) => url(NODE_IPS[1], portsOf(service)[0])],
  ])("[sig-network] Services", (kind, type, target) => {
    it(`should have session affinity work for ${kind} [LinuxOnly]`, () =>
      withService({ ...type, ...affinity }, async (service) => {
        await lab.becomes("client-1", target(service), /^web-/);
        expect(distinct(await lab.ask("client-1", target(service), 15))).toHaveLength(1);
      }));

    it(`should be able to switch session affinity for ${kind} [LinuxOnly]`, () =>
      withService(type, async (service) => {
        const stays = async () => distinct(await lab.ask("client-1", target(service), 9)).length === 1;
        await lab.becomes("client-1", target(service), /^web-/);
        expect(await stays()).toBe(false);
        await lab.editService("tried", (spec) => Object.assign(spec, affinity));
        await lab.until("affinity on", stays);
        await lab.editService("tried", (spec) =>
          Object.assign(spec, { sessionAffinity: "None", sessionAffinityConfig: null }),
        );
        await lab.until("affinity off", async () => !(await stays()));
      }));

    it(`should have session affinity timeout work for ${kind} [LinuxOnly]`, () => {
      const sessionAffinityConfig = { clientIP: { timeoutSeconds: 1 } };
      return withService({ ...type, ...affinity, sessionAffinityConfig }, async (service) => {
        await lab.becomes("client-2", target(service), /^web-/);
        const [first] = await lab.ask("client-2", target(service));
        expect(distinct(await lab.ask("client-2", target(service), 5))).toEqual([first]);
        await lab.until("another endpoint after a pause", async () => {
          await new Promise((resolve) => setTimeout(resolve, 1200));
          return (await lab.ask("client-2", target(service)))[0] !== first;
        });
      });
    });
  });

  it("should be able to up and down services", async () => {
    const [one, two] = await Promise.all(
      ["up-1", "up-2"].map((each) => lab.service(each, { selector: WEB, ports: HTTP })),
    );
    for (const service of [one, two])
      await lab.becomes("client-1", url(clusterIp(service as Service)), /^web-/);
    await lab.remove("services", "up-1");
    await lab.becomes("client-1", url(clusterIp(one as Service)), "timeout");
    expect(await lab.ask("client-1", url(clusterIp(two as Service)))).toEqual([
      expect.stringMatching(/^web-/),
    ]);
    const three = await lab.service("up-3", { selector: WEB, ports: HTTP });
    await lab.becomes("client-1", url(clusterIp(three)), /^web-/);
    await lab.remove("services", "up-2", "up-3");
  });

  it("should work after the service has been recreated", async () => {
    const spec = { selector: WEB, ports: HTTP, type: "NodePort" };
    const first = await lab.service("again", spec);
    await lab.becomes("client-1", url(clusterIp(first)), /^web-/);
    await lab.remove("services", "again");
    await lab.becomes("client-1", url(NODE_IPS[0], portsOf(first)[0]), "refused");
    const second = await lab.service("again", { ...spec, clusterIP: clusterIp(first) });
    await lab.becomes("client-1", url(clusterIp(first)), /^web-/);
    await lab.becomes("client-1", url(NODE_IPS[0], portsOf(second)[0]), /^web-/);
    await lab.remove("services", "again");
  });

  it("should be updated after adding or deleting ports", () =>
    withService({}, async (service) => {
      const ip = clusterIp(service);
      await lab.editService("tried", (spec) =>
        spec.ports?.push({ name: "more", port: 81, targetPort: 8080 }),
      );
      await lab.becomes("client-1", url(ip, 81), /^web-/);
      expect(await lab.ask("client-1", url(ip, 80))).toEqual([expect.stringMatching(/^web-/)]);
      await lab.editService("tried", (spec) => spec.ports?.shift());
      await lab.becomes("client-1", url(ip, 80), "refused");
      expect(await lab.ask("client-1", url(ip, 81))).toEqual([expect.stringMatching(/^web-/)]);
    }));

  it("should serve endpoints on same port and different protocols", () =>
    withService({ ports: BOTH }, async (service) => {
      const ip = clusterIp(service);
      const udp = async () => (await lab.udp("client-1", ip, 80))[0];
      await lab.until("UDP", async () => /^web-/.test((await udp()) ?? ""));
      await lab.editService("tried", (spec) => spec.ports?.shift());
      await lab.becomes("client-1", url(ip), "refused");
      expect(await udp()).toMatch(/^web-/);
    }));

  it("should be able to update service type to NodePort listening on same port number but different protocols", () =>
    withService({ ports: BOTH }, async () => {
      const nodePort = 31234;
      const service = await lab.editService("tried", (spec) => {
        spec.type = "NodePort";
        spec.ports = BOTH.map((port) => ({ ...port, nodePort }));
      });
      expect(portsOf(service)).toEqual([nodePort, nodePort]);
      await lab.becomes("client-1", url(NODE_IPS[2], nodePort), /^web-/);
      expect(await lab.udp("client-1", NODE_IPS[2], nodePort)).toEqual([expect.stringMatching(/^web-/)]);
    }));

  it.each(["service-proxy-name", "headless"])("should implement service.kubernetes.io/%s", (label) =>
    withService({}, async (service) => {
      const key = `service.kubernetes.io/${label}`;
      await lab.edit<Service>("services", "tried", ({ metadata }) =>
        Object.assign(metadata ?? {}, { labels: { [key]: "mine" } }),
      );
      await lab.becomes("client-1", url(clusterIp(service)), "timeout");
      await lab.edit<Service>("services", "tried", ({ metadata }) =>
        Object.assign(metadata ?? {}, { labels: {} }),
      );
      await lab.becomes("client-1", url(clusterIp(service)), /^web-/);
    }),
  );

  it("should be possible to connect to a service via ExternalIP when the external IP is not assigned to a node", () =>
    withService({ externalIPs: ["203.0.113.250"] }, async () => {
      for (const client of ["client-1", "node-2"])
        expect(distinct(await lab.ask(client, url("203.0.113.250"), 3))).toEqual(SERVERS);
    }));
});

describe("[sig-network] Services should be able to change the type", () => {
  /** A Service under this name, of the first type and then of the second. */
  async function change(from: object, to: object): Promise<Service> {
    await lab.service("changing", from);
    const service = await lab.editService("changing", (spec) => {
      for (const key of Object.keys(spec)) delete (spec as Record<string, unknown>)[key];
      Object.assign(spec, to);
    });
    return service;
  }
  const external = { type: "ExternalName", externalName: name("target") };
  const internal = { type: "ClusterIP", selector: WEB, ports: HTTP };
  beforeAll(async () => void (await lab.service("target", { selector: { name: "web-3" }, ports: HTTP })));
  afterAll(() => lab.remove("services", "target"));

  it.each([
    ["from ClusterIP to ExternalName", internal, external],
    ["from NodePort to ExternalName", { ...internal, type: "NodePort" }, external],
  ])("%s", async (_title, from, to) => {
    await change(from, to);
    await lab.becomes("client-1", url(name("changing")), "web-3");
    await lab.remove("services", "changing");
  });

  it("from ExternalName to ClusterIP", async () => {
    const service = await change(external, internal);
    await lab.becomes("client-1", url(clusterIp(service)), /^web-/);
    await lab.until(
      "all pods by name",
      async () => distinct(await lab.ask("client-1", url(name("changing")), 3)).length === 3,
    );
    await lab.remove("services", "changing");
  });

  it("from ExternalName to NodePort", async () => {
    const service = await change(external, { ...internal, type: "NodePort" });
    await lab.becomes("host", url(NODE_IPS[1], portsOf(service)[0]), /^web-/);
    await lab.remove("services", "changing");
  });
});
