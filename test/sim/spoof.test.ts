/** Sources that are not true, wherever they come in. */
import { describe, expect, it } from "vitest";
import { Cluster, HOST_IP, NODENET_PORT, OVERLAY_PORT } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { encodePacket, encodeUdp, text, UDP } from "./packet.js";
import type { Station } from "./station.js";

const VIP = "10.254.0.10";
const FIRST_UNDERLAY = "192.0.2.1";

function setUp(): { cluster: Cluster; client: Station; near: Station; far: Station } {
  const cluster = new Cluster({ nodes: 3 });
  const client = cluster.addPod("client", 1);
  const [near, far] = [cluster.addPod("near", 1), cluster.addPod("far", 2)];
  for (const pod of [near, far]) serveEcho(pod);
  return { cluster, client, near, far };
}

function datagram(src: string, dst: string): Uint8Array {
  const body = encodeUdp(src, dst, { sport: 5000, dport: 8080, payload: text("x") });
  return encodePacket({
    src,
    dst,
    ttl: 64,
    id: 1,
    df: false,
    mf: false,
    fragmentOffset: 0,
    protocol: UDP,
    body,
  });
}

describe("a pod's packets pass only with its own source", () => {
  it.each([
    ["its own", "172.16.1.2", 2],
    ["another pod of the node", "172.16.1.3", 0],
    ["a pod of another node", "172.16.2.2", 0],
    ["the node", "10.0.0.11", 0],
    ["the bridge", "172.16.1.1", 0],
    ["the host", HOST_IP, 0],
    ["a cluster IP", VIP, 0],
    ["an address of the Internet", "203.0.113.5", 0],
    ["loopback", "127.0.0.1", 0],
    ["nobody", "0.0.0.0", 0],
  ])("%s", (_name, src, delivered) => {
    const { cluster, client, near, far } = setUp();
    for (const dst of [near.ip, far.ip]) client.sendUdp(dst, 8080, text("x"), { src });
    cluster.run();
    expect(near.datagrams.length + far.datagrams.length).toBe(delivered);
  });
});

describe("a peer's packets pass only with a source in its own lease", () => {
  it.each([
    ["its pod", "172.16.1.9", FIRST_UNDERLAY, 1],
    ["its flannel address", "172.16.1.0", FIRST_UNDERLAY, 1],
    ["a pod of a third node", "172.16.3.9", FIRST_UNDERLAY, 0],
    ["a pod of the receiving node", "172.16.2.9", FIRST_UNDERLAY, 0],
    ["the receiving node's bridge", "172.16.2.1", FIRST_UNDERLAY, 0],
    ["the sending node's IP", "10.0.0.11", FIRST_UNDERLAY, 0],
    ["the host", HOST_IP, FIRST_UNDERLAY, 0],
    ["a cluster IP", VIP, FIRST_UNDERLAY, 0],
    ["its pod, but from an underlay address without lease", "172.16.1.9", "198.51.100.9", 0],
  ])("%s", (_name, src, peer, delivered) => {
    const { cluster, far } = setUp();
    cluster.node(2).receive(OVERLAY_PORT, datagram(src, far.ip), peer);
    cluster.run();
    expect(far.datagrams.length).toBe(delivered);
  });
});

describe("the node network carries only nodes", () => {
  it.each([
    ["the sending node", "10.0.0.11", FIRST_UNDERLAY, 1],
    ["another node", "10.0.0.13", FIRST_UNDERLAY, 0],
    ["a pod", "172.16.1.9", FIRST_UNDERLAY, 0],
    ["a stranger", "10.0.0.11", "198.51.100.9", 0],
  ])("source %s", (_name, src, peer, delivered) => {
    const { cluster, far } = setUp();
    cluster.expose("dns", VIP, [far], { port: 53, targetPort: 8080, nodePort: 8080, protocol: "UDP" });
    cluster.node(2).receive(NODENET_PORT, datagram(src, "10.0.0.12"), peer);
    cluster.run();
    expect(far.datagrams.length).toBe(delivered);
  });
});

describe("the host's packets pass only with a source that is not the cluster's", () => {
  it.each([
    ["its own", HOST_IP, 1],
    ["a pod", "172.16.1.2", 0],
    ["a cluster IP", VIP, 0],
    ["the node", "10.0.0.12", 0],
  ])("%s", (_name, src, delivered) => {
    const { cluster, far } = setUp();
    cluster.host.sendUdp(far.ip, 8080, text("x"), { src });
    cluster.run();
    expect(far.datagrams.length).toBe(delivered);
  });
});
