import { describe, expect, it } from "vitest";
import { PortKind } from "../../src/datapath/index.js";
import { EtherType, writeEthernet } from "../../src/wire/index.js";
import * as h from "./harness.js";

const BROADCAST = h.mac("ff:ff:ff:ff:ff:ff");
const POD_C = h.ip("172.16.1.4");
const MAC_C = h.mac("02:42:ac:10:01:04");

/** Operation, sender and target of an ARP frame. */
function readArp({ frame }: h.Sent): object {
  const address = (at: number) => [...frame.slice(at, at + 4)].join(".");
  return {
    to: [...frame.slice(0, 6)],
    operation: frame[21],
    senderMac: [...frame.slice(22, 28)],
    sender: address(28),
    targetMac: [...frame.slice(32, 38)],
    target: address(38),
  };
}

describe("ARP of pods", () => {
  it("is answered for the bridge's address", () => {
    const node = new h.Harness();
    const [reply, ...others] = node.raw(h.Id.podA, h.arpFrame(1, h.MAC_A, h.POD_A, h.ADDRESSES.bridgeIp));
    expect(others).toEqual([]);
    expect(reply.port).toBe(h.Id.podA);
    expect(readArp(reply)).toEqual({
      to: [...h.MAC_A],
      operation: 2,
      senderMac: [...h.BRIDGE_MAC],
      sender: "172.16.1.1",
      targetMac: [...h.MAC_A],
      target: "172.16.1.2",
    });
  });

  it("crosses the bridge for other pods: requests to all, replies to the asker", () => {
    const node = new h.Harness();
    node.datapath.addPort({
      id: 3,
      name: "default/c",
      kind: PortKind.pod,
      mtuBytes: h.MTU,
      ip: POD_C,
      mac: MAC_C,
    });
    const asked = node.raw(h.Id.podA, h.arpFrame(1, h.MAC_A, h.POD_A, h.POD_B));
    expect(asked.map(({ port }) => port)).toEqual([h.Id.podB, 3]);
    const answered = node.raw(h.Id.podB, h.arpFrame(2, h.MAC_B, h.POD_B, h.POD_A, h.MAC_A));
    expect(answered.map(({ port }) => port)).toEqual([h.Id.podA]);
    expect(node.datapath.counters.export()).toEqual({ "forward:flooded": 1, "forward:bridged": 1 });
  });

  it("lets probes for a free address through (RFC 5227)", () => {
    const node = new h.Harness();
    expect(node.raw(h.Id.podA, h.arpFrame(1, h.MAC_A, 0, h.POD_A)).map(({ port }) => port)).toEqual([
      h.Id.podB,
    ]);
  });

  it("is refused when it claims somebody else's address", () => {
    const node = new h.Harness();
    expect(node.raw(h.Id.podA, h.arpFrame(2, h.MAC_A, h.POD_B, h.POD_B))).toEqual([]);
    expect(node.raw(h.Id.podA, h.arpFrame(2, h.MAC_A, h.ADDRESSES.bridgeIp, h.POD_B))).toEqual([]);
    const inner = h.arpFrame(2, h.MAC_A, h.POD_A, h.POD_B);
    inner.set(h.MAC_B, 22);
    expect(node.raw(h.Id.podA, inner)).toEqual([]);
    expect(node.raw(h.Id.podA, inner.slice(0, 30))).toEqual([]);
    expect(node.datapath.counters.export()).toEqual({
      "drop:invalid-source-ip": 2,
      "drop:invalid-source-mac": 1,
      "drop:malformed": 1,
    });
  });
});

describe("the bridge", () => {
  const packet = h.udp({ src: h.POD_A, dst: h.POD_B, sport: 1, dport: 2 });

  it("switches frames between pods untouched, and tracks them", () => {
    const node = new h.Harness();
    const sent = h.only(node.inject(h.Id.podA, packet, { to: h.MAC_B }));
    expect(sent.port).toBe(h.Id.podB);
    expect([...sent.frame]).toEqual([...h.MAC_B, ...h.MAC_A, 8, 0, ...packet]);
    expect(node.datapath.conntrack.count).toBe(1);
    expect(node.count("forward:bridged")).toBe(1);
  });

  it("leaves replies of a Service untranslated without bridge netfilter: the client gets them from a stranger", () => {
    const services = new h.TableServices().put(17, h.VIP, 80, { ip: h.POD_B, port: 8080 });
    const node = new h.Harness({ bridgeNetfilter: false }, services);
    node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.VIP, sport: 1, dport: 80 }));
    const reply = h.udp({ src: h.POD_B, dst: h.POD_A, sport: 8080, dport: 1 });
    const sent = h.only(node.inject(h.Id.podB, reply, { to: h.MAC_A }));
    expect(sent.packet).toMatchObject({ src: "172.16.1.3", sport: 8080 });
    expect(node.datapath.conntrackRecords()).toMatchObject([{ unreplied: true }]);
  });

  it("floods broadcast, multicast and unknown addresses, never back", () => {
    const node = new h.Harness();
    for (const to of [BROADCAST, h.mac("01:00:5e:00:00:fb"), h.mac("02:99:99:99:99:99")]) {
      expect(node.inject(h.Id.podA, packet, { to }).map(({ port }) => port)).toEqual([h.Id.podB]);
    }
    expect(node.inject(h.Id.podA, packet, { to: h.MAC_A })).toEqual([]);
    expect(node.datapath.conntrack.count).toBe(0);
    expect(node.count("forward:flooded")).toBe(3);
  });

  it("learns the MAC behind a port that has none, and forgets it with the port", () => {
    const node = new h.Harness();
    const own = h.mac("02:aa:aa:aa:aa:aa");
    node.datapath.addPort({ id: 5, name: "default/x", kind: PortKind.pod, mtuBytes: h.MTU });
    const frame = new Uint8Array(h.ETHERNET + packet.length);
    frame.set(packet, h.ETHERNET);
    writeEthernet(frame, 0, h.MAC_B, 0, own, 0, EtherType.ipv4);
    expect(node.raw(5, frame).map(({ port }) => port)).toEqual([h.Id.podB]);
    expect(node.inject(h.Id.podA, packet, { to: own }).map(({ port }) => port)).toEqual([5]);
    node.datapath.removePort(5);
    expect(node.inject(h.Id.podA, packet, { to: own }).map(({ port }) => port)).toEqual([h.Id.podB]);
    expect(node.raw(5, frame)).toEqual([]);
  });

  it("no longer routes to a pod that is gone", () => {
    const node = new h.Harness();
    node.datapath.removePort(h.Id.podB);
    const sent = h.only(node.inject(h.Id.podA, packet));
    expect(sent.packet).toMatchObject({ icmpType: 3, icmpCode: 1 });
  });
});

describe("ports", () => {
  it.each([
    [
      { id: 1, name: "x", kind: PortKind.pod, mtuBytes: 1500 },
      "port 1 (x): the id is taken; remove that port first",
    ],
    [
      { id: -1, name: "x", kind: PortKind.pod, mtuBytes: 1500 },
      "port -1 (x): the id must be a whole number from 0 to 65535",
    ],
    [
      { id: 9, name: "x", kind: PortKind.local, mtuBytes: 1500 },
      "port 9 (x): the node itself needs no port; do not add one",
    ],
    [{ id: 9, name: "x", kind: PortKind.host, mtuBytes: 1500 }, "port 9 (x): there is a host port already"],
    [{ id: 9, name: "x", kind: PortKind.pod, mtuBytes: 60 }, "port 9 (x): the MTU must be at least 68"],
    [
      { id: 9, name: "x", kind: PortKind.pod, mtuBytes: 1500, ip: POD_C },
      "port 9 (x): a port with an address needs a MAC",
    ],
    [
      { id: 9, name: "x", kind: PortKind.pod, mtuBytes: 1500, ip: h.POD_A, mac: MAC_C },
      "port 9 (x): 172.16.1.2 belongs to another pod; remove that port first",
    ],
    [
      { id: 9, name: "x", kind: PortKind.pod, mtuBytes: 1500, mac: new Uint8Array(5) },
      "port 9 (x): the MAC must have 6 bytes",
    ],
  ])("refuse %o", (config, message) => {
    expect(() => new h.Harness().datapath.addPort(config)).toThrow(message);
  });
});

describe("the link to the machine", () => {
  const out = (node: h.Harness, sport = 1) =>
    node.inject(
      h.Id.podA,
      h.udp({ src: h.POD_A, dst: h.HOST, sport, dport: 2, payload: Uint8Array.of(sport) }),
    );
  const answer = h.arpFrame(2, h.HOST_MAC, h.HOST, h.NODE, h.HOST_PORT_MAC);

  it.each([
    ["its own address", "10.0.0.1", 1],
    ["a pod's", "172.16.1.2", 1],
    ["a pod's on another node", "172.16.2.9", 1],
    ["a Service's", "10.254.0.10", 1],
    ["the machine's own", "10.0.0.254", 0],
    ["a stranger's", "203.0.113.1", 0],
  ])("answers ARP for %s address as it should", (_, target, replies) => {
    const node = new h.Harness();
    const sent = node.raw(h.Id.host, h.arpFrame(1, h.HOST_MAC, h.HOST, h.ip(target)));
    expect(sent.map(readArp)).toEqual(
      Array(replies).fill({
        to: [...h.HOST_MAC],
        operation: 2,
        senderMac: [...h.HOST_PORT_MAC],
        sender: target,
        targetMac: [...h.HOST_MAC],
        target: "10.0.0.254",
      }),
    );
  });

  it("asks for the machine's MAC once, keeps packets meanwhile and sends them in order", () => {
    const node = new h.Harness();
    const [request] = out(node, 1);
    expect(request.port).toBe(h.Id.host);
    expect(readArp(request)).toMatchObject({
      to: [...BROADCAST],
      operation: 1,
      sender: "10.0.0.1",
      target: "10.0.0.254",
    });
    expect(out(node, 2)).toEqual([]);
    expect(node.count("forward:neighbour-pending")).toBe(2);
    const sent = node.raw(h.Id.host, answer);
    expect(sent.map(({ packet }) => packet?.payload[0])).toEqual([1, 2]);
    expect([...sent[0].frame.slice(0, 6)]).toEqual([...h.HOST_MAC]);
    expect(h.only(out(node, 3)).packet.payload[0]).toBe(3);
  });

  it("keeps the offload header of a packet that waits", () => {
    const node = new h.Harness();
    const vnet = Uint8Array.from([1, 0, 42, 0, 0, 0, 34, 0, 6, 0]);
    const whole = h.udp({ src: h.POD_A, dst: h.HOST, sport: 1, dport: 2 });
    // A partial checksum is the pseudo-header's sum: of the datagram without ports and payload length, all ones but that.
    let sum = 17 + 8;
    for (let i = 12; i < 20; i += 2) sum += whole[i] * 256 + whole[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    whole.set([sum >> 8, sum & 255], 26);
    node.inject(h.Id.podA, whole, { vnet });
    const sent = h.only(node.raw(h.Id.host, answer));
    expect([...sent.vnet]).toEqual([...vnet]);
  });

  it("keeps at most 16 packets and gives up after three requests", () => {
    const node = new h.Harness();
    for (let i = 0; i < 20; i++) out(node, i);
    expect(node.count("drop:neighbour-queue-full")).toBe(4);
    expect(node.tick(1000)).toHaveLength(1);
    expect(node.tick(500)).toEqual([]);
    expect(node.tick(500)).toHaveLength(1);
    expect(node.tick(1000)).toEqual([]);
    expect(node.count("drop:neighbour-unresolved")).toBe(16);
    expect(node.raw(h.Id.host, answer)).toEqual([]);
  });

  it("asks again after a minute while it uses the old MAC, then stops using it", () => {
    const node = new h.Harness();
    node.learnHost();
    node.nowMs += 60_000;
    for (let i = 0; i < 3; i++) {
      expect(out(node).map(({ packet }) => packet !== undefined)).toEqual([false, true]);
      expect(out(node)).toHaveLength(1);
      node.nowMs += 1000;
    }
    expect(out(node).map(({ packet }) => packet !== undefined)).toEqual([false]);
    expect(node.raw(h.Id.host, answer)).toHaveLength(1);
  });

  it("forgets the MAC with the port", () => {
    const node = new h.Harness();
    node.learnHost();
    node.datapath.removePort(h.Id.host);
    expect(h.only(out(node)).packet).toMatchObject({ icmpType: 3, icmpCode: 0 });
    node.datapath.addPort({ id: h.Id.host, name: "host", kind: PortKind.host, mtuBytes: 1500 });
    expect(out(node).map(({ packet }) => packet)).toEqual([undefined]);
  });
});

it("takes on another subnet", () => {
  const node = new h.Harness();
  node.datapath.setAddresses({
    ...h.ADDRESSES,
    podSubnet: h.prefix("172.16.8.0/24"),
    bridgeIp: h.ip("172.16.8.1"),
    overlayIp: h.ip("172.16.8.0"),
  });
  const [reply] = node.raw(h.Id.podA, h.arpFrame(1, h.MAC_A, h.POD_A, h.ip("172.16.8.1")));
  expect(readArp(reply)).toMatchObject({ operation: 2, sender: "172.16.8.1" });
});
