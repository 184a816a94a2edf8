import { describe, expect, it } from "vitest";
import { buildFragment, IpProtocol, TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";
import { offload } from "./offload.js";
import { readPacket, type SlowPacket } from "./slow-packet.js";

const UDP = IpProtocol.udp;

/** Cuts a packet without options into fragments of `size` bytes of payload. */
function cut(packet: Uint8Array, size: number, id = 99): Uint8Array[] {
  const body = packet.slice(20);
  const address = (at: number) => packet.slice(at, at + 4).reduce((sum, byte) => sum * 256 + byte, 0);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < body.length; at += size) {
    const payload = body.slice(at, at + size);
    const fields = { src: address(12), dst: address(16), id, payload };
    pieces.push(h.sized((out) => buildFragment(out, 0, packet[9], at, at + size < body.length, fields)));
  }
  return pieces;
}

/** Puts the fragments of one datagram together again, and checks it as one packet. */
function reassemble(sent: readonly h.Sent[]): SlowPacket {
  const parts = sent.map(({ packet, frame }) => {
    if (packet === undefined) throw new Error("not IP");
    return { packet, body: frame.slice(frame.length - packet.length + 20) };
  });
  parts.sort((a, b) => a.packet.fragmentOffset - b.packet.fragmentOffset);
  const [{ packet: first }] = parts;
  let end = 0;
  for (const { packet, body } of parts) {
    expect(packet.fragmentOffset).toBe(end);
    expect(packet.id).toBe(first.id);
    end += body.length;
    expect(packet.moreFragments).toBe(packet !== parts[parts.length - 1].packet);
  }
  const body = Uint8Array.from(parts.flatMap((part) => [...part.body]));
  const address = (text: string) => h.ip(text);
  const fields = { src: address(first.src), dst: address(first.dst), payload: body };
  return readPacket(h.sized((out) => buildFragment(out, 0, first.protocol, 0, false, fields)));
}

const payload = Uint8Array.from({ length: 2500 }, (_, i) => i % 251);

describe("fragments on the way", () => {
  it("follow their first fragment through DNAT and masquerading, both ways", () => {
    const node = new h.Harness();
    node.learnHost();
    node.services.put(UDP, h.NODE, 30_053, { ip: h.REMOTE_POD, port: 53, masquerade: true });
    const ask = h.udp({ src: h.HOST, dst: h.NODE, sport: 5000, dport: 30_053, payload });
    const out = cut(ask, 800).map((piece) => h.only(node.inject(h.Id.host, piece)));
    expect(new Set(out.map(({ port }) => port))).toEqual(new Set([h.Id.overlay]));
    const whole = reassemble(out);
    expect(whole).toMatchObject({ src: "172.16.1.0", dst: "172.16.2.9", sport: 5000, dport: 53 });
    expect([...whole.payload]).toEqual([...payload]);
    const answer = h.udp({ src: h.REMOTE_POD, dst: h.ADDRESSES.overlayIp, sport: 53, dport: 5000, payload });
    const back = cut(answer, 1400).map((piece) =>
      h.only(node.inject(h.Id.overlay, piece, { peer: h.PEER_2 })),
    );
    expect(reassemble(back)).toMatchObject({
      src: "10.0.0.1",
      dst: "10.0.0.254",
      sport: 30_053,
      dport: 5000,
    });
    expect(node.datapath.conntrackRecords()).toHaveLength(1);
  });

  it("are dropped when the first was not seen, was dropped, or is long past", () => {
    const node = new h.Harness();
    const [first, second] = cut(
      h.udp({ src: h.POD_A, dst: h.REMOTE_POD, sport: 1, dport: 2, payload }),
      1400,
    );
    expect(node.inject(h.Id.podA, second)).toEqual([]);
    expect(node.inject(h.Id.podA, first)).toHaveLength(1);
    expect(node.inject(h.Id.podA, second)).toHaveLength(1);
    node.nowMs += 30_000;
    expect(node.inject(h.Id.podA, second)).toEqual([]);
    expect(node.count("drop:fragment-without-first")).toBe(2);
    const lost = cut(h.udp({ src: h.POD_A, dst: h.ip("172.16.1.77"), sport: 1, dport: 2, payload }), 1400);
    expect(node.inject(h.Id.podA, lost[0])).toHaveLength(1);
    expect(node.inject(h.Id.podA, lost[1])).toEqual([]);
  });

  it("of a ping are tracked; to the node itself they are refused", () => {
    const node = new h.Harness();
    const ping = (dst: number) => cut(h.echo({ src: h.POD_A, dst, icmpId: 5, icmpSeq: 1, payload }), 1400);
    const out = ping(h.REMOTE_POD).map((piece) => h.only(node.inject(h.Id.podA, piece)));
    expect(reassemble(out)).toMatchObject({ icmpType: 8, icmpId: 5 });
    for (const piece of ping(h.ADDRESSES.bridgeIp)) expect(node.inject(h.Id.podA, piece)).toEqual([]);
    expect(node.count("drop:fragment-for-node")).toBe(1);
  });
});

describe("the next link's MTU", () => {
  const large = (dontFragment: boolean, options = {}) =>
    h.udp({
      src: h.HOST,
      dst: h.POD_A,
      sport: 1,
      dport: 2,
      dontFragment,
      payload: new Uint8Array(1460).fill(7),
      ...options,
    });

  it("is told to a sender that forbids fragmenting", () => {
    const node = new h.Harness();
    node.learnHost();
    const sent = h.only(node.inject(h.Id.host, large(true)));
    expect(sent.packet).toMatchObject({
      icmpType: 3,
      icmpCode: 4,
      nextHopMtu: 1472,
      src: "10.0.0.1",
      length: 576,
    });
    expect(node.count("drop:fragmentation-needed")).toBe(1);
    expect(node.datapath.conntrack.count).toBe(0);
  });

  it("cuts packets that may be cut, and fragments again", () => {
    const node = new h.Harness();
    const sent = node.inject(h.Id.host, large(false));
    expect(sent.map(({ packet }) => packet?.length)).toEqual([1468, 40]);
    expect(sent.every(({ port, packet }) => port === h.Id.podA && packet?.ttl === 63)).toBe(true);
    expect(reassemble(sent)).toMatchObject({ src: "10.0.0.254", sport: 1, dport: 2 });
    const pieces = cut(h.udp({ src: h.HOST, dst: h.POD_A, sport: 1, dport: 2, payload }), 1480);
    expect(reassemble(pieces.flatMap((piece) => node.inject(h.Id.host, piece))).length).toBe(2528);
  });

  it("cuts after translation, and completes a partial checksum first", () => {
    const node = new h.Harness();
    node.services.put(UDP, h.NODE, 30_053, { ip: h.REMOTE_POD, port: 53, masquerade: true });
    const whole = h.udp({
      src: h.HOST,
      dst: h.NODE,
      sport: 1,
      dport: 30_053,
      payload: new Uint8Array(1460).fill(9),
    });
    const { packet, vnet } = offload(whole, { link: h.ETHERNET });
    const sent = node.inject(h.Id.host, packet, { vnet });
    expect(sent).toHaveLength(2);
    for (const piece of sent) expect([...piece.vnet]).toEqual(Array(10).fill(0));
    expect(reassemble(sent)).toMatchObject({ src: "172.16.1.0", dst: "172.16.2.9", sport: 1, dport: 53 });
  });

  it("keeps options as RFC 791 wants: some in every fragment, some only in the first", () => {
    const node = new h.Harness();
    const plain = large(false);
    // Record route (7, not copied) in 3 bytes, then stream id (0x88, copied) in 4, then an end.
    const options = [7, 3, 4, 0x88, 4, 0, 1, 0];
    const packet = Uint8Array.from([...plain.slice(0, 20), ...options, ...plain.slice(20)]);
    packet[0] = 0x47;
    packet[2] = packet.length >> 8;
    packet[3] = packet.length & 255;
    packet.set([0, 0], 10);
    let sum = 0;
    for (let i = 0; i < 28; i += 2) sum += packet[i] * 256 + packet[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    packet.set([(sum ^ 0xffff) >> 8, (sum ^ 0xffff) & 255], 10);
    const sent = node.inject(h.Id.host, packet);
    expect(sent.length).toBe(2);
    const optionsOf = ({ frame }: h.Sent) => [...frame.slice(34, 42)];
    expect(optionsOf(sent[0])).toEqual(options);
    expect(optionsOf(sent[1])).toEqual([1, 1, 1, 0x88, 4, 0, 1, 0]);
  });

  it("drops on the bridge without a word", () => {
    const node = new h.Harness();
    const packet = h.udp({ src: h.POD_A, dst: h.POD_B, sport: 1, dport: 2, payload: new Uint8Array(1460) });
    expect(node.inject(h.Id.podA, packet, { to: h.MAC_B })).toEqual([]);
    expect(node.count("drop:mtu-exceeded")).toBe(1);
  });

  it("counts what scratch space cannot hold", () => {
    const node = new h.Harness({ scratchStart: 0, scratchEnd: 0 });
    expect(node.inject(h.Id.host, large(false))).toHaveLength(1);
    expect(
      node.inject(h.Id.podA, h.tcp({ src: h.POD_A, dst: h.NODE, sport: 1, dport: 2, flags: TcpFlag.syn })),
    ).toEqual([]);
    expect(node.count("drop:no-scratch-space")).toBe(2);
  });
});
