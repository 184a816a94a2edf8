import { describe, expect, it } from "vitest";
import { PacketView, parseIpv4Packet, TcpFlag, writeIcmpError } from "../../src/wire/index.js";
import * as h from "./harness.js";
import type { SlowPacket } from "./slow-packet.js";

const TCP = 6;
const UDP = 17;
const PORT_UNREACHABLE = [3, 3] as const;

/** The ICMP error that `src` sends about `packet`. */
function errorAbout(
  packet: Uint8Array,
  src: number,
  [type, code]: readonly [number, number],
  mtu = 0,
): Uint8Array {
  const view = new PacketView();
  expect(parseIpv4Packet(packet, 0, packet.length, view)).toBe(0);
  return h.sized((out) => writeIcmpError(out, 0, packet, view, type, code, mtu, src, 64, 1));
}

function ipOf(sent: h.Sent): Uint8Array {
  return sent.port === h.Id.overlay || sent.port === h.Id.nodenet ? sent.frame : sent.frame.slice(h.ETHERNET);
}

const viaService = () => {
  const to = { ip: h.REMOTE_POD, port: 8080 };
  return new h.TableServices().put(TCP, h.VIP, 80, to).put(UDP, h.VIP, 80, to);
};

function quotedOf(sent: { packet: SlowPacket }): SlowPacket {
  expect(sent.packet.quoted).toBeDefined();
  return sent.packet.quoted as SlowPacket;
}

describe.each(["tcp", "udp"] as const)("ICMP errors about %s", (protocol) => {
  const make = (
    ends: { src: number; dst: number; sport: number; dport: number },
    size: number,
    flags: number = TcpFlag.syn,
  ) => {
    const payload = new Uint8Array(size).fill(3);
    return protocol === "tcp" ? h.tcp({ ...ends, flags, payload }) : h.udp({ ...ends, payload });
  };

  it.each([10, 900])(
    "come back through DNAT as if the Service had sent them (%i bytes of payload)",
    (size) => {
      const node = new h.Harness({}, viaService());
      const out = h.only(
        node.inject(h.Id.podA, make({ src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80 }, size)),
      );
      const error = errorAbout(ipOf(out), h.REMOTE_POD, PORT_UNREACHABLE);
      const back = h.only(node.inject(h.Id.overlay, error, { peer: h.PEER_2 }));
      expect(back).toMatchObject({
        port: h.Id.podA,
        packet: { src: "10.254.0.10", dst: "172.16.1.2", icmpType: 3, icmpCode: 3 },
      });
      expect(quotedOf(back)).toMatchObject({ src: "172.16.1.2", dst: "10.254.0.10", sport: 4000, dport: 80 });
    },
  );

  it("come back through masquerading and DNAT to the outside client", () => {
    const node = new h.Harness();
    node.learnHost();
    node.services.put(protocol === "tcp" ? TCP : UDP, h.NODE, 30_001, {
      ip: h.REMOTE_POD,
      port: 8080,
      masquerade: true,
    });
    const out = h.only(
      node.inject(h.Id.host, make({ src: h.HOST, dst: h.NODE, sport: 5000, dport: 30_001 }, 40)),
    );
    expect(out.packet.src).toBe("172.16.1.0");
    // From a router on the way, not from the endpoint.
    const error = errorAbout(ipOf(out), h.ip("172.16.2.0"), [11, 0]);
    const back = h.only(node.inject(h.Id.overlay, error, { peer: h.PEER_2 }));
    expect(back).toMatchObject({ port: h.Id.host, packet: { dst: "10.0.0.254", icmpType: 11 } });
    expect(quotedOf(back)).toMatchObject({ src: "10.0.0.254", dst: "10.0.0.1", sport: 5000, dport: 30_001 });
  });

  it("of the client about a reply reach the endpoint", () => {
    const node = new h.Harness({}, viaService());
    node.inject(h.Id.podA, make({ src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80 }, 10));
    const ends = { src: h.REMOTE_POD, dst: h.POD_A, sport: 8080, dport: 4000 };
    const reply = h.only(
      node.inject(h.Id.overlay, make(ends, 700, TcpFlag.syn | TcpFlag.ack), { peer: h.PEER_2 }),
    );
    const error = errorAbout(ipOf(reply), h.POD_A, PORT_UNREACHABLE);
    const out = h.only(node.inject(h.Id.podA, error));
    expect(out).toMatchObject({
      port: h.Id.overlay,
      packet: { src: "172.16.1.2", dst: "172.16.2.9", icmpType: 3 },
    });
    expect(quotedOf(out)).toMatchObject({ src: "172.16.2.9", dst: "172.16.1.2", sport: 8080, dport: 4000 });
  });

  it("carry a path MTU through NAT", () => {
    const node = new h.Harness();
    node.learnHost();
    const dst = h.ip("203.0.113.5");
    const out = h.only(node.inject(h.Id.podA, make({ src: h.POD_A, dst, sport: 4000, dport: 80 }, 1200)));
    const error = errorAbout(ipOf(out), h.ip("198.51.100.7"), [3, 4], 1100);
    const back = h.only(node.inject(h.Id.host, error));
    expect(back.packet).toMatchObject({
      src: "198.51.100.7",
      dst: "172.16.1.2",
      icmpCode: 4,
      nextHopMtu: 1100,
    });
    expect(quotedOf(back)).toMatchObject({ src: "172.16.1.2", sport: 4000 });
  });

  it("that were damaged, or belong to no connection, are dropped", () => {
    const node = new h.Harness({}, viaService());
    const out = h.only(
      node.inject(h.Id.podA, make({ src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80 }, 10)),
    );
    const error = errorAbout(ipOf(out), h.REMOTE_POD, PORT_UNREACHABLE);
    const damaged = error.slice();
    damaged[40] ^= 1;
    expect(node.inject(h.Id.overlay, damaged, { peer: h.PEER_2 })).toEqual([]);
    node.datapath.deleteConntrack({});
    expect(node.inject(h.Id.overlay, error, { peer: h.PEER_2 })).toEqual([]);
    expect(node.datapath.counters.export()).toMatchObject({
      "drop:invalid-checksum": 1,
      "drop:ct-invalid": 1,
    });
  });
});

it("ICMP errors about a masqueraded echo request find their pod", () => {
  const node = new h.Harness();
  node.learnHost();
  const dst = h.ip("203.0.113.5");
  const send = (port: number, src: number) =>
    h.only(node.inject(port, h.echo({ src, dst, icmpId: 7, icmpSeq: 1, payload: Uint8Array.of(1, 2, 3) })));
  send(h.Id.podA, h.POD_A);
  const out = send(h.Id.podB, h.POD_B);
  expect(out.packet.icmpId).not.toBe(7);
  const back = h.only(node.inject(h.Id.host, errorAbout(ipOf(out), h.ip("198.51.100.7"), [11, 0])));
  expect(back).toMatchObject({ port: h.Id.podB, packet: { dst: "172.16.1.3", icmpType: 11 } });
  expect(quotedOf(back)).toMatchObject({ src: "172.16.1.3", icmpId: 7, icmpSeq: 1 });
});

it("an error of the node's own quotes what the sender sent, not what DNAT made of it", () => {
  const services = new h.TableServices().put(UDP, h.VIP, 80, { ip: h.ip("172.16.1.77"), port: 8080 });
  const node = new h.Harness({}, services);
  const sent = h.only(node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.VIP, sport: 1, dport: 80 })));
  expect(sent.packet).toMatchObject({ icmpType: 3, icmpCode: 1, src: "172.16.1.1" });
  expect(quotedOf(sent)).toMatchObject({ dst: "10.254.0.10", dport: 80 });
});
