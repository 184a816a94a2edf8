import { describe, expect, it } from "vitest";
import { IpProtocol, Ipv6Next, TcpFlag } from "../../../src/wire/index.js";
import * as h from "../harness.js";
import * as v6 from "./harness6.js";
import { errorAbout, node, syn } from "./packets6.js";

const { Id } = h;

describe("ICMPv6", () => {
  it("the node answers pings to each of its addresses", () => {
    for (const dst of [v6.GATEWAY, v6.NODE, v6.ip6("fd00:10:244:1::")]) {
      const request = v6.echo6({
        ...v6.ends(v6.POD_A, dst),
        icmpId: 7,
        icmpSeq: 3,
        payload: new Uint8Array(56),
      });
      expect(v6.only6(node().inject(Id.podA, request))).toMatchObject({
        port: Id.podA,
        packet: { dst: "fd00:10:244:1::2", icmpType: 129, icmpRest: (7 << 16) | 3 },
      });
    }
  });

  it("also between link-local addresses, on the link they came from", () => {
    const request = v6.echo6({
      ...v6.ends(v6.LINK_A, v6.ip6("fe80::42:acff:fe10:101")),
      icmpId: 7,
      icmpSeq: 1,
    });
    expect(v6.only6(node().inject(Id.podA, request))).toMatchObject({
      port: Id.podA,
      packet: { src: "fe80::42:acff:fe10:101", dst: "fe80::42:acff:fe10:102", icmpType: 129 },
    });
  });

  it("a hop limit that runs out is told from the gateway", () => {
    const packet = v6.udp6({ ...v6.ends(v6.POD_A, v6.REMOTE_POD), sport: 1, dport: 2, hopLimit: 1 });
    expect(v6.only6(node().inject(Id.podA, packet)).packet).toMatchObject({
      src: "fd00:10:244:1::1",
      icmpType: 3,
      icmpCode: 0,
      quoted: { hopLimit: 1, dport: 2 },
    });
  });

  it("a packet that the next link cannot take is told its MTU, and never cut", () => {
    const packet = v6.udp6({
      ...v6.ends(v6.HOST, v6.REMOTE_POD),
      sport: 1,
      dport: 2,
      payload: new Uint8Array(1450),
    });
    expect(v6.only6(node().inject(Id.host, packet))).toMatchObject({
      port: Id.host,
      packet: { icmpType: 2, icmpCode: 0, icmpRest: h.MTU, length: 1280, dst: "fd00:10::1" },
    });
  });

  it.each([
    ["an address of the pods' subnet that no pod has", v6.ip6("fd00:10:244:1::77"), 1, 3],
    ["a pod network that no node has", v6.ip6("fd00:10:244:55::1"), 1, 0],
    ["an address of the service network without a Service", v6.ip6("fd00:10:96::77"), 1, 3],
  ])("%s is unreachable", (_, dst, icmpType, icmpCode) => {
    const packet = v6.udp6({ ...v6.ends(v6.POD_A, dst), sport: 1, dport: 2 });
    expect(v6.only6(node().inject(Id.podA, packet)).packet).toMatchObject({ icmpType, icmpCode });
  });

  it("the node refuses what it does not serve: UDP ports, TCP ports, and protocols where the packet names them", () => {
    const udp = v6.udp6({ ...v6.ends(v6.POD_A, v6.NODE), sport: 1, dport: 2 });
    expect(v6.only6(node().inject(Id.podA, udp)).packet).toMatchObject({ icmpType: 1, icmpCode: 4 });
    expect(v6.only6(node().inject(Id.podA, syn(v6.POD_A, v6.NODE))).packet).toMatchObject({
      src: "fd00:10::11",
      flags: TcpFlag.rst | TcpFlag.ack,
      ack: 1,
    });
    const unknown = udp.slice();
    unknown[6] = 200;
    expect(v6.only6(node().inject(Id.podA, unknown)).packet).toMatchObject({
      icmpType: 4,
      icmpCode: 1,
      icmpRest: 6,
    });
    const extended = v6.udp6({
      ...v6.ends(v6.POD_A, v6.NODE),
      sport: 1,
      dport: 2,
      extensions: { nextHeader: Ipv6Next.destination, bytes: Uint8Array.from([200, 0, 1, 4, 0, 0, 0, 0]) },
    });
    expect(v6.only6(node().inject(Id.podA, extended)).packet).toMatchObject({ icmpType: 4, icmpRest: 40 });
  });

  it("an error about a translated packet comes back as if nothing had been translated", () => {
    const harness = node();
    harness.service(IpProtocol.udp, v6.VIP, 53, v6.REMOTE_POD, { port: 5353 });
    const query = v6.udp6({
      ...v6.ends(v6.POD_A, v6.VIP),
      sport: 4000,
      dport: 53,
      payload: new Uint8Array(20),
    });
    const forwarded = v6.only6(harness.inject(Id.podA, query)).frame;
    const error = errorAbout(forwarded, v6.REMOTE_POD, v6.POD_A, 1, 4, 0);
    expect(v6.only6(harness.inject(Id.overlay, error, { peer: h.PEER_2 }))).toMatchObject({
      port: Id.podA,
      packet: {
        src: "fd00:10:96::a",
        icmpType: 1,
        icmpCode: 4,
        quoted: { src: "fd00:10:244:1::2", dst: "fd00:10:96::a", sport: 4000, dport: 53 },
      },
    });
  });

  it("path MTU discovery works through a masqueraded connection", () => {
    const harness = node();
    const out = v6.only6(harness.inject(Id.podA, syn(v6.POD_A, v6.OUTSIDE)));
    const router = v6.ip6("2001:db8:ffff::1");
    const error = errorAbout(out.frame.slice(h.ETHERNET), router, v6.NODE, 2, 0, 1400);
    expect(v6.only6(harness.inject(Id.host, error))).toMatchObject({
      port: Id.podA,
      packet: {
        src: "2001:db8:ffff::1",
        dst: "fd00:10:244:1::2",
        icmpType: 2,
        icmpRest: 1400,
        quoted: { src: "fd00:10:244:1::2", sport: 40000 },
      },
    });
  });

  it("one about no connection is invalid", () => {
    const harness = node();
    const stray = errorAbout(syn(v6.POD_A, v6.OUTSIDE), v6.OUTSIDE, v6.POD_A, 1, 4, 0);
    expect(harness.inject(Id.host, stray)).toEqual([]);
    expect(harness.count("drop:ct-invalid")).toBe(1);
  });
});
