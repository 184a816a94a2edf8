import { describe, expect, it } from "vitest";
import { IpProtocol, setU16 } from "../../../src/wire/index.js";
import * as h from "../harness.js";
import * as v6 from "./harness6.js";
import { node, syn } from "./packets6.js";

const { Id } = h;

describe("who may send what", () => {
  it.each([
    ["another pod's address", v6.POD_B, v6.REMOTE_POD, "drop:invalid-source-ip"],
    ["the gateway's", v6.GATEWAY, v6.REMOTE_POD, "drop:invalid-source-ip"],
    ["nobody's", 0n, v6.REMOTE_POD, "drop:martian"],
    ["the loopback address", 1n, v6.REMOTE_POD, "drop:invalid-source-ip"],
    ["a link-local address that its MAC does not make", v6.LINK_B, v6.GATEWAY, "drop:invalid-source-ip"],
    ["its link-local address beyond the link", v6.LINK_A, v6.REMOTE_POD, "drop:martian"],
    ["its own, to an IPv4-mapped one", v6.POD_A, v6.ip6("::ffff:10.0.0.1"), "drop:martian"],
    ["its own, to a link-local one through the router", v6.POD_A, v6.LINK_B, "drop:martian"],
  ])("a pod, as %s: not", (_, src, dst, counter) => {
    const harness = node();
    expect(harness.inject(Id.podA, syn(src, dst))).toEqual([]);
    expect(harness.count(counter)).toBe(1);
    expect(harness.datapath.conntrack.count).toBe(0);
  });

  it.each([
    [
      "a source outside its subnet",
      Id.overlay,
      v6.ip6("fd00:10:244:3::1"),
      h.PEER_2,
      "drop:invalid-source-ip",
    ],
    ["a stranger", Id.overlay, v6.REMOTE_POD, h.ip("192.0.2.9"), "drop:unknown-peer"],
    ["a link-local source", Id.overlay, v6.LINK_A, h.PEER_2, "drop:martian"],
    ["the machine as a pod", Id.host, v6.REMOTE_POD, 0, "drop:invalid-source-ip"],
  ])("%s is dropped", (_, port, src, peer, counter) => {
    const harness = node();
    expect(harness.inject(port, syn(src, v6.POD_A), { peer })).toEqual([]);
    expect(harness.count(counter)).toBe(1);
  });
});

describe("neighbour discovery", () => {
  it("the node answers for the gateway and its link-local address", () => {
    for (const target of [v6.GATEWAY, v6.ip6("fe80::42:acff:fe10:101")]) {
      const sent = v6.only6(node().frame(Id.podA, v6.solicit(h.MAC_A, v6.POD_A, target)));
      expect(sent).toMatchObject({
        port: Id.podA,
        packet: { dst: "fd00:10:244:1::2", icmpType: 136, hopLimit: 255, icmpRest: 0xe0000000 },
      });
      expect(sent.frame.slice(0, 12)).toEqual(Uint8Array.from([...h.MAC_A, ...h.BRIDGE_MAC]));
      expect(sent.packet.payload.slice(-6)).toEqual(h.BRIDGE_MAC);
    }
  });

  it("between pods it crosses the bridge", () => {
    const harness = node();
    expect(v6.only6(harness.frame(Id.podA, v6.solicit(h.MAC_A, v6.POD_A, v6.POD_B)))).toMatchObject({
      port: Id.podB,
      packet: { icmpType: 135 },
    });
    const answer = v6.advertise(h.MAC_B, v6.POD_B, v6.POD_A, v6.POD_B);
    answer.set(h.MAC_A, 0);
    expect(v6.only6(harness.frame(Id.podB, answer))).toMatchObject({
      port: Id.podA,
      packet: { icmpType: 136 },
    });
  });

  it("a pod's duplicate address detection is flooded; of the gateway's address it fails", () => {
    const harness = node();
    const detect = (target: bigint) => {
      const frame = v6.solicit(h.MAC_A, v6.POD_A, target).slice(0, h.ETHERNET + 64);
      frame.fill(0, h.ETHERNET + 8, h.ETHERNET + 24);
      setU16(frame, h.ETHERNET + 4, 24);
      setU16(frame, h.ETHERNET + 42, 0);
      const l4 = frame.slice(h.ETHERNET + 40);
      const pseudo = [...frame.slice(h.ETHERNET + 8, h.ETHERNET + 40), 0, 0, 0, 24, 0, 0, 0, 58];
      let sum = 0;
      const all = [...pseudo, ...l4];
      for (let i = 0; i < all.length; i += 2) sum += all[i] * 256 + all[i + 1];
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
      setU16(frame, h.ETHERNET + 42, sum ^ 0xffff);
      return frame;
    };
    expect(v6.only6(harness.frame(Id.podA, detect(v6.POD_A))).port).toBe(Id.podB);
    expect(v6.only6(harness.frame(Id.podA, detect(v6.GATEWAY)))).toMatchObject({
      port: Id.podA,
      packet: { dst: "ff02::1", icmpRest: 0xa0000000 },
    });
  });

  it.each([
    [
      "says it has another's address",
      v6.advertise(h.MAC_A, v6.POD_A, v6.POD_B, v6.GATEWAY),
      "drop:invalid-source-ip",
    ],
    ["asks as another", v6.solicit(h.MAC_A, v6.POD_B, v6.GATEWAY), "drop:invalid-source-ip"],
    [
      "gives another's MAC",
      withMac(v6.solicit(h.MAC_A, v6.POD_A, v6.POD_B), h.MAC_B),
      "drop:invalid-source-mac",
    ],
  ])("a pod that %s is not heard", (_, frame, counter) => {
    const harness = node();
    expect(harness.frame(Id.podA, frame)).toEqual([]);
    expect(harness.count(counter)).toBe(1);
  });

  it("no pod is a router", () => {
    const harness = node();
    const frame = v6.advertise(h.MAC_A, v6.LINK_A, v6.ip6("ff02::1"), v6.POD_A);
    frame[h.ETHERNET + 40] = 134;
    expect(harness.frame(Id.podA, frame)).toEqual([]);
    expect(harness.count("drop:rogue-router-advertisement")).toBe(1);
  });

  it("on the host port the node answers for all that lies behind it, and for nothing else", () => {
    const answers = (target: bigint) => {
      const sent = node().frame(Id.host, v6.solicit(h.HOST_MAC, v6.HOST, target));
      return sent.length === 1 && sent[0].packet.icmpType === 136;
    };
    for (const target of [v6.NODE, v6.POD_A, v6.REMOTE_POD, v6.VIP]) expect(answers(target)).toBe(true);
    for (const target of [v6.HOST, v6.NODE_2, v6.OUTSIDE]) expect(answers(target)).toBe(false);
  });

  it("the machine's MAC is learned from its questions; what waited for it is sent", () => {
    const harness = new v6.Harness6();
    expect(harness.inject(Id.podA, syn(v6.POD_A, v6.OUTSIDE))).toEqual([]);
    expect(harness.arpRequests).toBe(1);
    const sent = harness.frame(Id.host, v6.solicit(h.HOST_MAC, v6.HOST, v6.NODE));
    expect(sent.map(({ packet }) => packet.protocol)).toEqual([IpProtocol.tcp, IpProtocol.icmpv6]);
    expect(sent[0].frame.slice(0, 6)).toEqual(h.HOST_MAC);
  });
});

/** The frame with another MAC in its option. */
function withMac(frame: Uint8Array, mac: Uint8Array): Uint8Array {
  const changed = frame.slice();
  const before = frame.slice(-6);
  changed.set(mac, changed.length - 6);
  // The checksum follows the change.
  let sum = frame[h.ETHERNET + 42] * 256 + frame[h.ETHERNET + 43];
  for (let i = 0; i < 6; i += 2) {
    sum += before[i] * 256 + before[i + 1] + (0xffff - (mac[i] * 256 + mac[i + 1]));
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  setU16(changed, h.ETHERNET + 42, sum);
  return changed;
}
