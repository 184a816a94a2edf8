/** Services over IPv6 from outside the cluster: external addresses, load balancers, host ports, and the ports that kube-proxy itself answers. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EndpointSlice, Pod, Service } from "../../src/kube/index.js";
import { NODE_IPS, NODES, ServiceLab } from "./service-lab.js";

const lab = new ServiceLab("six");
const NETWORKS =
  "network: { nodesIPv6: 'fd00:10::/64', pods: { networkIPv6: 'fd00:10:244::/56' }, servicesIPv6: 'fd00:10:96::/112', loadBalancerPool: ['10.9.0.1', '10.9.0.2', 'fd00:9::2-fd00:9::3'] }";
const NODE_IPS6 = ["fd00:10::2", "fd00:10::3", "fd00:10::4"] as const;
const EXTERNAL = "fd00:9::1";
const BALANCED = "fd00:9::2";
/** A network that the machine has a way to already. */
const NEIGHBOURS = "fd00:7::/64";
const WEB = { app: "web" };
const HTTP = [{ name: "http", port: 80, targetPort: 8080 }];
const url = (address: string, port = 80, path = "hostname") => `http://[${address}]:${port}/${path}`;

beforeAll(async () => {
  await lab.up(NETWORKS);
  for (const [index, node] of NODES.entries())
    if (index < 2) await lab.pod(`web-${index + 1}`, { node, labels: { ...WEB, name: `web-${index + 1}` } });
  await lab.ready("web-1", "web-2");
});
afterAll(() => lab.down());

/** Our routes to an address; the TAP of the node that it leads to. */
async function route(address: string): Promise<string> {
  return (await lab.run("host", "ip", "-6", "route", "show", address, "proto", "177")).stdout.trim();
}

/** The Service when its load balancer has exactly these addresses. */
async function balanced(name: string, ips: readonly string[]): Promise<Service> {
  const get = () => lab.client.get<Service>("services", "default", name);
  const ipsOf = ({ status }: Service) => status?.loadBalancer?.ingress?.map(({ ip }) => ip).join();
  await lab.until(`${name} has ${ips.join()}`, async () => ipsOf(await get()) === ips.join());
  return get();
}

/** What a node says to a load balancer's check of a Service. */
async function health(ip: string, port = 0): Promise<{ code: number; localEndpoints?: number }> {
  const host = ip.includes(":") ? `[${ip}]` : ip;
  const target = `http://${host}:${port}/healthz`;
  const { stdout } = await lab.run("host", "curl", "-sS", "-m", "3", "-w", " %{http_code}", target);
  const [, body, code] = /^([\s\S]*) (\d+)$/.exec(stdout) ?? [];
  return { code: Number(code), ...(body && JSON.parse(body)) };
}

describe("external addresses of IPv6", () => {
  it("are routed from the host, lead to the Service's pods, and are withdrawn with it", async () => {
    await lab.run("host", "ip", "-6", "route", "add", NEIGHBOURS, "dev", "lo");
    const taken = NEIGHBOURS.replace("::/64", "::5");
    const spec = { ipFamilies: ["IPv6"], selector: WEB, ports: HTTP };
    await lab.service("out", { ...spec, externalIPs: [taken, EXTERNAL] });
    await lab.hasEndpoints("out", "web-1", "web-2");
    await lab.until("a route", async () => (await route(EXTERNAL)).includes("via fd00:10::"));
    // The one in that network was looked at before, and left alone.
    expect(await route(taken)).toBe("");
    const answers = await lab.ask("host", url(EXTERNAL), 4);
    expect([...new Set(answers)].sort()).toEqual(["web-1", "web-2"]);
    expect((await lab.ask("host", url(EXTERNAL, 80, "clientip")))[0]).toMatch(/^\[?fd00:10:/);
    await lab.remove("services", "out");
    await lab.until("no route", async () => (await route(EXTERNAL)) === "");
    await lab.run("host", "ip", "-6", "route", "del", NEIGHBOURS, "dev", "lo");
  });

  it("of a load balancer under policy Local lead to a node with endpoints, which sees the client", async () => {
    const spec = { type: "LoadBalancer", externalTrafficPolicy: "Local", ipFamilies: ["IPv6"] };
    await lab.service("lb", { ...spec, selector: { ...WEB, name: "web-2" }, ports: HTTP });
    const made = await balanced("lb", [BALANCED]);
    await lab.hasEndpoints("lb", "web-2");
    await lab.until("a route", async () => (await route(BALANCED)).includes(`via ${NODE_IPS6[1]}`));
    await lab.becomes("host", url(BALANCED), "web-2");
    expect(await lab.ask("host", url(BALANCED, 80, "clientip"))).toEqual([
      expect.stringMatching(/^\[?fd00:10::1\]?:\d+$/),
    ]);
    const port = made.spec?.healthCheckNodePort;
    await lab.until("node-2 is healthy", async () => (await health(NODE_IPS6[1], port)).code === 200);
    expect(await health(NODE_IPS6[1], port)).toMatchObject({ localEndpoints: 1 });
    expect(await health(NODE_IPS6[0], port)).toMatchObject({ code: 503, localEndpoints: 0 });
    // The IPv4 addresses have no server for a Service without IPv4.
    expect(await lab.ask("host", `http://${NODE_IPS[1]}:${port}/`)).toEqual(["refused"]);
    await lab.remove("services", "lb");
  });

  it("come from the pool, one for each family, and both lead to the pods", async () => {
    const spec = { type: "LoadBalancer", ipFamilyPolicy: "RequireDualStack", selector: WEB, ports: HTTP };
    await lab.service("dual", spec);
    await balanced("dual", ["10.9.0.1", BALANCED]);
    await lab.hasEndpoints("dual", "web-1", "web-1", "web-2", "web-2");
    for (const address of ["10.9.0.1", `[${BALANCED}]`]) {
      await lab.becomes("host", `http://${address}/hostname`, /^web-/);
      const answers = await lab.ask("host", `http://${address}/hostname`, 4);
      expect([...new Set(answers)].sort()).toEqual(["web-1", "web-2"]);
    }
    await lab.remove("services", "dual");
    await lab.until("no route", async () => (await route(BALANCED)) === "");
  });

  it("are checked per family: each of the node's addresses counts the endpoints of its own", async () => {
    const spec = { type: "LoadBalancer", externalTrafficPolicy: "Local", ipFamilyPolicy: "RequireDualStack" };
    const { spec: made } = await lab.service("both", { ...spec, ports: HTTP });
    const port = made?.healthCheckNodePort;
    const [pod] = await lab.ready("web-2");
    const [ip4 = "", ip6 = ""] = pod?.status?.podIPs?.map(({ ip }) => ip ?? "") ?? [];
    const addSlice = (addressType: string, ip: string) =>
      lab.client.create<EndpointSlice>("endpointslices", {
        metadata: {
          name: `both-${addressType.toLowerCase()}`,
          namespace: "default",
          labels: { "kubernetes.io/service-name": "both" },
        },
        addressType,
        endpoints: [{ addresses: [ip], nodeName: NODES[1], conditions: { ready: true } }],
        ports: [{ name: "http", port: 8080, protocol: "TCP" }],
      });
    await addSlice("IPv6", ip6);
    await lab.until("IPv6 is healthy", async () => (await health(NODE_IPS6[1], port)).code === 200);
    expect(await health(NODE_IPS6[1], port)).toMatchObject({ localEndpoints: 1 });
    expect(await health(NODE_IPS[1], port)).toMatchObject({ code: 503, localEndpoints: 0 });
    await addSlice("IPv4", ip4);
    await lab.until("IPv4 is healthy", async () => (await health(NODE_IPS[1], port)).code === 200);
    await lab.remove("services", "both");
  });
});

describe("host ports over IPv6", () => {
  const withPorts = async (
    name: string,
    ports: { containerPort: number; hostPort: number; hostIP?: string; protocol?: string }[],
  ) => {
    const container = {
      ...{ name: "main", image: "podwire/echo", ports },
      readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
    };
    await lab.client.create<Pod>("pods", {
      metadata: { name, namespace: "default" },
      spec: { nodeName: NODES[1], containers: [container] },
    });
  };

  it("lead to the pod from everywhere by each of the node's addresses, or by the hostIP alone", async () => {
    await withPorts("open", [
      { containerPort: 8080, hostPort: 54_400 },
      { containerPort: 8080, hostPort: 54_400, protocol: "UDP" },
    ]);
    await withPorts("bound", [{ containerPort: 8080, hostPort: 54_401, hostIP: NODE_IPS6[1] }]);
    await lab.ready("open", "bound");
    for (const from of ["host", NODES[0], NODES[1], "web-1", "open"]) {
      await lab.becomes(from, url(NODE_IPS6[1], 54_400), "open");
      expect(await lab.ask(from, url(NODE_IPS6[1], 54_401))).toEqual(["bound"]);
    }
    expect(await lab.udp("host", NODE_IPS6[1], 54_400)).toEqual(["open"]);
    expect(await lab.ask("host", `http://${NODE_IPS[1]}:54400/hostname`)).toEqual(["open"]);
    expect(await lab.ask("host", `http://${NODE_IPS[1]}:54401/hostname`)).toEqual(["refused"]);
    expect(await lab.ask("host", url(NODE_IPS6[0], 54_400))).toEqual(["refused"]);
    await lab.remove("pods", "open", "bound");
    await lab.becomes("host", url(NODE_IPS6[1], 54_400), "refused");
    expect(await lab.udp("host", NODE_IPS6[1], 54_400)).toEqual(["refused"]);
  });
});

describe("the proxy's own ports", () => {
  it.each([
    ["10.177.0.2", "IPv4"],
    [`[${NODE_IPS6[0]}]`, "IPv6"],
  ])("answer on %s", async (address) => {
    const get = async (rest: string) =>
      (await lab.run("host", "curl", "-sS", "-m", "3", "-w", "\n%{http_code}", `http://${address}:${rest}`))
        .stdout;
    expect(await get("10256/healthz")).toMatch(/"nodeEligible":true[\s\S]*\n200$/);
    expect(await get("10256/livez")).toMatch(/\n200$/);
    expect(await get("10249/metrics")).toMatch(/kubeproxy_sync_proxy_rules_duration_seconds[\s\S]*\n200$/);
    expect(await get("10249/proxyMode")).toBe("podwire\n200");
  });
});
