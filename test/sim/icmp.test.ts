/** Router manners: errors, path MTU, hops, fragments, routes that go. */
import { describe, expect, it } from "vitest";
import { ask } from "./ask.js";
import { Cluster, HOST_IP } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { text } from "./packet.js";
import type { Station } from "./station.js";

const VIP = "10.254.0.10";
const UNREACHABLE = 3;
const TIME_EXCEEDED = 11;
const IP_AND_UDP_BYTES = 28;

function setUp(): { cluster: Cluster; client: Station; near: Station; far: Station } {
  const cluster = new Cluster({ nodes: 2 });
  const client = cluster.addPod("client", 1);
  const [near, far] = [cluster.addPod("near", 1), cluster.addPod("far", 2)];
  for (const pod of [near, far]) serveEcho(pod);
  return { cluster, client, near, far };
}

describe("ICMP errors through NAT", () => {
  it.each(["near", "far"] as const)(
    "port unreachable from an endpoint (%s) names what the client asked",
    (which) => {
      const { cluster, client, ...pods } = setUp();
      cluster.expose("shut", VIP, [pods[which]], { port: 53, targetPort: 9, protocol: "UDP" });
      const sport = client.sendUdp(VIP, 53, text("x"));
      cluster.run();
      expect(client.errors).toMatchObject([
        { from: VIP, type: UNREACHABLE, code: 3, quoted: { src: client.ip, dst: VIP, sport, dport: 53 } },
      ]);
    },
  );

  it("port unreachable through masquerading reaches the host as it sent the packet", () => {
    const { cluster, far } = setUp();
    cluster.expose("shut", VIP, [far], { port: 53, targetPort: 9, nodePort: 30053, protocol: "UDP" });
    const sport = cluster.host.sendUdp("10.0.0.11", 30053, text("x"));
    cluster.run();
    expect(cluster.host.errors).toMatchObject([
      {
        from: "10.0.0.11",
        type: UNREACHABLE,
        code: 3,
        quoted: { src: HOST_IP, dst: "10.0.0.11", sport, dport: 30053 },
      },
    ]);
  });

  it("rejected connections: port unreachable that names the Service", () => {
    const { cluster, client } = setUp();
    cluster.expose("web", VIP, [], { port: 80, targetPort: 8080 });
    const end = client.connect(VIP, 80);
    cluster.run();
    expect(end.state).toBe("refused");
    expect(client.errors).toMatchObject([
      { type: UNREACHABLE, code: 3, quoted: { dst: VIP, dport: 80, sport: 40_000 } },
    ]);
  });

  it("time exceeded on the way to an endpoint names the Service", () => {
    const { cluster, client, far } = setUp();
    cluster.expose("dns", VIP, [far], { port: 53, targetPort: 8080, protocol: "UDP" });
    const sport = client.sendUdp(VIP, 53, text("x"), { ttl: 2 });
    cluster.run();
    expect(client.errors).toMatchObject([
      { type: TIME_EXCEEDED, code: 0, quoted: { src: client.ip, dst: VIP, sport, dport: 53 } },
    ]);
  });
});

describe("path MTU", () => {
  const bytesFor = (packetBytes: number) => packetBytes - IP_AND_UDP_BYTES;

  it.each([
    ["pod of the node", "near"],
    ["pod of another node, by its node", "far"],
  ] as const)("host to a %s: 1472 bytes pass, 1473 do not and the error says 1472", (_name, which) => {
    const { cluster, ...pods } = setUp();
    cluster.host.ping(pods[which].ip, 1, bytesFor(1472), { df: true });
    cluster.run();
    expect(cluster.host.echoReplies).toMatchObject([{ sequence: 1, bytes: bytesFor(1472) }]);
    cluster.host.ping(pods[which].ip, 2, bytesFor(1473), { df: true });
    cluster.run();
    expect(cluster.host.echoReplies).toHaveLength(1);
    expect(cluster.host.errors).toMatchObject([
      { type: UNREACHABLE, code: 4, mtuBytes: 1472, quoted: { dst: pods[which].ip } },
    ]);
  });

  it("pods send 1472 bytes to other nodes", () => {
    const { cluster, client, far } = setUp();
    client.ping(far.ip, 1, bytesFor(1472), { df: true });
    cluster.run();
    expect(client.echoReplies).toMatchObject([{ from: far.ip, bytes: bytesFor(1472) }]);
  });

  it.each(["near", "far"] as const)(
    "fragmentation needed through NAT names the node port (endpoint %s)",
    (which) => {
      const { cluster, ...pods } = setUp();
      cluster.expose("dns", VIP, [pods[which]], {
        port: 53,
        targetPort: 8080,
        nodePort: 30053,
        protocol: "UDP",
      });
      const sport = cluster.host.sendUdp("10.0.0.11", 30053, new Uint8Array(bytesFor(1500)), { df: true });
      cluster.run();
      expect(cluster.host.errors).toMatchObject([
        {
          type: UNREACHABLE,
          code: 4,
          mtuBytes: 1472,
          quoted: { src: HOST_IP, dst: "10.0.0.11", sport, dport: 30053 },
        },
      ]);
      expect(pods[which].datagrams).toEqual([]);
    },
  );
});

describe("fragments", () => {
  it.each([
    ["client", VIP, 53],
    ["host", VIP, 53],
    ["host", "10.0.0.11", 30053],
    ["host", "10.0.0.12", 30053],
    ["client", "10.0.0.12", 30053],
  ])("of a datagram follow their first fragment: %s to %s:%i", (from, dst, port) => {
    const { cluster, far } = setUp();
    cluster.expose("dns", VIP, [far], { port: 53, targetPort: 8080, nodePort: 30053, protocol: "UDP" });
    const payload = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7) & 255);
    const sender = cluster.pods.get(from) ?? cluster.host;
    const sport = sender.sendUdp(dst, port, payload);
    cluster.run();
    expect(far.datagrams.map((datagram) => datagram.payload)).toEqual([payload]);
    expect(sender.datagrams).toMatchObject([{ from: dst, sport: port, dport: sport }]);
  });

  it("of a large echo come back whole", () => {
    const { cluster, client, far } = setUp();
    client.ping(far.ip, 1, 6000);
    cluster.host.ping(far.ip, 1, 6000);
    cluster.run();
    expect(client.echoReplies).toMatchObject([{ bytes: 6000 }]);
    expect(cluster.host.echoReplies).toMatchObject([{ bytes: 6000 }]);
  });

  it("UDP without checksum stays without", () => {
    const { cluster, client, far } = setUp();
    cluster.expose("dns", VIP, [far], { port: 53, targetPort: 8080, protocol: "UDP" });
    client.sendUdp(VIP, 53, text("plain"), { plain: true });
    cluster.run();
    const arrived = far.received.find((packet) => packet.protocol === 17);
    expect([...(arrived?.body.slice(6, 8) ?? [])]).toEqual([0, 0]);
    expect(client.datagrams).toHaveLength(1);
  });
});

describe("traceroute", () => {
  function hops(cluster: Cluster, from: Station, dst: string, count: number): string[] {
    return Array.from({ length: count }, (_, i) => {
      const [errors, replies] = [from.errors.length, from.echoReplies.length];
      from.ping(dst, i + 1, 32, { ttl: i + 1 });
      cluster.run();
      return from.errors[errors]?.from ?? from.echoReplies[replies]?.from ?? "*";
    });
  }

  it("pod to pod of another node: bridge, the other node's flannel address, the pod", () => {
    const { cluster, client, far } = setUp();
    expect(hops(cluster, client, far.ip, 3)).toEqual(["172.16.1.1", "172.16.2.0", far.ip]);
  });

  it("pod to pod of its node: no hop between", () => {
    const { cluster, client, near } = setUp();
    expect(hops(cluster, client, near.ip, 1)).toEqual([near.ip]);
  });

  it("host to pod: the node, the pod", () => {
    const { cluster, far } = setUp();
    expect(hops(cluster, cluster.host, far.ip, 2)).toEqual(["10.0.0.12", far.ip]);
  });
});

describe("routes", () => {
  it("lease gone: the route goes, and packets are answered with unreachable; back again: they pass", () => {
    const { cluster, client, far } = setUp();
    cluster.leaseGone(2);
    client.ping(far.ip, 1);
    cluster.run();
    expect(client.echoReplies).toEqual([]);
    expect(client.errors).toMatchObject([{ from: "172.16.1.1", type: UNREACHABLE, quoted: { dst: far.ip } }]);
    expect([0, 1]).toContain(client.errors[0]?.code);
    cluster.leaseBack(2);
    client.ping(far.ip, 2);
    cluster.run();
    expect(client.echoReplies).toMatchObject([{ from: far.ip, sequence: 2 }]);
  });

  it("packets from a node without lease are dropped", () => {
    const { cluster, client, far } = setUp();
    cluster.leaseGone(2);
    far.ping(client.ip, 1);
    cluster.run();
    expect(client.received).toEqual([]);
  });

  it("link down: silence; up again: traffic", () => {
    const { cluster, client, far } = setUp();
    cluster.link(1, 2).up = false;
    client.ping(far.ip, 1);
    cluster.run();
    expect([client.echoReplies, client.errors]).toEqual([[], []]);
    cluster.link(1, 2).up = true;
    client.ping(far.ip, 2);
    cluster.run();
    expect(client.echoReplies).toMatchObject([{ sequence: 2 }]);
  });

  it("a pod that is gone: host unreachable or silence, never another pod", () => {
    const { cluster, client, near, far } = setUp();
    cluster.removePod(far);
    client.ping(far.ip, 1);
    cluster.run(10_000);
    expect(client.echoReplies).toEqual([]);
    expect(near.received).toEqual([]);
    expect(ask(cluster, client, near.ip, 8080, "TCP").outcome).toBe("answered");
  });
});
