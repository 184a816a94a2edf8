/** Traffic policies, addresses from outside, source ranges, topology and schedulers, on whole clusters. */
import { describe, expect, it } from "vitest";
import { type Answer, ask } from "./ask.js";
import { Cluster, type ClusterOptions, HOST_IP } from "./cluster.js";
import { serveEcho } from "./echo.js";
import type { EndpointSpec, ExposedPort } from "./service-spec.js";
import type { Station } from "./station.js";

const VIP = "10.254.0.10";
const EXTERNAL_IP = "198.51.100.7";
const LB_IP = "203.0.113.9";
const NODE = { 1: "10.0.0.11", 2: "10.0.0.12", 3: "10.0.0.13" } as const;
const WEB = { port: 80, targetPort: 8080, nodePort: 30080 } as const;
const LOCAL = { externalTrafficPolicy: "Local" } as const;
const LEAVING = { ready: false, serving: true, terminating: true };

/** Three nodes, a client pod and an echo pod on each: `client-1`, `web-1` … */
function setUp(options: ClusterOptions = {}) {
  const cluster = new Cluster({ nodes: 3, ...options });
  const clients = [1, 2, 3].map((node) => cluster.addPod(`client-${node}`, node));
  const webs = [1, 2, 3].map((node) => cluster.addPod(`web-${node}`, node));
  for (const web of webs) serveEcho(web);
  for (const prefix of [`${EXTERNAL_IP}/32`, `${LB_IP}/32`]) cluster.routeHost(prefix, 1);
  const expose = (pods: readonly (Station | EndpointSpec)[], more: Partial<ExposedPort> = {}) =>
    cluster.expose("web", VIP, pods, { ...WEB, ...more });
  return { cluster, clients, webs, expose };
}

/** `pod saw source`, or how it failed. */
function seen(cluster: Cluster, from: Station, dst: string, port: number): string {
  const answer: Answer = ask(cluster, from, dst, port, "TCP");
  if (answer.outcome !== "answered") return answer.outcome;
  expect(answer.replyFrom).toBe(dst);
  return `${answer.pod} saw ${answer.seenAs}`;
}

describe("internalTrafficPolicy", () => {
  it("[sig-network] Services should respect internalTrafficPolicy=Local Pod to Pod: same node answers, other node times out", () => {
    const { cluster, clients, webs, expose } = setUp();
    expose([webs[0]], { spec: { internalTrafficPolicy: "Local" } });
    expect(seen(cluster, clients[0], VIP, 80)).toBe(`web-1 saw ${clients[0].ip}`);
    expect(seen(cluster, clients[1], VIP, 80)).toBe("silence");
    // The cluster IP alone is bound: node ports lead to every endpoint.
    expect(seen(cluster, clients[1], NODE[2], 30080)).toBe("web-1 saw 172.16.2.0");
  });

  it("Local without endpoints anywhere is refused, as Cluster is", () => {
    const { cluster, clients, expose } = setUp();
    expose([], { spec: { internalTrafficPolicy: "Local" } });
    expect(seen(cluster, clients[0], VIP, 80)).toBe("refused");
  });

  it("every node keeps to its own endpoints", () => {
    const { cluster, clients, webs, expose } = setUp();
    expose(webs, { spec: { internalTrafficPolicy: "Local" } });
    for (const [i, client] of clients.entries())
      for (let n = 0; n < 3; n++)
        expect(seen(cluster, client, VIP, 80)).toBe(`web-${i + 1} saw ${client.ip}`);
  });
});

describe("externalTrafficPolicy", () => {
  it("[sig-network] LoadBalancers ExternalTrafficPolicy: Local should work for type=NodePort; [sig-network] LoadBalancers ExternalTrafficPolicy: Local should only target nodes with endpoints: the client's address is kept, nodes without endpoint are silent", () => {
    const { cluster, webs, expose } = setUp();
    expose([webs[1]], { spec: LOCAL });
    expect(seen(cluster, cluster.host, NODE[2], 30080)).toBe(`web-2 saw ${HOST_IP}`);
    expect(seen(cluster, cluster.host, NODE[1], 30080)).toBe("silence");
    expose([], { spec: LOCAL });
    expect(seen(cluster, cluster.host, NODE[1], 30080)).toBe("refused");
  });

  it("[sig-network] LoadBalancers ExternalTrafficPolicy: Local should work from pods: on its own node a pod reaches all endpoints with its own address", () => {
    const { cluster, clients, webs, expose } = setUp();
    expose([webs[1]], { spec: LOCAL });
    expect(seen(cluster, clients[0], NODE[1], 30080)).toBe(`web-2 saw ${clients[0].ip}`);
    // At another node it is a client from outside, with its own node's address (flannel's masquerading).
    expect(seen(cluster, clients[0], NODE[2], 30080)).toBe(`web-2 saw ${NODE[1]}`);
    expect(seen(cluster, clients[0], NODE[3], 30080)).toBe("silence");
  });

  it("[sig-network] LoadBalancers ExternalTrafficPolicy: Local should handle updates to ExternalTrafficPolicy field", () => {
    const { cluster, webs, expose } = setUp();
    const path = () => seen(cluster, cluster.host, NODE[1], 30080);
    expose([webs[1]]);
    expect(path()).toBe("web-2 saw 172.16.1.0");
    expose([webs[1]], { spec: LOCAL });
    expect(path()).toBe("silence");
    expose([webs[1]]);
    expect(path()).toBe("web-2 saw 172.16.1.0");
  });

  it("an open connection outlives a change of the policy", () => {
    const { cluster, webs, expose } = setUp();
    expose([webs[1]]);
    const open = cluster.host.connect(NODE[1], 30080);
    open.write("one");
    cluster.run(100);
    expose([webs[1]], { spec: LOCAL });
    open.write("two");
    cluster.run(100);
    expect(open.input.match(/pod=web-2/g)).toHaveLength(2);
  });
});

describe("terminating endpoints", () => {
  const leaving = (pod: Station) => ({ pod, conditions: LEAVING });

  it("[sig-network] Services should fallback to terminating endpoints when there are no ready endpoints with internalTrafficPolicy=Cluster", () => {
    const { cluster, clients, webs, expose } = setUp();
    expose([leaving(webs[1])]);
    expect(seen(cluster, clients[0], VIP, 80)).toBe(`web-2 saw ${clients[0].ip}`);
  });

  it("[sig-network] Services should fallback to terminating endpoints when there are no ready endpoints with externalTrafficPolicy=Cluster", () => {
    const { cluster, webs, expose } = setUp();
    expose([leaving(webs[1])]);
    expect(seen(cluster, cluster.host, NODE[1], 30080)).toBe("web-2 saw 172.16.1.0");
  });

  it("[sig-network] Services should fallback to local terminating endpoints when there are no ready endpoints with internalTrafficPolicy=Local", () => {
    const { cluster, clients, webs, expose } = setUp();
    expose([leaving(webs[0]), webs[1]], { spec: { internalTrafficPolicy: "Local" } });
    expect(seen(cluster, clients[0], VIP, 80)).toBe(`web-1 saw ${clients[0].ip}`);
    expect(seen(cluster, clients[1], VIP, 80)).toBe(`web-2 saw ${clients[1].ip}`);
    expect(seen(cluster, clients[2], VIP, 80)).toBe("silence");
  });

  it("[sig-network] Services should fallback to local terminating endpoints when there are no ready endpoints with externalTrafficPolicy=Local", () => {
    const { cluster, webs, expose } = setUp();
    expose([leaving(webs[0]), webs[1]], { spec: LOCAL });
    expect(seen(cluster, cluster.host, NODE[1], 30080)).toBe(`web-1 saw ${HOST_IP}`);
    expect(seen(cluster, cluster.host, NODE[2], 30080)).toBe(`web-2 saw ${HOST_IP}`);
    expect(seen(cluster, cluster.host, NODE[3], 30080)).toBe("silence");
  });

  it("[sig-network] Services should fail health check node port if there are only terminating endpoints", () => {
    const { cluster, webs, expose } = setUp();
    const spec = { ...LOCAL, type: "LoadBalancer", healthCheckNodePort: 32000 };
    const ready = () => cluster.nodes.map((node) => node.proxier.healthChecks()[0]?.localReady);
    expose([webs[0], webs[1]], { spec });
    expect(ready()).toEqual([1, 1, 0]);
    expose([leaving(webs[0]), webs[1]], { spec });
    expect(ready()).toEqual([0, 1, 0]);
    // It still serves those who come.
    expect(seen(cluster, cluster.host, NODE[1], 30080)).toBe(`web-1 saw ${HOST_IP}`);
  });
});

describe("addresses from outside", () => {
  const balancer = (more: ExposedPort["spec"] = {}) => ({
    spec: { type: "LoadBalancer", ...more },
    ingress: [{ ip: LB_IP }],
  });

  it("[sig-network] Services should be possible to connect to a service via ExternalIP when the external IP is not assigned to a node", () => {
    const { cluster, clients, webs, expose } = setUp();
    expose([webs[1]], { spec: { externalIPs: [EXTERNAL_IP] } });
    expect(seen(cluster, clients[0], EXTERNAL_IP, 80)).toBe("web-2 saw 172.16.1.0");
    expect(seen(cluster, cluster.host, EXTERNAL_IP, 80)).toBe("web-2 saw 172.16.1.0");
    expose([], { spec: { externalIPs: [EXTERNAL_IP] } });
    expect(seen(cluster, clients[0], EXTERNAL_IP, 80)).toBe("refused");
  });

  it("[sig-network] LoadBalancers ExternalTrafficPolicy: Local should work for type=LoadBalancer: host and pods reach the load balancer's address", () => {
    const { cluster, clients, webs, expose } = setUp();
    expose([webs[0]], balancer());
    expect(seen(cluster, clients[2], LB_IP, 80)).toBe("web-1 saw 172.16.3.0");
    expect(seen(cluster, cluster.host, LB_IP, 80)).toBe("web-1 saw 172.16.1.1");
    expose([webs[0]], balancer(LOCAL));
    expect(seen(cluster, clients[2], LB_IP, 80)).toBe(`web-1 saw ${clients[2].ip}`);
    expect(seen(cluster, cluster.host, LB_IP, 80)).toBe(`web-1 saw ${HOST_IP}`);
  });

  it("a pod that reaches itself by the load balancer's address sees itself as its bridge", () => {
    const { cluster, webs, expose } = setUp();
    expose([webs[0]], balancer(LOCAL));
    expect(seen(cluster, webs[0], LB_IP, 80)).toBe("web-1 saw 172.16.1.1");
  });

  it("ipMode Proxy: nodes do not answer for the load balancer", () => {
    const { cluster, clients, webs, expose } = setUp();
    expose([webs[0]], { ...balancer(), ingress: [{ ip: LB_IP, ipMode: "Proxy" }] });
    expect(seen(cluster, clients[0], LB_IP, 80)).toBe("unreachable");
  });

  it("[sig-network] LoadBalancers should only allow access from service loadbalancer source ranges", () => {
    const { cluster, clients, webs, expose } = setUp();
    const ranges = (...loadBalancerSourceRanges: string[]) =>
      expose([webs[1]], balancer({ loadBalancerSourceRanges }));
    ranges(`${clients[0].ip}/32`);
    expect(seen(cluster, clients[0], LB_IP, 80)).toBe("web-2 saw 172.16.1.0");
    expect(seen(cluster, clients[1], LB_IP, 80)).toBe("silence");
    expect(seen(cluster, cluster.host, LB_IP, 80)).toBe("silence");
    expect(seen(cluster, cluster.host, NODE[1], 30080)).toBe("web-2 saw 172.16.1.0");
    ranges("10.0.0.0/24");
    expect(seen(cluster, cluster.host, LB_IP, 80)).toBe("web-2 saw 172.16.1.0");
    expect(seen(cluster, clients[0], LB_IP, 80)).toBe("silence");
  });

  it("node ports on the primary address only", () => {
    const { cluster, clients, webs, expose } = setUp({ proxy: { nodePortAddresses: "primary" } });
    expose([webs[0]]);
    expect(seen(cluster, clients[0], NODE[1], 30080)).toBe("web-1 saw 172.16.1.1");
    expect(seen(cluster, clients[0], "172.16.1.1", 30080)).toBe("refused");
  });
});

describe("topology", () => {
  it("[sig-network] Traffic Distribution should route traffic to an endpoint in the same zone when using PreferClose; spills over when the zone is empty", () => {
    const { cluster, clients, webs, expose } = setUp({ zones: ["a", "b", "b"] });
    const inZone = (pod: Station, zoneHint: string) => ({ pod, zoneHint });
    expose([inZone(webs[0], "a"), inZone(webs[1], "b"), inZone(webs[2], "b")]);
    const pods = (client: Station) =>
      new Set([1, 2, 3, 4].map(() => ask(cluster, client, VIP, 80, "TCP").pod));
    expect(clients.map(pods)).toEqual([
      new Set(["web-1"]),
      new Set(["web-2", "web-3"]),
      new Set(["web-2", "web-3"]),
    ]);
    expose([inZone(webs[1], "b"), inZone(webs[2], "b")]);
    expect(pods(clients[0])).toEqual(new Set(["web-2", "web-3"]));
  });
});

describe("schedulers", () => {
  const annotate = (scheduler: string, weights = "") => ({
    annotations: { "podwire.dev/scheduler": scheduler, "podwire.dev/weights": weights },
  });
  const podsAsked = (cluster: Cluster, from: Station, count: number) =>
    Array.from({ length: count }, () => ask(cluster, from, VIP, 80, "TCP").pod);

  it("wrr: by weight of the pod", () => {
    const { cluster, clients, webs, expose } = setUp();
    expose(webs, annotate("wrr", "web-1=3,web-2=0"));
    expect(podsAsked(cluster, clients[0], 8).sort()).toEqual([
      ...Array(6).fill("web-1"),
      ...Array(2).fill("web-3"),
    ]);
  });

  it("lc: new connections go where fewest are open", () => {
    const { cluster, clients, webs, expose } = setUp();
    expose([webs[0]], annotate("lc"));
    const held = [1, 2].map(() => clients[0].connect(VIP, 80));
    for (const end of held) end.write("stay");
    cluster.run(100);
    expose(webs.slice(0, 2), annotate("lc"));
    const more = [1, 2, 3].map(() => {
      const end = clients[0].connect(VIP, 80);
      end.write("hello");
      cluster.run(100);
      return /pod=(\S+)/.exec(end.input)?.[1];
    });
    expect(more.slice(0, 2)).toEqual(["web-2", "web-2"]);
    for (const end of held) end.close();
    cluster.run(1000);
    expect(podsAsked(cluster, clients[0], 1)).toEqual(["web-1"]);
  });

  it("random: all are reached, and the seed decides", () => {
    const run = (seed: number) => {
      const { cluster, clients, webs, expose } = setUp({ seed });
      expose(webs, annotate("random"));
      return podsAsked(cluster, clients[0], 20);
    };
    expect(new Set(run(1)).size).toBe(3);
    expect(run(1)).toEqual(run(1));
    expect(run(1)).not.toEqual(run(2));
  });

  it.each(["sh", "maglev"])(
    "%s: open connections stay when endpoints leave, also those of the endpoint that left",
    (scheduler) => {
      const { cluster, webs, expose } = setUp();
      const clients = Array.from({ length: 12 }, (_, i) => cluster.addPod(`more-${i}`, (i % 3) + 1));
      expose(webs, annotate(scheduler));
      const open = clients.map((client) => {
        const end = client.connect(VIP, 80);
        end.write("before");
        return end;
      });
      cluster.run(200);
      expose(webs.slice(0, 2), annotate(scheduler));
      for (const end of open) end.write("after");
      cluster.run(200);
      for (const end of open) {
        expect(end.input.match(/pod=/g)).toHaveLength(2);
        expect(new Set(end.input.match(/pod=\S+/g)).size).toBe(1);
      }
    },
  );

  it("sh: an endpoint that leaves moves only its own clients", () => {
    const { cluster, webs, expose } = setUp();
    const clients = Array.from({ length: 12 }, (_, i) => cluster.addPod(`more-${i}`, (i % 3) + 1));
    const placed = () => clients.map((client) => ask(cluster, client, VIP, 80, "TCP").pod);
    expose(webs, annotate("sh"));
    const before = placed();
    expose(webs.slice(0, 2), annotate("sh"));
    const after = placed();
    expect(new Set(before).size).toBe(3);
    expect(before.map((pod, i) => (pod === "web-3" ? pod : after[i]))).toEqual(before);
  });

  it("the default of the cluster counts for Services that name none", () => {
    const { cluster, clients, webs, expose } = setUp({ proxy: { defaultScheduler: "sh" } });
    expose(webs);
    expect(new Set(podsAsked(cluster, clients[0], 5)).size).toBe(1);
    expose(webs, annotate("rr"));
    expect(new Set(podsAsked(cluster, clients[0], 3)).size).toBe(3);
  });
});
