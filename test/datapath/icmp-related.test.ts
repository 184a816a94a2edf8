/**
 * ICMP errors about translated connections, in both directions, from either end and from routers between them; and what
 * may not be told at all. RFC 5508 (NAT and ICMP), RFC 1122 §3.2.2, RFC 4443 §2.4, and what Linux does.
 */
import { describe, expect, it } from "vitest";
import {
  IcmpType,
  IpProtocol,
  PacketView,
  parseIpv4Packet,
  parseIpv6Packet,
  TcpFlag,
  writeIcmpError,
  writeIcmpv6Error,
  writeIpv6Address,
} from "../../src/wire/index.js";
import * as h from "./harness.js";
import * as v6 from "./ipv6/harness6.js";

interface Ends {
  readonly src: string;
  readonly dst: string;
  readonly sport?: number;
  readonly dport?: number;
}

interface Left {
  readonly port: number;
  readonly packet: Ends & {
    readonly icmpType?: number | undefined;
    readonly icmpId?: number | undefined;
    readonly quoted?: unknown;
  };
  /** The IP packet itself. */
  readonly bytes: Uint8Array;
}

/** One address family: the same node, the same Service, spelt otherwise. */
interface Family {
  readonly node: h.Harness | v6.Harness6;
  readonly client: string;
  readonly nodeIp: string;
  readonly overlayIp: string;
  readonly endpoint: string;
  /** Routers on either side. */
  readonly near: string;
  readonly far: string;
  readonly unreachable: readonly [type: number, code: number];
  readonly timeExceeded: readonly [type: number, code: number];
  transport(protocol: "tcp" | "udp", ends: Required<Ends>, flags?: number): Uint8Array;
  echo(src: string, dst: string, id: number): Uint8Array;
  errorAbout(packet: Uint8Array, src: string, what: readonly [number, number]): Uint8Array;
  inject(port: number, packet: Uint8Array): Left[];
}

const isBare = (port: number) => port === h.Id.overlay || port === h.Id.nodenet;
const bytesOf = ({ port, frame }: { readonly port: number; readonly frame: Uint8Array }) =>
  isBare(port) ? frame : frame.slice(h.ETHERNET);

function ipv4(): Family {
  const node = new h.Harness();
  node.learnHost();
  for (const protocol of [IpProtocol.tcp, IpProtocol.udp])
    node.services.put(protocol, h.NODE, 30_001, { ip: h.REMOTE_POD, port: 8080, masquerade: true });
  for (const protocol of [IpProtocol.tcp, IpProtocol.udp])
    node.services.put(protocol, h.VIP, 80, { ip: h.POD_A, port: 8080 });
  const { ip } = h;
  return {
    node,
    ...{ client: "10.0.0.254", nodeIp: "10.0.0.1", overlayIp: "172.16.1.0", endpoint: "172.16.2.9" },
    ...{ near: "10.0.0.77", far: "172.16.2.0" },
    ...{ unreachable: [3, 3], timeExceeded: [11, 0] },
    transport: (protocol, ends, flags = TcpFlag.syn) => {
      const fields = { ...ends, src: ip(ends.src), dst: ip(ends.dst), payload: new Uint8Array(20) };
      return protocol === "tcp" ? h.tcp({ ...fields, flags }) : h.udp(fields);
    },
    echo: (src, dst, icmpId) =>
      h.echo({ src: ip(src), dst: ip(dst), icmpId, icmpSeq: 1, payload: new Uint8Array(20) }),
    errorAbout: (packet, src, [type, code]) => {
      const view = new PacketView();
      expect(parseIpv4Packet(packet, 0, packet.length, view)).toBe(0);
      return h.sized((out) => writeIcmpError(out, 0, packet, view, type, code, 0, ip(src), 64, 1));
    },
    inject: (port, packet) =>
      node.inject(port, packet, { peer: h.PEER_2 }).map((sent) => ({
        port: sent.port,
        packet: h.only([sent]).packet,
        bytes: bytesOf(sent),
      })),
  };
}

function ipv6(): Family {
  const node = new v6.Harness6();
  node.learnHost();
  for (const protocol of [IpProtocol.tcp, IpProtocol.udp]) {
    node.service(protocol, v6.NODE, 30_001, v6.REMOTE_POD, { port: 8080, masquerade: true });
    node.service(protocol, v6.VIP, 80, v6.POD_A, { port: 8080 });
  }
  const ip = v6.ip6;
  return {
    node,
    ...{ client: "fd00:10::1", nodeIp: "fd00:10::11", overlayIp: "fd00:10:244:1::" },
    ...{
      endpoint: "fd00:10:244:2::9",
      near: "fd00:10::77",
      far: "fd00:10:244:2::",
      elsewhere: "fd00:10::99",
    },
    ...{ unreachable: [1, 4], timeExceeded: [3, 0] },
    transport: (protocol, ends, flags = TcpFlag.syn) => {
      const fields = { ...ends, src: ip(ends.src), dst: ip(ends.dst), payload: new Uint8Array(20) };
      return protocol === "tcp" ? v6.tcp6({ ...fields, flags }) : v6.udp6(fields);
    },
    echo: (src, dst, icmpId) =>
      v6.echo6({ src: ip(src), dst: ip(dst), icmpId, icmpSeq: 1, payload: new Uint8Array(20) }),
    errorAbout: (packet, src, [type, code]) => {
      const view = new PacketView();
      expect(parseIpv6Packet(packet, 0, packet.length, view)).toBe(0);
      const from = new Uint8Array(16);
      writeIpv6Address(from, 0, ip(src));
      return h.sized((out) => writeIcmpv6Error(out, 0, packet, view, type, code, 0, from, 0, 64));
    },
    inject: (port, packet) =>
      node
        .inject(port, packet, { peer: h.PEER_2 })
        .map((sent) => ({ port: sent.port, packet: sent.packet, bytes: bytesOf(sent) })),
  };
}

function one(left: readonly Left[]): Left {
  expect(left).toHaveLength(1);
  return left[0];
}

describe.each([
  ["IPv4", ipv4],
  ["IPv6", ipv6],
] as const)("%s", (name, make) => {
  const podA = name === "IPv4" ? "172.16.1.2" : "fd00:10:244:1::2";
  const podB = name === "IPv4" ? "172.16.1.3" : "fd00:10:244:1::3";
  const vip = name === "IPv4" ? "10.254.0.10" : "fd00:10:96::a";
  const outside = name === "IPv4" ? "203.0.113.5" : "2001:db8::1";
  const router = name === "IPv4" ? "198.51.100.7" : "2001:db8:ffff::1";
  const bridge = name === "IPv4" ? "172.16.1.1" : "fd00:10:244:1::1";

  /** A client outside that asks a node port; destination and source are both translated. */
  function asked(protocol: "tcp" | "udp") {
    const family = make();
    const { client, nodeIp, endpoint, overlayIp } = family;
    const there = { src: client, dst: nodeIp, sport: 5000, dport: 30_001 };
    const out = one(family.inject(h.Id.host, family.transport(protocol, there)));
    expect(out.packet).toMatchObject({ src: overlayIp, dst: endpoint, sport: 5000, dport: 8080 });
    const back = { src: endpoint, dst: overlayIp, sport: 8080, dport: 5000 };
    const reply = () =>
      one(family.inject(h.Id.overlay, family.transport(protocol, back, TcpFlag.syn | TcpFlag.ack)));
    return { family, there, back, out, reply };
  }

  describe.each(["tcp", "udp"] as const)("DNAT and SNAT of %s", (protocol) => {
    it.each(["endpoint", "far"] as const)("an error from the %s goes back to the client", (from) => {
      const { family, there, out } = asked(protocol);
      const error = family.errorAbout(out.bytes, family[from], family.timeExceeded);
      // As Linux, the sender is given out as the Service, whoever it was.
      expect(one(family.inject(h.Id.overlay, error))).toMatchObject({
        port: h.Id.host,
        packet: { src: family.nodeIp, dst: family.client, icmpType: family.timeExceeded[0], quoted: there },
      });
    });

    it.each(["client", "near"] as const)(
      "an error from the %s about a reply goes to the endpoint",
      (from) => {
        const { family, back, reply } = asked(protocol);
        const seen = reply();
        expect(seen.packet).toMatchObject({ src: family.nodeIp, dst: family.client, sport: 30_001 });
        const error = family.errorAbout(seen.bytes, family[from], family.unreachable);
        expect(one(family.inject(h.Id.host, error))).toMatchObject({
          port: h.Id.overlay,
          packet: {
            src: family.overlayIp,
            dst: family.endpoint,
            icmpType: family.unreachable[0],
            quoted: back,
          },
        });
      },
    );

    it("an error neither refreshes the connection nor counts as its packet (RFC 5508 REQ-6)", () => {
      const { family, out } = asked(protocol);
      family.node.nowMs += 10_000;
      const listed = () => {
        family.node.datapath.beginBatch(family.node.nowMs);
        return family.node.datapath.conntrackRecords();
      };
      const records = listed();
      one(family.inject(h.Id.overlay, family.errorAbout(out.bytes, family.far, family.unreachable)));
      expect(listed()).toEqual(records);
    });

    it("an error to anybody else than the connection's sender is refused", () => {
      const { family, out } = asked(protocol);
      const error = family.errorAbout(out.bytes, family.far, family.unreachable);
      const strange = family.errorAbout(
        family.transport(protocol, { src: podA, dst: family.endpoint, sport: 1, dport: 2 }),
        family.far,
        family.unreachable,
      );
      // The right packet quoted, in an envelope with another address.
      const header = name === "IPv4" ? 20 + 8 : 40 + 8;
      const wrong = strange.slice();
      wrong.set(error.slice(header), header);
      expect(family.inject(h.Id.overlay, fixChecksum(wrong, name))).toEqual([]);
      expect(family.node.count("drop:ct-invalid")).toBe(1);
      expect(family.node.datapath.conntrack.stats).toMatchObject({ error: 1 });
    });

    it("an error about an error is neither forwarded nor answered", () => {
      const { family, out } = asked(protocol);
      const error = family.errorAbout(out.bytes, family.far, family.unreachable);
      const told = one(family.inject(h.Id.overlay, error));
      for (const about of [told.bytes, error]) {
        const nested = family.errorAbout(about, family.client, family.timeExceeded);
        expect(family.inject(h.Id.host, nested)).toEqual([]);
      }
      expect(family.node.count("drop:ct-invalid")).toBe(2);
    });

    it("a hairpinned error finds its pod (RFC 5508 REQ-7)", () => {
      const family = make();
      const there = { src: podA, dst: vip, sport: 5000, dport: 80 };
      const out = one(family.inject(h.Id.podA, family.transport(protocol, there)));
      expect(out).toMatchObject({ port: h.Id.podA, packet: { src: bridge, dst: podA, dport: 8080 } });
      const error = family.errorAbout(out.bytes, podA, family.unreachable);
      expect(one(family.inject(h.Id.podA, error))).toMatchObject({
        port: h.Id.podA,
        packet: { src: vip, dst: podA, quoted: there },
      });
    });
  });

  it("an error about a masqueraded echo request, whose identifier was changed, finds its pod", () => {
    const family = make();
    one(family.inject(h.Id.podA, family.echo(podA, outside, 7)));
    const out = one(family.inject(h.Id.podB, family.echo(podB, outside, 7)));
    expect(out.packet.icmpId).not.toBe(7);
    const back = one(family.inject(h.Id.host, family.errorAbout(out.bytes, router, family.timeExceeded)));
    expect(back).toMatchObject({
      port: h.Id.podB,
      packet: { dst: podB, quoted: { src: podB, dst: outside } },
    });
    const quotedId = name === "IPv4" ? 20 + 8 + 20 + 4 : 40 + 8 + 40 + 4;
    expect([...back.bytes.slice(quotedId, quotedId + 2)]).toEqual([0, 7]);
  });

  it("an error that cannot be delivered is dropped without an answer", () => {
    const { family, out } = asked("udp");
    const error = family.errorAbout(out.bytes, family.far, family.unreachable);
    const dying = error.slice();
    dying[name === "IPv4" ? 8 : 7] = 1;
    const fixed = fixChecksum(dying, name);
    expect(family.inject(h.Id.overlay, fixed)).toEqual([]);
    expect(family.node.count("drop:ttl-exceeded")).toBe(1);
    // A datagram that dies in the same place is answered.
    const datagram = family.transport("udp", { src: podA, dst: outside, sport: 1, dport: 2 });
    datagram[name === "IPv4" ? 8 : 7] = 1;
    const answer = one(family.inject(h.Id.podA, fixChecksum(datagram, name)));
    expect(answer.packet).toMatchObject({ icmpType: family.timeExceeded[0], dst: podA });
  });
});

it("a redirect about a translated connection is dropped, for its way is none of the sender's", () => {
  const family = ipv4();
  const there = { src: "10.0.0.254", dst: "10.0.0.1", sport: 5000, dport: 30_001 };
  const out = one(family.inject(h.Id.host, family.transport("udp", there)));
  const redirect = family.errorAbout(out.bytes, "172.16.2.0", [IcmpType.redirect, 1]);
  expect(family.inject(h.Id.overlay, redirect)).toEqual([]);
  const unreachable = family.errorAbout(out.bytes, "172.16.2.0", family.unreachable);
  one(family.inject(h.Id.overlay, unreachable));
});

/** Computes the checksums of header (IPv4) and of ICMP or nothing else anew, word by word. */
function fixChecksum(packet: Uint8Array, name: string): Uint8Array {
  const bytes = packet.slice();
  const sum = (from: number, to: number, start = 0) => {
    let total = start;
    for (let at = from; at < to; at += 2) total += bytes[at] * 256 + (at + 1 < to ? bytes[at + 1] : 0);
    while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
    return ~total & 0xffff;
  };
  const put = (at: number, value: number) => bytes.set([value >>> 8, value & 255], at);
  if (name === "IPv4") {
    put(10, 0);
    put(10, sum(0, 20));
    if (bytes[9] !== IpProtocol.icmp) return bytes;
    put(22, 0);
    put(22, sum(20, bytes.length));
  } else if (bytes[6] === IpProtocol.icmpv6) {
    put(42, 0);
    const pseudo = bytes.length - 40 + IpProtocol.icmpv6;
    let addresses = pseudo;
    for (let at = 8; at < 40; at += 2) addresses += bytes[at] * 256 + bytes[at + 1];
    put(42, sum(40, bytes.length, addresses));
  }
  return bytes;
}
