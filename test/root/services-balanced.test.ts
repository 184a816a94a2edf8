import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Service } from "../../src/kube/index.js";
import { HOST_IP, NODE_IPS, NODES, ServiceLab } from "./service-lab.js";

/**
 * Services of type LoadBalancer (upstream test/e2e/network/loadbalancer.go): they get their address from the topology's pool,
 * of which there is one, and the host is the network outside.
 */
const lab = new ServiceLab("svclb");
const VIP = "10.9.0.1";
const SERVERS = ["web-1", "web-2", "web-3"];
const WEB = { app: "web" };
const HTTP = [{ name: "http", port: 80, targetPort: 8080 }];
const UDP = [{ name: "udp", port: 80, targetPort: 8080, protocol: "UDP" }];
const url = (address: string, port = 80, path = "hostname") => `http://${address}:${port}/${path}`;
const distinct = (answers: readonly string[]) => [...new Set(answers)].sort();
const nodePort = ({ spec }: Service) => spec?.ports?.[0]?.nodePort ?? 0;

beforeAll(async () => {
  await lab.up(`network: { loadBalancerPool: [${VIP}] }`);
  await Promise.all([
    ...SERVERS.map((name, index) =>
      lab.pod(name, { node: NODES[index] ?? "", labels: { ...WEB, name, many: "1" } }),
    ),
    // Besides a client a second server on each node.
    ...NODES.map((node, index) => lab.pod(`client-${index + 1}`, { node, labels: { many: "1" } })),
  ]);
  await lab.ready(...SERVERS, "client-1", "client-2", "client-3");
});
afterAll(() => lab.down());

/** The Service when it has the address of the pool. */
async function balance(name: string): Promise<Service> {
  const get = () => lab.client.get<Service>("services", "default", name);
  await lab.until("an address", async () => (await get()).status?.loadBalancer?.ingress?.[0]?.ip === VIP);
  return get();
}

/** Makes a Service of type LoadBalancer for one test. */
async function balanced(spec: object, test: (service: Service) => Promise<void>): Promise<void> {
  await lab.service("lb", { type: "LoadBalancer", selector: WEB, ports: HTTP, ...spec });
  try {
    await test(await balance("lb"));
  } finally {
    await lab.remove("services", "lb");
    await lab.until("the address is withdrawn", async () => !(await route()).includes(VIP));
  }
}

/** The host's route to the address: the node that it leads to. */
async function route(): Promise<string> {
  return (await lab.run("host", "ip", "route", "show", VIP)).stdout;
}

/** What the load balancer hears of one node: code, weight and body. */
async function health(
  { spec }: Service,
  node: 0 | 1 | 2,
): Promise<{ code: number; weight: string; local: number }> {
  const target = url(NODE_IPS[node], spec?.healthCheckNodePort, "healthz");
  const { code, stdout, stderr } = await lab.run("host", "curl", "-sS", "-i", "--max-time", "2", target);
  if (code !== 0) throw new Error(stderr);
  const body = JSON.parse(stdout.split("\r\n\r\n")[1] ?? "") as { localEndpoints: number };
  return {
    code: Number(stdout.split(" ")[1]),
    weight: /x-load-balancing-endpoint-weight: (\d+)/i.exec(stdout)?.[1] ?? "",
    local: body.localEndpoints,
  };
}

describe("[sig-network] LoadBalancers", () => {
  it.each([
    ["TCP", HTTP, async (ip: string, port: number) => (await lab.ask("host", url(ip, port), 1, 1))[0] ?? ""],
    ["UDP", UDP, async (ip: string, port: number) => (await lab.udp("host", ip, port))[0] ?? ""],
  ])("should be able to change the type and ports of a %s service [Slow]", async (_protocol, ports, ask) => {
    const answers = (ip: string, port: number, outcome: RegExp) =>
      lab.until(`${ip}:${port} ${outcome}`, async () => outcome.test(await ask(ip, port)));
    const edit = (change: (spec: NonNullable<Service["spec"]>) => void) =>
      lab.editService("changing", change);
    await lab.service("changing", { selector: WEB, ports });
    const asNodePort = await edit((spec) => Object.assign(spec, { type: "NodePort" }));
    await answers(NODE_IPS[0], nodePort(asNodePort), /^web-/);
    await edit((spec) => Object.assign(spec, { type: "LoadBalancer" }));
    await balance("changing");
    await answers(VIP, 80, /^web-/);
    const moved = nodePort(asNodePort) === 32_700 ? 32_701 : 32_700;
    await edit((spec) => Object.assign(spec.ports?.[0] ?? {}, { nodePort: moved }));
    await answers(NODE_IPS[1], moved, /^web-/);
    await answers(NODE_IPS[1], nodePort(asNodePort), /^refused$/);
    await edit((spec) => Object.assign(spec.ports?.[0] ?? {}, { port: 81 }));
    await answers(VIP, 81, /^web-/);
    await edit((spec) => Object.assign(spec, { selector: { app: "nobody" } }));
    await answers(VIP, 81, /^refused$/);
    await edit((spec) => Object.assign(spec, { selector: WEB }));
    await answers(VIP, 81, /^web-/);
    await edit((spec) => {
      spec.type = "ClusterIP";
      delete spec.ports?.[0]?.nodePort;
    });
    await answers(NODE_IPS[1], moved, /^refused$/);
    await lab.until("the address is withdrawn", async () => !(await route()).includes(VIP));
    await lab.remove("services", "changing");
  });

  it("should be able to create LoadBalancer Service without NodePort and change it [Slow]", () =>
    balanced({ allocateLoadBalancerNodePorts: false }, async (service) => {
      expect(nodePort(service)).toBe(0);
      await lab.becomes("host", url(VIP), /^web-/);
      const changed = await lab.editService("lb", (spec) =>
        Object.assign(spec, { allocateLoadBalancerNodePorts: true }),
      );
      await lab.becomes("host", url(NODE_IPS[0], nodePort(changed)), /^web-/);
    }));

  describe.each(["Cluster", "Local"])("[sig-network] LoadBalancers", (externalTrafficPolicy) => {
    const target = url(VIP);
    const stays = async () => distinct(await lab.ask("host", target, 9)).length === 1;

    it(`should have session affinity work for LoadBalancer service with ${externalTrafficPolicy} traffic policy [Slow] [LinuxOnly]`, () =>
      balanced({ externalTrafficPolicy, sessionAffinity: "ClientIP" }, async () => {
        await lab.becomes("host", target, /^web-/);
        expect(await stays()).toBe(true);
      }));

    it(`should be able to switch session affinity for LoadBalancer service with ${externalTrafficPolicy} traffic policy [Slow] [LinuxOnly]`, () =>
      balanced({ externalTrafficPolicy, selector: { many: "1" } }, async () => {
        await lab.becomes("host", target, /^(web|client)-/);
        await lab.until("affinity off", async () => !(await stays()));
        await lab.editService("lb", (spec) => Object.assign(spec, { sessionAffinity: "ClientIP" }));
        await lab.until("affinity on", stays);
        await lab.editService("lb", (spec) =>
          Object.assign(spec, { sessionAffinity: "None", sessionAffinityConfig: null }),
        );
        await lab.until("affinity off", async () => !(await stays()));
      }));
  });

  it("should only allow access from service loadbalancer source ranges [Slow]", () =>
    balanced({ loadBalancerSourceRanges: [`${HOST_IP}/32`] }, async () => {
      await lab.becomes("host", url(VIP), /^web-/);
      await lab.becomes("client-1", url(VIP), "timeout");
      const clientIp = await lab.podIp("client-1");
      await lab.editService("lb", (spec) =>
        Object.assign(spec, { loadBalancerSourceRanges: [`${clientIp}/32`] }),
      );
      await lab.becomes("client-1", url(VIP), /^web-/);
      await lab.becomes("host", url(VIP), "timeout");
      await lab.becomes("client-2", url(VIP), "timeout");
      await lab.editService("lb", (spec) => Object.assign(spec, { loadBalancerSourceRanges: null }));
      for (const place of ["host", "client-2"]) await lab.becomes(place, url(VIP), /^web-/);
    }));

  it("[sig-network] Services should serve endpoints on same port and different protocol for internal traffic on Type LoadBalancer", () =>
    balanced({ ports: [...HTTP, ...UDP] }, async ({ spec }) => {
      await lab.becomes("client-1", url(spec?.clusterIP ?? ""), /^web-/);
      expect(await lab.udp("client-1", spec?.clusterIP ?? "", 80)).toEqual([expect.stringMatching(/^web-/)]);
      await lab.becomes("client-1", url(VIP), /^web-/);
      expect(await lab.udp("client-1", VIP, 80)).toEqual([expect.stringMatching(/^web-/)]);
    }));
});

const LOCAL = { externalTrafficPolicy: "Local" };

describe("[sig-network] LoadBalancers ExternalTrafficPolicy: Local [Slow]", () => {
  it("should work for type=LoadBalancer", () =>
    balanced(LOCAL, async (service) => {
      await lab.becomes("host", url(VIP), /^web-/);
      expect((await lab.ask("host", url(VIP, 80, "clientip")))[0]?.split(":")[0]).toBe(HOST_IP);
      expect(service.spec?.healthCheckNodePort).toBeGreaterThan(0);
      for (const node of [0, 1, 2] as const)
        await lab.until("healthy", async () => (await health(service, node)).code === 200);
    }));

  it("should work for type=NodePort", async () => {
    const service = await lab.service("np", {
      ...LOCAL,
      type: "NodePort",
      selector: { name: "web-2" },
      ports: HTTP,
    });
    await lab.becomes("host", url(NODE_IPS[1], nodePort(service)), "web-2");
    expect((await lab.ask("host", url(NODE_IPS[1], nodePort(service), "clientip")))[0]?.split(":")[0]).toBe(
      HOST_IP,
    );
    await lab.becomes("host", url(NODE_IPS[0], nodePort(service)), "timeout");
    await lab.remove("services", "np");
  });

  it("should only target nodes with endpoints", () =>
    balanced(LOCAL, async () => {
      for (const [index, ip] of NODE_IPS.entries()) {
        const service = await lab.editService("lb", (spec) =>
          Object.assign(spec, { selector: { name: `web-${index + 1}` } }),
        );
        await lab.becomes("host", url(VIP), `web-${index + 1}`);
        expect(await route()).toContain(`via ${ip} `);
        for (const node of [0, 1, 2] as const) {
          const expected =
            node === index ? { code: 200, weight: "1", local: 1 } : { code: 503, weight: "0", local: 0 };
          expect(await health(service, node)).toEqual(expected);
        }
      }
    }));

  it("should work from pods", () =>
    balanced({ ...LOCAL, selector: { name: "web-3" } }, async () => {
      // As if through the load balancer and back: a pod's node needs no endpoint of its own.
      for (const client of ["client-1", "client-3"]) await lab.becomes(client, url(VIP), "web-3");
    }));

  it("should handle updates to ExternalTrafficPolicy field", () =>
    balanced({ ...LOCAL, selector: { name: "web-1" } }, async (service) => {
      const port = nodePort(service);
      const source = async (node: 0 | 1) =>
        (await lab.ask("host", url(NODE_IPS[node], port, "clientip"), 1, 1))[0]?.split(":")[0];
      await lab.becomes("host", url(NODE_IPS[0], port), "web-1");
      await lab.becomes("host", url(NODE_IPS[1], port), "timeout");
      expect(await source(0)).toBe(HOST_IP);
      const checked = service.spec?.healthCheckNodePort ?? 0;
      await lab.editService("lb", (spec) => Object.assign(spec, { externalTrafficPolicy: "Cluster" }));
      await lab.becomes("host", url(NODE_IPS[1], port), "web-1");
      expect(await source(1)).not.toBe(HOST_IP);
      await lab.becomes("host", url(NODE_IPS[0], checked), "refused");
      await lab.editService("lb", (spec) => Object.assign(spec, LOCAL));
      await lab.becomes("host", url(NODE_IPS[1], port), "timeout");
      expect(await source(0)).toBe(HOST_IP);
    }));
});

describe("[sig-network] Services", () => {
  it("should implement NodePort and HealthCheckNodePort correctly when ExternalTrafficPolicy changes", () =>
    balanced({ ...LOCAL, selector: { name: "web-2" } }, async (service) => {
      await lab.until("healthy", async () => (await health(service, 1)).code === 200);
      expect((await health(service, 0)).code).toBe(503);
      await lab.becomes("host", url(NODE_IPS[0], nodePort(service)), "timeout");
      const old = service.spec?.healthCheckNodePort ?? 0;
      const cluster = await lab.editService("lb", (spec) =>
        Object.assign(spec, { externalTrafficPolicy: "Cluster" }),
      );
      expect(cluster.spec?.healthCheckNodePort).toBeUndefined();
      await lab.becomes("host", url(NODE_IPS[1], old), "refused");
      for (const ip of NODE_IPS) await lab.becomes("host", url(ip, nodePort(cluster)), "web-2");
    }));

  it("should fail health check node port if there are only terminating endpoints", () =>
    balanced({ ...LOCAL, selector: { app: "leaving" } }, async (service) => {
      await lab.pod("leaving", {
        node: "node-1",
        labels: { app: "leaving" },
        lingers: true,
        graceSeconds: 60,
      });
      await lab.ready("leaving");
      await lab.until("healthy", async () => (await health(service, 0)).code === 200);
      await lab.remove("pods", "leaving");
      await lab.until("not healthy", async () => (await health(service, 0)).code === 503);
      // Who comes all the same is served.
      await lab.becomes("host", url(NODE_IPS[0], nodePort(service)), "leaving");
      await lab.client.delete("pods", "default", "leaving", { gracePeriodSeconds: 0 });
    }));
});
