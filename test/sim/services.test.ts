/** Behaviour of Services over time: rotation, affinity, endpoints that come and go, UDP clean-up, draining. */
import { describe, expect, it } from "vitest";
import { ask } from "./ask.js";
import { Cluster } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { asText, text } from "./packet.js";
import type { Station } from "./station.js";

const VIP = "10.254.0.10";
const WEB = { port: 80, targetPort: 8080, nodePort: 30080 } as const;
const DNS = { port: 53, targetPort: 8080, nodePort: 30053, protocol: "UDP" } as const;

function withPods(count: number, nodes = 3): { cluster: Cluster; client: Station; pods: Station[] } {
  const cluster = new Cluster({ nodes });
  const client = cluster.addPod("client", 1);
  const pods = Array.from({ length: count }, (_, i) => cluster.addPod(`web-${i + 1}`, (i % nodes) + 1));
  for (const pod of pods) serveEcho(pod);
  return { cluster, client, pods };
}

function podsAsked(cluster: Cluster, from: Station, dst: string, port: number, count: number): string[] {
  return Array.from({ length: count }, () => ask(cluster, from, dst, port, "TCP").pod);
}

/** Sends from a fixed source port and names the pod that answered. */
function askFrom(cluster: Cluster, from: Station, dst: string, port: number, sport: number): string {
  const before = from.datagrams.length;
  from.sendUdp(dst, port, text("x"), { sport });
  cluster.run(500);
  const reply = from.datagrams
    .slice(before)
    .find((datagram) => datagram.dport === sport && datagram.from === dst);
  return reply === undefined ? "silence" : (/pod=(\S+)/.exec(asText(reply.payload))?.[1] ?? "");
}

describe("rotation", () => {
  it.each([
    ["10.0.0.11", 30080],
    ["10.0.0.12", 30080],
    ["10.0.0.13", 30080],
    [VIP, 80],
  ])("ten connections of the host to %s:%i: each of five pods twice, in strict rotation", (dst, port) => {
    const { cluster, pods } = withPods(5);
    cluster.expose("web", VIP, pods, WEB);
    const asked = podsAsked(cluster, cluster.host, dst, port, 10);
    expect(new Set(asked.slice(0, 5))).toEqual(new Set(pods.map((pod) => pod.name)));
    expect(asked.slice(5)).toEqual(asked.slice(0, 5));
  });

  it("packets of a connection do not advance it", () => {
    const { cluster, client, pods } = withPods(2);
    cluster.expose("web", VIP, pods, WEB);
    const first = client.connect(VIP, 80);
    for (let i = 0; i < 3; i++) {
      first.write("again");
      cluster.run(100);
    }
    const name = /pod=(\S+)/.exec(first.input)?.[1];
    expect(first.input.match(/pod=/g)).toHaveLength(3);
    expect(ask(cluster, client, VIP, 80, "TCP").pod).not.toBe(name);
    expect(ask(cluster, client, VIP, 80, "TCP").pod).toBe(name);
  });
});

describe("session affinity", () => {
  const sticky = { sessionAffinity: "ClientIP", sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } };

  it("[sig-network] Services should have session affinity work for service with type clusterIP", () => {
    const { cluster, client, pods } = withPods(3);
    cluster.expose("web", VIP, pods, { ...WEB, spec: sticky });
    expect(new Set(podsAsked(cluster, client, VIP, 80, 6)).size).toBe(1);
  });

  it("[sig-network] Services should have session affinity work for NodePort service", () => {
    const { cluster, pods } = withPods(3);
    cluster.expose("web", VIP, pods, { ...WEB, spec: sticky });
    expect(new Set(podsAsked(cluster, cluster.host, "10.0.0.11", 30080, 6)).size).toBe(1);
  });

  it("[sig-network] Services should have session affinity timeout work for service with type clusterIP", () => {
    const { cluster, client, pods } = withPods(3);
    cluster.expose("web", VIP, pods, { ...WEB, spec: sticky });
    const [first] = podsAsked(cluster, client, VIP, 80, 1);
    cluster.run(59_000);
    expect(podsAsked(cluster, client, VIP, 80, 1)).toEqual([first]);
    cluster.run(59_000);
    expect(podsAsked(cluster, client, VIP, 80, 1)).toEqual([first]);
    cluster.run(61_000);
    expect(podsAsked(cluster, client, VIP, 80, 1)).not.toEqual([first]);
  });

  it("[sig-network] Services should be able to switch session affinity for service with type clusterIP", () => {
    const { cluster, client, pods } = withPods(3);
    cluster.expose("web", VIP, pods, WEB);
    expect(new Set(podsAsked(cluster, client, VIP, 80, 3)).size).toBe(3);
    cluster.expose("web", VIP, pods, { ...WEB, spec: sticky });
    expect(new Set(podsAsked(cluster, client, VIP, 80, 3)).size).toBe(1);
    cluster.expose("web", VIP, pods, WEB);
    expect(new Set(podsAsked(cluster, client, VIP, 80, 3)).size).toBe(3);
  });
});

describe("endpoints change", () => {
  it("scaled to zero: refused at once; back again: served", () => {
    const { cluster, pods } = withPods(2);
    cluster.expose("web", VIP, pods, WEB);
    expect(ask(cluster, cluster.host, "10.0.0.12", 30080, "TCP").outcome).toBe("answered");
    cluster.expose("web", VIP, [], WEB);
    const before = cluster.clock.nowMs;
    expect(ask(cluster, cluster.host, "10.0.0.12", 30080, "TCP").outcome).toBe("refused");
    expect(cluster.clock.nowMs - before).toBeLessThan(1000);
    cluster.expose("web", VIP, pods, WEB);
    expect(ask(cluster, cluster.host, "10.0.0.12", 30080, "TCP").outcome).toBe("answered");
  });

  it("deleted Service: cluster IP is silent, node port refuses", () => {
    const { cluster, client, pods } = withPods(2);
    cluster.expose("web", VIP, pods, WEB);
    cluster.deleteService("web");
    cluster.sync();
    expect(ask(cluster, client, VIP, 80, "TCP").outcome).toBe("silence");
    expect(ask(cluster, cluster.host, "10.0.0.11", 30080, "TCP").outcome).toBe("refused");
  });

  it("an open TCP connection to an endpoint that was removed drains, new ones go elsewhere", () => {
    const { cluster, client, pods } = withPods(2);
    cluster.expose("web", VIP, pods, WEB);
    const open = client.connect(VIP, 80);
    open.write("one");
    cluster.run(100);
    const name = /pod=(\S+)/.exec(open.input)?.[1];
    const others = pods.filter((pod) => pod.name !== name);
    cluster.expose("web", VIP, others, WEB);
    open.write("two");
    cluster.run(100);
    expect(open.input.match(new RegExp(`pod=${name}`, "g"))).toHaveLength(2);
    expect(new Set(podsAsked(cluster, client, VIP, 80, 3))).toEqual(new Set(others.map((pod) => pod.name)));
  });

  it("[sig-network] Conntrack should be able to preserve UDP traffic when server pod cycles for a ClusterIP service", () => {
    const { cluster, client, pods } = withPods(2);
    const [a, b] = pods as [Station, Station];
    cluster.expose("dns", VIP, [a], DNS);
    expect(askFrom(cluster, client, VIP, 53, 5000)).toBe(a.name);
    cluster.expose("dns", VIP, [b], DNS);
    expect(askFrom(cluster, client, VIP, 53, 5000)).toBe(b.name);
  });

  it("[sig-network] Conntrack should be able to preserve UDP traffic when server pod cycles for a NodePort service", () => {
    const { cluster, pods } = withPods(2);
    const [a, b] = pods as [Station, Station];
    cluster.expose("dns", VIP, [a], DNS);
    expect(askFrom(cluster, cluster.host, "10.0.0.13", 30053, 5000)).toBe(a.name);
    cluster.expose("dns", VIP, [b], DNS);
    expect(askFrom(cluster, cluster.host, "10.0.0.13", 30053, 5000)).toBe(b.name);
  });

  it("a UDP client that came too early is served once there are endpoints, from the same port", () => {
    const { cluster, client, pods } = withPods(1);
    cluster.expose("dns", VIP, [], DNS);
    expect(askFrom(cluster, client, VIP, 53, 5000)).toBe("silence");
    expect(askFrom(cluster, cluster.host, "10.0.0.11", 30053, 5000)).toBe("silence");
    cluster.expose("dns", VIP, pods, DNS);
    expect(askFrom(cluster, client, VIP, 53, 5000)).toBe(pods[0].name);
    expect(askFrom(cluster, cluster.host, "10.0.0.11", 30053, 5000)).toBe(pods[0].name);
  });

  it("a UDP client of a Service that is deleted does not stay with its endpoint", () => {
    const { cluster, client, pods } = withPods(1);
    cluster.expose("dns", VIP, pods, DNS);
    expect(askFrom(cluster, client, VIP, 53, 5000)).toBe("web-1");
    expect(askFrom(cluster, cluster.host, "10.0.0.11", 30053, 5000)).toBe("web-1");
    cluster.deleteService("dns");
    cluster.sync();
    expect(askFrom(cluster, client, VIP, 53, 5000)).toBe("silence");
    expect(askFrom(cluster, cluster.host, "10.0.0.11", 30053, 5000)).toBe("silence");
  });

  it("UDP flows to endpoints that stay are not disturbed", () => {
    const { cluster, client, pods } = withPods(3);
    cluster.expose("dns", VIP, pods, DNS);
    const before = [5000, 5001, 5002].map((sport) => askFrom(cluster, client, VIP, 53, sport));
    expect(new Set(before).size).toBe(3);
    cluster.expose("dns", VIP, pods.slice(0, 2), DNS);
    const after = [5000, 5001, 5002].map((sport) => askFrom(cluster, client, VIP, 53, sport));
    for (const [i, name] of before.entries()) if (name !== "web-3") expect(after[i]).toBe(name);
    expect(after).not.toContain("web-3");
  });

  it("terminating endpoints that serve are used while there is no ready one", () => {
    const { cluster, client, pods } = withPods(2);
    const [a, b] = pods as [Station, Station];
    const leaving = { pod: a, conditions: { ready: false, serving: true, terminating: true } };
    cluster.expose("web", VIP, [leaving], WEB);
    expect(podsAsked(cluster, client, VIP, 80, 2)).toEqual([a.name, a.name]);
    cluster.expose("web", VIP, [leaving, b], WEB);
    expect(podsAsked(cluster, client, VIP, 80, 2)).toEqual([b.name, b.name]);
  });
});
