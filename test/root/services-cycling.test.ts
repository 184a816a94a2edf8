import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EndpointSlice, Pod, Service } from "../../src/kube/index.js";
import { eventually } from "./lab.js";
import { NODE_IPS, NODES, ServiceLab } from "./service-lab.js";

/** What clients of a Service notice while its pods are replaced (upstream loadbalancer.go, topology_hints.go). */
const lab = new ServiceLab("svccy");
const VIP = "10.9.0.1";
const HTTP = [{ name: "http", port: 80, targetPort: 8080 }];
const UDP = [{ name: "udp", port: 80, targetPort: 8080, protocol: "UDP" }];
const CLIENTS = ["client-1", "client-2", "client-3"];
const url = (address: string, port = 80) => `http://${address}:${port}/hostname`;
const distinct = (answers: readonly string[]) => [...new Set(answers)].sort();

beforeAll(async () => {
  await lab.up(`network: { loadBalancerPool: [${VIP}] }`);
  await Promise.all(CLIENTS.map((name, index) => lab.pod(name, { node: NODES[index] ?? "" })));
  await lab.ready(...CLIENTS);
});
afterAll(() => lab.down());

/** Makes a Service of type LoadBalancer, and takes it away again. */
async function balanced(name: string, spec: object, test: () => Promise<void>): Promise<void> {
  await lab.service(name, { type: "LoadBalancer", selector: { app: name }, ...spec });
  const address = async () =>
    (await lab.client.get<Service>("services", "default", name)).status?.loadBalancer?.ingress?.[0]?.ip;
  await lab.until("an address", async () => (await address()) === VIP);
  try {
    await test();
  } finally {
    await lab.remove("services", name);
    const route = async () => (await lab.run("host", "ip", "route", "show", VIP)).stdout;
    await lab.until("the address is withdrawn", async () => !(await route()).includes(VIP));
  }
}

describe("[sig-network] LoadBalancers", () => {
  /** The host asks from one socket address all the time; one server pod takes over from another. */
  const cycle = (name: string, sourcePort: number, nodes: readonly [string, string]) =>
    balanced(name, { ports: UDP }, async () => {
      const ask = async () => (await lab.udp("host", VIP, 80, { sourcePort }))[0];
      const labels = { app: name };
      await lab.pod(`${name}-1`, { node: nodes[0], labels });
      await lab.until("the first pod answers", async () => (await ask()) === `${name}-1`);
      await lab.pod(`${name}-2`, { node: nodes[1], labels });
      await lab.ready(`${name}-2`);
      await lab.remove("pods", `${name}-1`);
      await lab.hasEndpoints(name, `${name}-2`);
      await lab.until("the second pod answers", async () => (await ask()) === `${name}-2`);
      await lab.remove("pods", `${name}-2`);
    });

  it("should be able to preserve UDP traffic when server pod cycles for a LoadBalancer service on different nodes", () =>
    cycle("apart", 54_321, [NODES[0], NODES[1]]));

  it("should be able to preserve UDP traffic when server pod cycles for a LoadBalancer service on the same nodes", () =>
    cycle("together", 54_322, [NODES[0], NODES[0]]));

  /** One request after the other, each over a connection of its own: `+` for a right answer, else a line that says why. */
  const HIT = `
const [url] = process.argv.slice(1);
const { get } = require("node:http");
const again = () => setTimeout(hit, 10);
const hit = () => {
  const fail = (error) => { console.log("\\nnot answered: " + error.message); again(); };
  get(url, { agent: false, timeout: 5000 }, (response) => {
    let body = "";
    response.on("data", (chunk) => { body += chunk; });
    response.on("error", fail);
    response.on("end", () => {
      process.stdout.write(response.statusCode === 200 && body.startsWith("rolling-") ? "+" : "\\nnot answered: " + body + "\\n");
      again();
    });
  }).on("timeout", function () { this.destroy(new Error("timeout")); }).on("error", fail);
};
hit();`;
  /** Upstream's limit for each of its updates. */
  const MIN_SUCCESS_RATE = 0.95;

  /** As a DaemonSet does it with `maxUnavailable` of one: on one node after the other, the new pod when the old one is gone. */
  async function update(revision: number): Promise<void> {
    for (const [index, node] of NODES.entries()) {
      const old = `rolling-${index}-${revision - 1}`;
      await lab.remove("pods", old);
      const gone = () =>
        lab.client.get<Pod>("pods", "default", old).then(
          () => false,
          () => true,
        );
      await lab.until(`${old} is gone`, gone);
      await server(index, node, revision);
      await lab.ready(`rolling-${index}-${revision}`);
    }
  }

  /** It serves until the end of its grace period. */
  const server = (index: number, node: string, revision: number) =>
    lab.pod(`rolling-${index}-${revision}`, {
      ...{ node, labels: { app: "rolling" }, lingers: true, graceSeconds: 2 },
    });

  it.each(["Cluster", "Local"])(
    "should not have connectivity disruption during rolling update with externalTrafficPolicy=%s [Slow]",
    async (externalTrafficPolicy) => {
      for (const [index, node] of NODES.entries()) await server(index, node, 0);
      await lab.ready("rolling-0-0", "rolling-1-0", "rolling-2-0");
      await balanced("rolling", { ports: HTTP, externalTrafficPolicy }, async () => {
        await lab.becomes("host", url(VIP), /^rolling-\d-0$/);
        const hitter = await lab.spawn("host", process.execPath, "-e", HIT, url(VIP));
        try {
          let before = await hitter.says("+");
          for (const revision of [1, 2, 3]) {
            await update(revision);
            const all = await hitter.says("+");
            const now = all.slice(before.length);
            before = all;
            const answered = now.split("+").length - 1;
            const failures = now.split("\n").filter((line) => line.startsWith("not answered"));
            expect(answered).toBeGreaterThan(100);
            expect(answered / (answered + failures.length), failures.join("\n")).toBeGreaterThan(
              MIN_SUCCESS_RATE,
            );
          }
          await lab.becomes("host", url(VIP), /^rolling-\d-3$/);
        } finally {
          hitter.kill();
        }
      });
      await lab.remove("pods", "rolling-0-3", "rolling-1-3", "rolling-2-3");
    },
    120_000,
  );
});

describe("[sig-network] Topology Hints", () => {
  it("should distribute endpoints evenly", async () => {
    const zones: Readonly<Record<string, string>> = { "hint-1": "a", "hint-2": "b", "hint-3": "b" };
    const [app, pods] = ["hints", Object.keys(zones)];
    for (const [index, name] of pods.entries())
      await lab.pod(name, { node: NODES[index] ?? "", labels: { app } });
    const annotations = { "service.kubernetes.io/topology-mode": "Auto" };
    const spec = { selector: { app }, publishNotReadyAddresses: true, ports: HTTP };
    const service = await lab.service("hints", spec, { annotations });
    await lab.ready(...pods);
    const labelSelector = "kubernetes.io/service-name=hints";
    const slices = async () =>
      (await lab.client.list<EndpointSlice>("endpointslices", { namespace: "default", labelSelector })).items;
    const hinted = await eventually(
      "hints for every endpoint",
      async () => (await slices()).flatMap(({ endpoints }) => endpoints),
      (endpoints) => endpoints.length === 3 && endpoints.every(({ hints }) => hints),
    );
    for (const { targetRef, zone, hints } of hinted) {
      expect(zone).toBe(zones[targetRef?.name ?? ""]);
      expect(hints?.forZones).toEqual([{ name: zone }]);
    }
    for (const [client, own] of [
      ["client-1", ["hint-1"]],
      ["client-2", ["hint-2", "hint-3"]],
      ["client-3", ["hint-2", "hint-3"]],
    ] as const)
      await lab.until(
        `${client} stays in its zone`,
        async () =>
          distinct(await lab.ask(client, url(service.spec?.clusterIP ?? ""), 10)).join() === own.join(),
      );
    await lab.remove("services", "hints");
    await lab.remove("pods", ...pods);
  });
});

describe("an endpoint that is taken away", () => {
  /** A connection on which every 100 ms a line goes there and back; prints who is at its other end, and each line. */
  const TALK = `
const [ip, port] = process.argv.slice(1);
let count = 0;
const socket = require("node:net").connect(Number(port), ip, () => setInterval(() => socket.write("line " + ++count + ".\\n"), 100));
socket.on("data", (data) => process.stdout.write(data));
socket.on("close", () => { console.log("closed"); process.exit(); });
socket.on("error", (error) => console.log(error.message));`;

  it.each([
    ["by its label", () => lab.edit<Pod>("pods", "drain-1", ({ metadata }) => delete metadata?.labels?.app)],
    ["by its readiness", () => lab.run("drain-1", "rm", "-f", `${lab.files}/drain-1`)],
  ])("%s keeps its open connections and gets no new ones", async (_how, takeAway) => {
    const labels = { app: "drain" };
    await lab.run("host", "touch", `${lab.files}/drain-1`);
    await lab.pod("drain-1", { node: "node-2", labels, readyFile: `${lab.files}/drain-1` });
    await lab.ready("drain-1");
    const { spec } = await lab.service("drain", { type: "NodePort", selector: labels, ports: HTTP });
    const places = [
      ["client-1", spec?.clusterIP ?? "", 80],
      ["client-2", spec?.clusterIP ?? "", 80],
      ["host", NODE_IPS[0], spec?.ports?.[0]?.nodePort ?? 0],
      ["host", NODE_IPS[1], spec?.ports?.[0]?.nodePort ?? 0],
    ] as const;
    for (const [place, ip, port] of places) await lab.becomes(place, url(ip, port), "drain-1");
    const talks = await Promise.all(
      places.map(([place, ip, port]) => lab.spawn(place, process.execPath, "-e", TALK, ip, String(port))),
    );
    try {
      for (const talk of talks) expect(await talk.says("line 3.")).toContain("pod=drain-1");
      await lab.pod("drain-2", { node: "node-3", labels });
      await lab.ready("drain-2");
      await takeAway();
      await lab.hasEndpoints("drain", "drain-2");
      for (const [place, ip, port] of places)
        await lab.until(
          "only the other is asked",
          async () => distinct(await lab.ask(place, url(ip, port), 4)).join() === "drain-2",
        );
      for (const talk of talks) {
        const [last = "0"] = (await talk.says("line")).match(/\d+(?=\.\n$)/) ?? [];
        expect(await talk.says(`line ${Number(last) + 5}.`)).not.toContain("closed");
      }
      await lab.client.delete("pods", "default", "drain-1", { gracePeriodSeconds: 0 });
    } finally {
      for (const talk of talks) talk.kill();
      await lab.remove("services", "drain");
      await lab.remove("pods", "drain-2");
    }
  });
});
