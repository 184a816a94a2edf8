/**
 * The upstream sig-network cases of group Services that are about packets, under their names (test/e2e/network/service.go),
 * less those that packet-flow, services and policies have. Controllers are played by the test: it sets the endpoints.
 */
import type { ServiceSpec } from "kubernetes-types/core/v1.d.ts";
import type { EndpointPort } from "kubernetes-types/discovery/v1.d.ts";
import { describe, expect, it } from "vitest";
import { type AskProtocol, ask } from "./ask.js";
import { Cluster } from "./cluster.js";
import { serveEcho } from "./echo.js";
import type { ExposedPort } from "./service-spec.js";
import type { Station } from "./station.js";

const VIP = "10.254.0.10";
const LB_IP = "203.0.113.9";
const NODE_1 = "10.0.0.11";
const NODE_2 = "10.0.0.12";
const WEB = { port: 80, targetPort: 8080 } as const;
const NODE_PORT = { ...WEB, nodePort: 30080 } as const;
const STICKY = {
  sessionAffinity: "ClientIP",
  sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
} as const;

function setUp(webCount = 2) {
  const cluster = new Cluster({ nodes: 2 });
  const clients = [1, 2].map((node) => cluster.addPod(`client-${node}`, node));
  const webs = Array.from({ length: webCount }, (_, i) => cluster.addPod(`web-${i + 1}`, (i % 2) + 1));
  for (const web of webs) serveEcho(web);
  const [client] = clients;
  const go = (dst: string, port: number, protocol: AskProtocol = "TCP", from: Station = client) => {
    const answer = ask(cluster, from, dst, port, protocol);
    return answer.outcome === "answered" ? answer.pod : answer.outcome;
  };
  const podsAt = (dst: string, port: number, count: number, from: Station = client) =>
    new Set(Array.from({ length: count }, () => go(dst, port, "TCP", from)));
  const expose = (pods: Station[], port: ExposedPort = WEB) => cluster.expose("web", VIP, pods, port);
  return { cluster, client, clients, webs, go, podsAt, expose };
}

/** A Service of several ports, and one slice with as many. */
function exposePorts(
  cluster: Cluster,
  pods: Station[],
  spec: Partial<ServiceSpec>,
  targets: EndpointPort[],
): void {
  cluster.applyService("web", { type: "ClusterIP", clusterIP: VIP, ...spec });
  cluster.applyEndpoints("web", pods, targets);
  cluster.sync();
}

describe("Services: endpoints", () => {
  it("[sig-network] Services should serve a basic endpoint from pods: 0, 1, 2, 1, 0 pods", () => {
    const { webs, go, podsAt, expose } = setUp();
    const [a, b] = webs;
    for (const pods of [[], [a], [a, b], [b], []]) {
      expose(pods);
      if (pods.length === 0) expect(go(VIP, 80)).toBe("refused");
      else expect(podsAt(VIP, 80, 4)).toEqual(new Set(pods.map((pod) => pod.name)));
    }
  });

  it("[sig-network] Services should serve multiport endpoints from pods", () => {
    const { cluster, webs, podsAt } = setUp();
    serveEcho(webs[0], 8081);
    const ports = [
      { name: "one", port: 80 },
      { name: "two", port: 81 },
    ];
    cluster.applyService("web", { clusterIP: VIP, ports });
    const slice = (name: string, port: number, pod: Station) =>
      cluster.nodes.map(({ proxier }) =>
        proxier.onEndpointSliceUpsert({
          addressType: "IPv4",
          metadata: { name, namespace: "default", labels: { "kubernetes.io/service-name": "web" } },
          endpoints: [
            { addresses: [pod.ip], targetRef: { kind: "Pod", namespace: "default", name: pod.name } },
          ],
          ports: [{ name: port === 8080 ? "one" : "two", port }],
        }),
      );
    slice("web-one", 8080, webs[1]);
    slice("web-two", 8081, webs[0]);
    cluster.sync();
    expect([podsAt(VIP, 80, 2), podsAt(VIP, 81, 2)]).toEqual([new Set(["web-2"]), new Set(["web-1"])]);
  });

  it("[sig-network] Services should serve endpoints on same port and different protocols, switched on and off", () => {
    const { cluster, webs, go } = setUp();
    const port = (protocol: string) => ({ name: protocol.toLowerCase(), port: 80, protocol });
    const target = (protocol: string) => ({ ...port(protocol), port: 8080 });
    const set = (...protocols: string[]) =>
      exposePorts(cluster, webs, { ports: protocols.map(port) }, protocols.map(target));
    set("TCP", "UDP");
    expect([go(VIP, 80), go(VIP, 80, "UDP")]).toEqual(["web-1", "web-1"]);
    set("UDP");
    expect([go(VIP, 80), go(VIP, 80, "UDP")]).toEqual(["refused", "web-2"]);
    set("TCP");
    expect([go(VIP, 80), go(VIP, 80, "UDP")]).toEqual(["web-1", "refused"]);
  });

  it("[sig-network] Services should serve endpoints on same port and different protocol for internal traffic on Type LoadBalancer", () => {
    const { cluster, webs, go } = setUp(1);
    const ports = ["TCP", "UDP"].map((protocol) => ({ name: protocol.toLowerCase(), port: 80, protocol }));
    const spec = { type: "LoadBalancer", clusterIP: VIP, ports };
    cluster.applyService("web", spec, { ingress: [{ ip: LB_IP }] });
    cluster.applyEndpoints(
      "web",
      webs,
      ports.map((port) => ({ ...port, port: 8080 })),
    );
    cluster.sync();
    for (const dst of [VIP, LB_IP]) expect([go(dst, 80), go(dst, 80, "UDP")]).toEqual(["web-1", "web-1"]);
  });

  it("[sig-network] Services should create endpoints for unready pods: the slices say ready, the proxy sends there", () => {
    const { cluster, webs, go } = setUp(1);
    const conditions = { ready: true, serving: false, terminating: false };
    cluster.expose("web", VIP, [{ pod: webs[0], conditions }], WEB);
    expect(go(VIP, 80)).toBe("web-1");
  });

  it("[sig-network] Services should be able to connect to terminating and unready endpoints if PublishNotReadyAddresses is true", () => {
    const { cluster, webs, go } = setUp(1);
    const conditions = { ready: true, serving: false, terminating: true };
    cluster.expose("web", VIP, [{ pod: webs[0], conditions }], NODE_PORT);
    expect([go(VIP, 80), go(NODE_1, 30080)]).toEqual(["web-1", "web-1"]);
  });

  it("[sig-network] Services should not be able to connect to terminating and unready endpoints if PublishNotReadyAddresses is false", () => {
    const { cluster, webs, go } = setUp(1);
    const conditions = { ready: false, serving: false, terminating: true };
    cluster.expose("web", VIP, [{ pod: webs[0], conditions }], NODE_PORT);
    expect([go(VIP, 80), go(NODE_1, 30080)]).toEqual(["refused", "refused"]);
  });

  it("[sig-network] Services should be rejected when no endpoints exist; [sig-network] Services should be rejected for evicted pods (no endpoints exist)", () => {
    const { cluster, go, expose } = setUp();
    expose([], NODE_PORT);
    const before = cluster.clock.nowMs;
    for (const [dst, port] of [
      [VIP, 80],
      [NODE_1, 30080],
      [NODE_2, 30080],
    ] as const)
      expect(go(dst, port)).toBe("refused");
    // Refused at once, not after a time-out.
    expect(cluster.clock.nowMs - before).toBeLessThan(1000);
  });

  it("[sig-network] Conntrack should be able to preserve UDP traffic when initial unready endpoints get ready", () => {
    const { cluster, client, webs } = setUp(1);
    const dns = { port: 80, targetPort: 8080, protocol: "UDP" } as const;
    cluster.expose("web", VIP, [{ pod: webs[0], conditions: { ready: false } }], dns);
    client.sendUdp(VIP, 80, new Uint8Array([1]), { sport: 5555 });
    cluster.run(1000);
    expect(client.datagrams).toEqual([]);
    cluster.expose("web", VIP, webs, dns);
    client.sendUdp(VIP, 80, new Uint8Array([1]), { sport: 5555 });
    cluster.run(1000);
    expect(client.datagrams).toMatchObject([{ from: VIP, dport: 5555 }]);
  });
});

describe("Services: addresses", () => {
  it("[sig-network] Services should be able to create a functioning NodePort service: by cluster IP and every node, from pods and host", () => {
    const { cluster, clients, webs, podsAt, expose } = setUp();
    expose(webs, NODE_PORT);
    for (const from of [...clients, cluster.host]) {
      for (const [dst, port] of [
        [VIP, 80],
        [NODE_1, 30080],
        [NODE_2, 30080],
      ] as const)
        expect(podsAt(dst, port, 2, from)).toEqual(new Set(["web-1", "web-2"]));
    }
  });

  it("[sig-network] Services should preserve source pod IP for traffic thru service cluster IP: same and other node", () => {
    const { cluster, clients, webs, expose } = setUp(1);
    expose(webs);
    for (const client of clients) expect(ask(cluster, client, VIP, 80, "TCP").seenAs).toBe(client.ip);
  });

  it("[sig-network] Services should allow pods to hairpin back to themselves through services", () => {
    const { webs, go, expose } = setUp(1);
    expose(webs, NODE_PORT);
    expect([go(VIP, 80, "TCP", webs[0]), go(NODE_2, 30080, "TCP", webs[0])]).toEqual(["web-1", "web-1"]);
  });

  const EXTERNAL_NAME = { type: "ExternalName", externalName: "www.example.com", clusterIP: undefined };

  it("[sig-network] Services should be able to change the type from ClusterIP to ExternalName; [sig-network] Services should be able to change the type from ExternalName to ClusterIP", () => {
    const { cluster, webs, go, expose } = setUp(1);
    expose(webs);
    expect(go(VIP, 80)).toBe("web-1");
    cluster.applyService("web", EXTERNAL_NAME);
    cluster.sync();
    expect(go(VIP, 80)).toBe("silence");
    expose(webs);
    expect(go(VIP, 80)).toBe("web-1");
  });

  it("[sig-network] Services should be able to change the type from NodePort to ExternalName; [sig-network] Services should be able to change the type from ExternalName to NodePort", () => {
    const { cluster, webs, go, expose } = setUp(1);
    expose(webs, NODE_PORT);
    expect(go(NODE_1, 30080)).toBe("web-1");
    cluster.applyService("web", EXTERNAL_NAME);
    cluster.sync();
    expect([go(VIP, 80), go(NODE_1, 30080)]).toEqual(["silence", "refused"]);
    expose(webs, NODE_PORT);
    expect([go(VIP, 80), go(NODE_1, 30080)]).toEqual(["web-1", "web-1"]);
  });

  it("[sig-network] Services should be able to update service type to NodePort listening on same port number but different protocols", () => {
    const { cluster, webs, go } = setUp(1);
    const protocols = ["TCP", "UDP"];
    const spec = (nodePort?: number) => ({
      type: nodePort === undefined ? "ClusterIP" : "NodePort",
      ports: protocols.map((protocol) => ({ name: protocol.toLowerCase(), port: 80, protocol, nodePort })),
    });
    const targets = protocols.map((protocol) => ({ name: protocol.toLowerCase(), port: 8080, protocol }));
    exposePorts(cluster, webs, spec(), targets);
    expect([go(NODE_1, 30080), go(NODE_1, 30080, "UDP")]).toEqual(["refused", "refused"]);
    exposePorts(cluster, webs, spec(30080), targets);
    expect([go(NODE_1, 30080), go(NODE_1, 30080, "UDP")]).toEqual(["web-1", "web-1"]);
  });

  it("[sig-network] Services should be updated after adding or deleting ports", () => {
    const { cluster, webs, go } = setUp(1);
    serveEcho(webs[0], 8081);
    const all = [
      { name: "one", port: 80, target: 8080 },
      { name: "two", port: 81, target: 8081 },
    ];
    const set = (...names: string[]) => {
      const ports = all.filter(({ name }) => names.includes(name));
      const targets = ports.map(({ name, target }) => ({ name, port: target }));
      exposePorts(cluster, webs, { ports: ports.map(({ name, port }) => ({ name, port })) }, targets);
    };
    set("one");
    expect([go(VIP, 80), go(VIP, 81)]).toEqual(["web-1", "refused"]);
    set("one", "two");
    expect([go(VIP, 80), go(VIP, 81)]).toEqual(["web-1", "web-1"]);
    set("two");
    expect([go(VIP, 80), go(VIP, 81)]).toEqual(["refused", "web-1"]);
  });
});

describe("Services: lifecycle", () => {
  it("[sig-network] Services should be able to up and down services", () => {
    const { cluster, webs, go } = setUp(2);
    const other = "10.254.0.11";
    const up = (name: string, ip: string, pod: Station) => cluster.expose(name, ip, [pod], WEB);
    up("one", VIP, webs[0]);
    up("two", other, webs[1]);
    expect([go(VIP, 80), go(other, 80)]).toEqual(["web-1", "web-2"]);
    cluster.deleteService("one");
    cluster.sync();
    expect([go(VIP, 80), go(other, 80)]).toEqual(["silence", "web-2"]);
    up("three", VIP, webs[1]);
    expect([go(VIP, 80), go(other, 80)]).toEqual(["web-2", "web-2"]);
  });

  it("[sig-network] Services should work after the service has been recreated", () => {
    const { cluster, webs, podsAt, expose } = setUp();
    expose(webs, NODE_PORT);
    cluster.deleteService("web");
    cluster.sync();
    expose(webs, NODE_PORT);
    expect(podsAt(NODE_2, 30080, 2)).toEqual(new Set(["web-1", "web-2"]));
  });

  it.each(["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"])(
    "[sig-network] Services should implement %s: the label takes the Service away and gives it back",
    (label) => {
      const { webs, go, expose } = setUp(1);
      expose(webs);
      expect(go(VIP, 80)).toBe("web-1");
      expose(webs, { ...WEB, labels: { [label]: "other" } });
      expect(go(VIP, 80)).toBe("silence");
      expose(webs);
      expect(go(VIP, 80)).toBe("web-1");
    },
  );
});

describe("Services: session affinity", () => {
  it("[sig-network] Services should have session affinity timeout work for NodePort service", () => {
    const { cluster, webs, podsAt, expose } = setUp(3);
    const at = (count: number) => podsAt(NODE_2, 30080, count, cluster.host);
    expose(webs, { ...NODE_PORT, spec: STICKY });
    const first = at(4);
    expect(first.size).toBe(1);
    cluster.run(59_000);
    expect(at(1)).toEqual(first);
    cluster.run(61_000);
    expect(at(1)).not.toEqual(first);
  });

  it("[sig-network] Services should be able to switch session affinity for NodePort service", () => {
    const { cluster, webs, podsAt, expose } = setUp(3);
    const at = () => podsAt(NODE_1, 30080, 3, cluster.host).size;
    const sizes = [STICKY, {}, STICKY].map((spec) => {
      expose(webs, { ...NODE_PORT, spec });
      return at();
    });
    expect(sizes).toEqual([1, 3, 1]);
  });
});
