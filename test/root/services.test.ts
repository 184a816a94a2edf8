import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HOST_IP, NODE_IPS, NODES, ServiceLab } from "./service-lab.js";

/** Upstream's Services cases (test/e2e/network/service.go) on one lab: a server and a client on each of three nodes. */
const lab = new ServiceLab("svc");
const SERVERS = ["web-1", "web-2", "web-3"];
const CLIENTS = ["client-1", "client-2", "client-3"];
const WEB = { app: "web" };
const HTTP = [{ name: "http", port: 80, targetPort: 8080 }];

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

describe("[sig-network] Services", () => {
  it("should be able to create a functioning NodePort service", async () => {
    const { spec } = await lab.service("nodeport", { type: "NodePort", selector: WEB, ports: HTTP });
    await lab.hasEndpoints("nodeport", ...SERVERS);
    const nodePort = spec?.ports?.[0]?.nodePort;
    const targets = [
      `nodeport.default.svc.cluster.local:80`,
      `${spec?.clusterIP}:80`,
      ...NODE_IPS.map((ip) => `${ip}:${nodePort}`),
    ];
    for (const target of targets) {
      await lab.becomes("client-1", `http://${target}/hostname`, /^web-/);
      expect(distinct(await lab.ask("client-1", `http://${target}/hostname`, 6))).toEqual(SERVERS);
    }
    expect(distinct(await lab.ask("host", `http://${NODE_IPS[2]}:${nodePort}/hostname`, 3))).toEqual(SERVERS);
    expect(distinct(await lab.ask("node-2", `http://${NODE_IPS[0]}:${nodePort}/hostname`, 3))).toEqual(
      SERVERS,
    );
    await lab.remove("services", "nodeport");
    await lab.becomes("client-1", `http://${NODE_IPS[0]}:${nodePort}/`, "refused");
  });

  it("should preserve source pod IP for traffic thru service cluster IP", async () => {
    const { spec } = await lab.service("source", { selector: { name: "web-1" }, ports: HTTP });
    for (const client of ["client-1", "client-2"]) {
      await lab.becomes(client, `http://${spec?.clusterIP}/hostname`, "web-1");
      const [seen] = await lab.ask(client, `http://${spec?.clusterIP}/clientip`);
      expect(seen?.split(":")[0]).toBe(await lab.podIp(client));
    }
    await lab.remove("services", "source");
  });

  it("should allow pods to hairpin back to themselves through services", async () => {
    const { spec } = await lab.service("hairpin", { selector: { name: "web-2" }, ports: HTTP });
    await lab.becomes("web-2", `http://${spec?.clusterIP}/hostname`, "web-2");
    await lab.remove("services", "hairpin");
  });
});

void HOST_IP;
