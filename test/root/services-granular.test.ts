import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Pod, Service } from "../../src/kube/index.js";
import { NODE_IPS, NODES, ServiceLab } from "./service-lab.js";

/** Upstream's granular checks of Services (test/e2e/network/networking.go), with pods in the nodes' own networks too. */
const lab = new ServiceLab("svcgr");
const WEB = { app: "web" };
const SERVERS = ["web-1", "web-2", "web-3"];
const PORTS = [
  { name: "http", port: 80, targetPort: 8080, nodePort: 30_080 },
  { name: "udp", port: 90, targetPort: 8080, nodePort: 30_090, protocol: "UDP" },
];
const distinct = (answers: readonly string[]) => [...new Set(answers)].sort();
const url = (address: string, port: number) => `http://${address}:${port}/hostname`;
let clusterIp = "";

beforeAll(async () => {
  await lab.up();
  await Promise.all([
    ...SERVERS.map((name, index) => lab.pod(name, { node: NODES[index] ?? "", labels: { ...WEB, name } })),
    lab.pod("client-1", { node: "node-1" }),
    lab.pod("client-2", { node: "node-2" }),
    lab.pod("host-1", { node: "node-1", hostNetwork: true, labels: { app: "host" } }),
    lab.pod("host-2", { node: "node-2", hostNetwork: true }),
  ]);
  await lab.ready(...SERVERS, "client-1", "client-2", "host-1", "host-2");
  const service = await lab.service("web", { type: "NodePort", selector: WEB, ports: PORTS });
  clusterIp = service.spec?.clusterIP ?? "";
  await lab.becomes("client-1", url(clusterIp, 80), /^web-/);
});
afterAll(() => lab.down());

/** All servers answer over this protocol at the address: as many questions as reach each of them under round-robin. */
async function all(
  protocol: string,
  place: string,
  ip: string,
  port: number,
  servers = SERVERS,
): Promise<void> {
  const ask = async () =>
    protocol === "http"
      ? await lab.ask(place, url(ip, port), 6)
      : await lab.udp(place, ip, port, { count: 6 });
  await lab.until(
    `${servers} at ${ip}:${port} from ${place}`,
    async () => distinct(await ask()).join() === servers.join(),
  );
}

describe.each(["http", "udp"])("[sig-network] Networking Granular Checks: Services", (protocol) => {
  const at = protocol === "http" ? { port: 80, nodePort: 30_080 } : { port: 90, nodePort: 30_090 };

  it.each([
    ["pod-Service", "client-1"],
    ["node-Service", "node-1"],
    ["endpoint-Service", "web-1"],
  ])(`should function for %s: ${protocol}`, async (_kind, place) => {
    await all(protocol, place, clusterIp, at.port);
    for (const node of NODE_IPS) await all(protocol, place, node, at.nodePort);
  });

  it(`should function for client IP based session affinity: ${protocol} [LinuxOnly]`, async () => {
    const sticky = await lab.service("sticky", {
      ...{ type: "NodePort", selector: WEB, sessionAffinity: "ClientIP" },
      ports: PORTS.map(({ nodePort: _, ...port }) => port),
    });
    const stays = async () => {
      const ip = sticky.spec?.clusterIP ?? "";
      const answers =
        protocol === "http"
          ? await lab.ask("client-1", url(ip, 80), 6)
          : await lab.udp("client-1", ip, 90, { count: 6 });
      return distinct(answers).length === 1 && /^web-/.test(answers[0] ?? "");
    };
    await lab.until("one endpoint", stays);
    expect(await stays()).toBe(true);
    await lab.remove("services", "sticky");
  });

  it(`should update endpoints: ${protocol}`, async () => {
    const name = (app: string) =>
      lab.edit<Pod>("pods", "web-3", ({ metadata }) =>
        Object.assign(metadata ?? {}, { labels: { app, name: "web-3" } }),
      );
    await name("gone");
    await all(protocol, "client-2", clusterIp, at.port, ["web-1", "web-2"]);
    await name("web");
    await all(protocol, "client-2", clusterIp, at.port);
  });

  it(`should update nodePort: ${protocol} [Slow]`, async () => {
    const type = (wanted: string) =>
      lab.editService("web", (spec) => {
        spec.type = wanted;
        for (const [index, port] of (spec.ports ?? []).entries()) {
          if (wanted === "NodePort") port.nodePort = PORTS[index]?.nodePort;
          else delete port.nodePort;
        }
      });
    await type("ClusterIP");
    const refused = async () =>
      protocol === "http"
        ? (await lab.ask("client-1", url(NODE_IPS[1], at.nodePort)))[0]
        : (await lab.udp("client-1", NODE_IPS[1], at.nodePort))[0];
    await lab.until("the node port is gone", async () => (await refused()) === "refused");
    await type("NodePort");
    await all(protocol, "client-1", NODE_IPS[1], at.nodePort);
  });
});

describe("[sig-network] Networking Granular Checks: Services", () => {
  it("should support basic nodePort: udp functionality", () => all("udp", "node-2", NODE_IPS[0], 30_090));

  it("should function for multiple endpoint-Services with same selector", async () => {
    const second = await lab.service("second", { selector: WEB, ports: [{ port: 80, targetPort: 8080 }] });
    await all("http", "web-1", clusterIp, 80);
    await all("http", "web-1", second.spec?.clusterIP ?? "", 80);
    await lab.remove("services", "second");
    await lab.becomes("web-1", url(second.spec?.clusterIP ?? "", 80), "timeout");
    await all("http", "web-1", clusterIp, 80);
  });

  it("should function for service endpoints using hostNetwork", async () => {
    const service = await hostService({});
    for (const place of ["client-1", "client-2", "node-2"]) {
      await lab.becomes(place, url(service.spec?.clusterIP ?? "", 80), "host-1");
      await lab.becomes(place, url(NODE_IPS[1], service.spec?.ports?.[0]?.nodePort ?? 0), "host-1");
    }
    await lab.remove("services", "host");
  });

  it("should be able to handle large requests: http", async () => {
    const { code, stdout } = await lab.run(
      "client-1",
      "curl",
      "-sS",
      "--max-time",
      "10",
      `http://${clusterIp}/bytes/1000000`,
      "-o",
      "/dev/null",
      "-w",
      "%{size_download}",
    );
    expect([code, stdout]).toEqual([0, "1000000"]);
  });
});

function hostService(spec: object): Promise<Service> {
  const ports = [{ name: "http", port: 80, targetPort: 8080 }];
  return lab.service("host", { type: "NodePort", selector: { app: "host" }, ports, ...spec });
}

describe("[sig-network] Services should respect internalTrafficPolicy=Local", () => {
  it("Pod (hostNetwork: true) to Pod", async () => {
    const service = await lab.service("itp", {
      ...{ selector: { name: "web-1" }, internalTrafficPolicy: "Local" },
      ports: [{ port: 80, targetPort: 8080 }],
    });
    await lab.becomes("host-1", url(service.spec?.clusterIP ?? "", 80), "web-1");
    await lab.becomes("host-2", url(service.spec?.clusterIP ?? "", 80), "timeout");
    await lab.remove("services", "itp");
  });

  it("Pod and Node, to Pod (hostNetwork: true)", async () => {
    const service = await hostService({ internalTrafficPolicy: "Local" });
    const target = url(service.spec?.clusterIP ?? "", 80);
    for (const place of ["client-1", "host-1", "node-1"]) await lab.becomes(place, target, "host-1");
    for (const place of ["client-2", "host-2", "node-2"]) await lab.becomes(place, target, "timeout");
    await lab.remove("services", "host");
  });
});
