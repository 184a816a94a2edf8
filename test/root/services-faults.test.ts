import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ProcessRef, readPidFile } from "../../src/cluster/pidfile.js";
import type { Node, Service } from "../../src/kube/index.js";
import { NODE_IPS, NODES, ServiceLab } from "./service-lab.js";

/** Services while endpoints, proxies and the API come and go (upstream service.go, conntrack.go, kube_proxy.go, topology_hints.go). */
const lab = new ServiceLab("svcft");
const HTTP = [{ name: "http", port: 80, targetPort: 8080 }];
const UDP = [{ name: "udp", port: 80, targetPort: 8080, protocol: "UDP" }];
const WEB = { app: "web" };
const url = (address: string, port = 80, path = "hostname") => `http://${address}:${port}/${path}`;
const clusterIp = ({ spec }: Service) => spec?.clusterIP ?? "";
const nodePort = ({ spec }: Service) => spec?.ports?.[0]?.nodePort ?? 0;
const distinct = (answers: readonly string[]) => [...new Set(answers)].sort();

beforeAll(async () => {
  await lab.up();
  const webs = NODES.map((node, index) => [`web-${index + 1}`, node, WEB] as const);
  const clients = NODES.map((node, index) => [`client-${index + 1}`, node, {}] as const);
  await Promise.all([...webs, ...clients].map(([name, node, labels]) => lab.pod(name, { node, labels })));
  await lab.ready(...[...webs, ...clients].map(([name]) => name));
});
afterAll(() => lab.down());

describe("[sig-network] Conntrack", () => {
  const SOURCE_PORT = 20_000;

  /** The client asks from one socket address all the time; the server pod is replaced by one on the same node as the client. */
  async function cycle(
    name: string,
    type: string,
    target: (service: Service) => readonly [string, number],
  ): Promise<void> {
    const labels = { app: name };
    const service = await lab.service(name, { type, selector: labels, ports: UDP });
    const ask = async () => (await lab.udp("client-1", ...target(service), { sourcePort: SOURCE_PORT }))[0];
    await lab.pod(`${name}-1`, { node: "node-2", labels });
    await lab.until("the first pod answers", async () => (await ask()) === `${name}-1`);
    await lab.pod(`${name}-2`, { node: "node-1", labels });
    await lab.ready(`${name}-2`);
    // The flow stays where it is, for that endpoint lives.
    expect(await ask()).toBe(`${name}-1`);
    await lab.remove("pods", `${name}-1`);
    await lab.until("the second pod answers", async () => (await ask()) === `${name}-2`);
    await lab.remove("pods", `${name}-2`);
    await lab.remove("services", name);
  }

  it("should be able to preserve UDP traffic when server pod cycles for a ClusterIP service", () =>
    cycle("cycle-ip", "ClusterIP", (service) => [clusterIp(service), 80]));

  it("should be able to preserve UDP traffic when server pod cycles for a NodePort service", () =>
    cycle("cycle-np", "NodePort", (service) => [NODE_IPS[0], nodePort(service)]));

  it("should be able to preserve UDP traffic when initial unready endpoints get ready", async () => {
    const service = await lab.service("late", { type: "NodePort", selector: { app: "late" }, ports: UDP });
    const ask = async () =>
      (await lab.udp("client-1", NODE_IPS[0], nodePort(service), { sourcePort: SOURCE_PORT + 1 }))[0];
    await lab.until("nobody is there", async () => (await ask()) === "refused");
    await lab.pod("late", { node: "node-2", labels: { app: "late" } });
    await lab.until("the pod answers", async () => (await ask()) === "late");
    await lab.remove("pods", "late");
    await lab.remove("services", "late");
  });
});

describe("[sig-network] KubeProxy", () => {
  it("should set TCP CLOSE_WAIT timeout [Privileged]", async () => {
    // The server never closes; the client does, and is gone.
    const keep =
      "require('net').createServer({ allowHalfOpen: true }, () => {}).listen(9000, () => console.log('ready'))";
    const server = await lab.spawn("web-2", process.execPath, "-e", keep);
    await server.says("ready");
    const leave = `const s = require('net').connect(9000, '${await lab.podIp("web-2")}', () => s.end()); setTimeout(() => process.exit(), 500)`;
    await lab.run("client-1", process.execPath, "-e", leave);
    const entries = await lab.conntrack("node-1", await lab.podIp("client-1"));
    const entry = entries.find(({ state }) => state === "CLOSE_WAIT");
    // An hour, as kube-proxy sets it (KubeProxyConntrackConfiguration), where Linux has a minute.
    expect(entry?.timeoutSeconds).toBeGreaterThan(3500);
    expect(entry?.timeoutSeconds).toBeLessThanOrEqual(3600);
    server.kill();
  });
});

describe("[sig-network] Networking", () => {
  it("should check kube-proxy urls", async () => {
    for (const [place, address] of [
      ["node-1", "127.0.0.1"],
      ["client-2", NODE_IPS[0]],
      ["host", NODE_IPS[2]],
    ] as const) {
      expect((await lab.ask(place, url(address, 10_256, "healthz")))[0]).toContain('"nodeEligible":true');
      expect((await lab.ask(place, url(address, 10_249, "proxyMode")))[0]).toBe("podwire");
      const metrics = (await lab.ask(place, url(address, 10_249, "metrics"))).join("\n");
      expect(metrics).toMatch(/^kubeproxy_sync_proxy_rules_duration_seconds_count [1-9]/m);
      expect(metrics).toMatch(/^kubeproxy_proxy_healthz_total\{code="200"\} [1-9]/m);
    }
  });
});

describe("what kube-proxy tells of itself", () => {
  const healthz = async (path: string) => {
    const target = url(NODE_IPS[1], 10_256, path);
    const { stdout } = await lab.run("host", "curl", "-sS", "--max-time", "2", "-w", " %{http_code}", target);
    return stdout;
  };

  it("is unhealthy to load balancers, and alive, while its node is about to be deleted", async () => {
    const taint = { key: "ToBeDeletedByClusterAutoscaler", value: "1", effect: "NoSchedule" };
    const setTaints = (taints: object[]) =>
      lab.edit<Node>("nodes", NODES[1], (node) => Object.assign(node.spec ?? {}, { taints }));
    expect(await healthz("healthz")).toMatch(/"nodeEligible":true.* 200$/);
    await setTaints([taint]);
    await lab.until("503", async () => /"nodeEligible":false.* 503$/.test(await healthz("healthz")));
    expect(await healthz("livez")).toMatch(/"lastUpdated".* 200$/);
    await setTaints([]);
    await lab.until("200", async () => / 200$/.test(await healthz("healthz")));
  });

  it("is counted under kube-proxy's names", async () => {
    await healthz("livez");
    const service = await lab.service("counted", { selector: WEB, ports: HTTP });
    await lab.becomes("client-2", url(clusterIp(service)), /^web-/);
    // A pod that has become ready: the change's way to the nodes is timed.
    await lab.pod("counted", { node: "node-3", labels: WEB });
    await lab.ready("counted");
    await lab.hasEndpoints("counted", "counted", "web-1", "web-2", "web-3");
    const metrics = async () => (await lab.ask("host", url(NODE_IPS[1], 10_249, "metrics"))).join("\n");
    const timed = /^kubeproxy_network_programming_duration_seconds_count [1-9]/m;
    await lab.until("a timed change", async () => timed.test(await metrics()));
    const page = await metrics();
    const values = new Map(
      [...page.matchAll(/^(kubeproxy_\w+)(?:\{[^}]*\})? (\S+)$/gm)].map(([, name, value]) => [
        name,
        Number(value),
      ]),
    );
    const rules = (name: string) => values.get(`kubeproxy_sync_proxy_rules_${name}`);
    for (const name of ["duration_seconds_count", "endpoint_changes_total", "service_changes_total"])
      expect([name, rules(name)]).toEqual([name, expect.toSatisfy((value: number) => value > 0)]);
    for (const name of ["endpoint_changes_pending", "service_changes_pending", "no_local_endpoints_total"])
      expect([name, rules(name)]).toEqual([name, 0]);
    // Seconds since the epoch: a change was queued, and then synced.
    const [queued = 0, last = 0] = [rules("last_queued_timestamp_seconds"), rules("last_timestamp_seconds")];
    expect(queued).toBeGreaterThan(Date.now() / 1000 - 300);
    expect(last).toBeGreaterThanOrEqual(queued);
    for (const name of [
      "network_programming_duration_seconds_count",
      "proxy_healthz_total",
      "proxy_livez_total",
    ])
      expect([name, values.get(`kubeproxy_${name}`)]).toEqual([
        name,
        expect.toSatisfy((value: number) => value > 0),
      ]);
    await lab.remove("services", "counted");
    await lab.remove("pods", "counted");
  });
});

describe("[sig-network] Services", () => {
  /** Kills a process, and waits until another has taken its place. */
  async function restart(pidFile: string): Promise<void> {
    const before = readPidFile(pidFile) as ProcessRef;
    process.kill(before.pid, "SIGKILL");
    await lab.until("it runs again", async () => (readPidFile(pidFile)?.pid ?? before.pid) !== before.pid);
  }

  /** A Service that was there before answers from every client, and so does one that is made afterwards. */
  async function survives(fault: () => Promise<void>): Promise<void> {
    const before = await lab.service("before", { selector: WEB, ports: HTTP });
    await lab.becomes("client-1", url(clusterIp(before)), /^web-/);
    await fault();
    await lab.until("the API answers", async () => {
      await lab.client.list("services");
      return true;
    });
    const after = await lab.service("after", { selector: WEB, ports: HTTP });
    for (const client of ["client-1", "client-2", "client-3"])
      for (const service of [before, after]) await lab.becomes(client, url(clusterIp(service)), /^web-/);
    await lab.remove("services", "before", "after");
  }

  it("should work after restarting kube-proxy [Disruptive]", () =>
    survives(() => restart(lab.paths.node("node-1").pid)));

  it("should work after restarting apiserver [Disruptive]", () =>
    survives(() => restart(lab.paths.clusterPid)));
});

describe("zones", () => {
  it("[sig-network] Traffic Distribution should route traffic to an endpoint in the same zone when using PreferClose", async () => {
    const service = await lab.service("close", {
      selector: WEB,
      ports: HTTP,
      trafficDistribution: "PreferClose",
    });
    const ask = async (client: string) => distinct(await lab.ask(client, url(clusterIp(service)), 6));
    await lab.becomes("client-1", url(clusterIp(service)), "web-1");
    expect(await ask("client-1")).toEqual(["web-1"]);
    for (const client of ["client-2", "client-3"]) expect(await ask(client)).toEqual(["web-2", "web-3"]);
    // A node's zone may change while it runs: its endpoints and its clients move along. Set anew for each look, for a node
    // that registers late, after the restarts above, sets its own labels again.
    const asksFrom = async (zone: string) => {
      await lab.edit<Node>("nodes", "node-1", ({ metadata }) =>
        Object.assign(metadata?.labels ?? {}, { "topology.kubernetes.io/zone": zone }),
      );
      return ask("client-1");
    };
    await lab.until("all endpoints are of one zone", async () => (await asksFrom("b")).length === 3);
    await lab.until("the own zone again", async () => (await asksFrom("a")).join() === "web-1");
    await lab.remove("services", "close");
  });
});

it("least-connection counts connections that are open, not those that were", async () => {
  const annotations = { "podwire.dev/scheduler": "lc" };
  const service = await lab.service("least", { selector: WEB, ports: HTTP }, { annotations });
  await lab.becomes("client-1", url(clusterIp(service)), /^web-/);
  // Two connections that stay; the echo server says who it is.
  const hold = `const net = require("node:net"), seen = [];
const next = () => net.connect(80, "${clusterIp(service)}").on("data", function (piece) {
  // An answer may come in several pieces.
  const pod = this.pod ? undefined : /pod=(\\S+)/.exec(String(piece))?.[1];
  if (!pod) return;
  this.pod = pod;
  seen.push(pod);
  if (seen.length < 2) next(); else console.log("held " + seen.join(" "));
}).once("connect", function () { this.write("-\\n"); });
next();`;
  const holder = await lab.spawn("client-1", process.execPath, "-e", hold);
  const [, ...held] = (await holder.says("held")).trim().split(" ");
  const [free] = ["web-1", "web-2", "web-3"].filter((web) => !held.includes(web));
  expect(new Set(held).size).toBe(2);
  expect(distinct(await lab.ask("client-1", url(clusterIp(service)), 4))).toEqual([free]);
  holder.kill();
  await lab.remove("services", "least");
});
