/** Super-packets between ports of one machine, which nobody has to cut. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { expectedHash, ip, Lab, PACKAGE_ROOT, transfer, until } from "./lab.js";
import { tunnel } from "./tunnel.js";
import { packet, payload, superHeader } from "./twin.js";
import { collector, LOOPBACK, type Outgoing, sender, socket } from "./wire.js";

const lab = new Lab();
afterEach(() => lab.cleanUp());

const NO_HEADER = Buffer.alloc(10);
const GSO_TYPE = { tcp4: 1, tcp6: 4, udp4: 5, udp6: 5 } as const;
const MSS = 1400;

/** A super-packet with its header as a TAP hands it over: the checksum is partial. */
function superPacket(kind: keyof typeof GSO_TYPE, length: number) {
  const protocol = kind.startsWith("tcp") ? "tcp" : "udp";
  const bytes = packet({ protocol, v6: kind.endsWith("6"), payload: payload(length) });
  const header = superHeader(bytes, GSO_TYPE[kind], MSS);
  return { bytes, header };
}

/** A sender and a merging port that it sends to. */
function pair(takes: boolean) {
  const from = sender(lab);
  const to = collector(lab);
  to.io.addTap(lab.host("10.77.0.1/24", { vnetHdr: true }).tap);
  const udp = socket(lab, { gro: true, merge: true });
  const port = to.io.addUdp(udp);
  expect(from.io.sendWhole(LOOPBACK, takes)).toBe(takes);
  const own = () => to.frames.filter((frame) => frame.port === port);
  const through = async (frames: readonly Outgoing[], count = frames.length) => {
    const before = own().length;
    from.send(frames, udp.port);
    await until(() => own().length >= before + count, `${count} frames`);
    return own().slice(before);
  };
  return { from, through, stats: () => to.io.ioStats(port)! };
}

describe("to a peer that takes them", () => {
  it.each(Object.keys(GSO_TYPE) as (keyof typeof GSO_TYPE)[])(
    "%s: bytes and header arrive as sent",
    async (kind) => {
      const { from, through, stats } = pair(true);
      const sent = [MSS + 1, 63_900, 2 * MSS, 30_001].map((length) => superPacket(kind, length));
      const frames = await through(sent);
      frames.forEach(({ bytes, header, peerAddress, peerPort }, i) => {
        expect(bytes.equals(sent[i]!.bytes)).toBe(true);
        expect(header).toEqual(sent[i]!.header);
        expect([peerAddress, peerPort]).toEqual([LOOPBACK, from.localPort]);
      });
      expect(from.stats()).toMatchObject({ txFrames: 4, txSegments: 0, txErrors: 0 });
      expect(stats()).toMatchObject({ rxFrames: 4, rxMerged: 0, rxErrors: 0 });
    },
  );

  it("keeps the order among other packets, whatever comes after what", async () => {
    const { through } = pair(true);
    const large = superPacket("tcp4", 60_000);
    const small = { bytes: packet({ payload: payload(900, 3), sourcePort: 7 }) };
    const tiny = { bytes: Buffer.from([0x45]) };
    const sent = [large, small, large, large, tiny, tiny, small, large, small];
    for (let round = 0; round < 4; round++) {
      const frames = await through(sent);
      frames.forEach(({ bytes, header }, i) => {
        expect(bytes.equals(sent[i]!.bytes)).toBe(true);
        expect(header).toEqual(sent[i] === large ? large.header : NO_HEADER);
      });
    }
  });

  it("cuts one that does not fit into a datagram with its header", async () => {
    const { from, through } = pair(true);
    const fits = superPacket("tcp4", 65_507 - 10 - 40);
    const tooLarge = superPacket("tcp4", 65_507 - 10 - 40 + 1);
    const [frame] = await through([fits]);
    expect(frame!.bytes.equals(fits.bytes)).toBe(true);
    expect(from.stats().txSegments).toBe(0);
    await through([tooLarge], 1);
    expect(from.stats().txSegments).toBe(Math.ceil((65_507 - 10 - 40 + 1) / MSS));
  });

  it("carries TCP between namespaces byte for byte, both families, without cutting or merging", async () => {
    const [a, b] = tunnel(lab, { whole: true });
    ip("-n", a.ns, "addr", "add", "fd77::1/64", "dev", "eth0", "nodad");
    ip("-n", b.ns, "addr", "add", "fd77::2/64", "dev", "eth0", "nodad");
    for (const address of [b.address, "fd77::2"])
      expect(await transfer(a.ns, b.ns, address, 48)).toBe(expectedHash(48));
    expect(a.udpStats()).toMatchObject({ txSegments: 0, txErrors: 0 });
    expect(b.udpStats()).toMatchObject({ rxErrors: 0 });
  });
});

it("cuts for a peer that does not take them, and again once it takes them no more", async () => {
  const { from, through, stats } = pair(false);
  const whole = superPacket("tcp4", 10 * MSS);
  const [frame] = await through([whole], 1);
  expect(frame!.bytes.equals(whole.bytes)).toBe(true);
  expect(from.stats().txSegments).toBe(10);
  expect(stats().rxMerged).toBe(9);
  from.io.sendWhole(LOOPBACK, true);
  from.io.sendWhole(LOOPBACK, false);
  await through([whole], 1);
  expect(from.stats().txSegments).toBe(20);
});

describe("a datagram that only looks like one", () => {
  const { bytes, header } = superPacket("tcp4", 3 * MSS);
  const with_ = (at: number, value: number) =>
    Buffer.concat([bytes, Buffer.from(header).fill(value, at, at + 1)]);
  const udp = superPacket("udp4", 3 * MSS);
  it.each([
    ["no flag", with_(0, 0)],
    ["a verified checksum claimed", with_(0, 3)],
    ["no GSO type", with_(1, 0)],
    ["another protocol's GSO type", with_(1, 5)],
    ["another family's GSO type", with_(1, 4)],
    ["no segment size", with_(4, 0).fill(0, bytes.length + 4, bytes.length + 6)],
    ["the checksum elsewhere", with_(8, 6)],
    ["the transport header elsewhere", with_(6, 24)],
    ["a byte more", Buffer.concat([bytes, header, Buffer.alloc(1)])],
    ["a byte less", Buffer.concat([bytes, header.subarray(0, 9)])],
    ["a header that belongs to another packet", Buffer.concat([bytes, udp.header])],
    ["nothing but zeros", Buffer.alloc(3000)],
    ["an IP length beyond the datagram", Buffer.concat([Buffer.from(bytes).fill(0xff, 2, 4), header])],
  ])("is a packet like any other: %s", async (_, datagram) => {
    const { through, stats } = pair(true);
    const [frame] = await through([{ bytes: datagram }]);
    expect(frame!.bytes.equals(datagram)).toBe(true);
    expect(frame!.header).toEqual(NO_HEADER);
    expect(stats().rxErrors).toBe(0);
  });

  it("is one on a port that does not merge, too", async () => {
    const from = sender(lab);
    const to = collector(lab);
    const udp4 = socket(lab, { gro: true });
    to.io.addUdp(udp4);
    const datagram = Buffer.concat([bytes, header]);
    from.send([{ bytes: datagram }], udp4.port);
    await until(() => to.frames.length === 1, "the datagram");
    expect(to.frames[0]!.bytes.equals(datagram)).toBe(true);
  });
});

it("neither sends nor takes them where a network lies between", () => {
  const [near, far] = [lab.netns(), lab.netns()];
  ip("-n", near, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", far);
  for (const [ns, address] of [
    [near, "10.77.1.1/24"],
    [far, "10.77.1.2/24"],
  ] as const) {
    ip("-n", ns, "addr", "add", address, "dev", "eth0");
    ip("-n", ns, "link", "set", "eth0", "up");
  }
  const { bytes, header } = superPacket("tcp4", 3 * MSS);
  const datagram = Buffer.concat([bytes, header]).toString("base64");
  const child = join(PACKAGE_ROOT, "test/children/network-between.mjs");
  const printed = execFileSync("ip", ["netns", "exec", near, process.execPath, child, far, datagram], {
    encoding: "utf8",
  });
  expect(JSON.parse(printed)).toEqual({
    sends: { "10.77.1.2": false, "10.77.1.1": true, "127.0.0.1": true, "192.0.2.1": false },
    refused: { rxFrames: 0, rxErrors: 1 },
    taken: { rxFrames: 1, rxErrors: 1 },
  });
});
