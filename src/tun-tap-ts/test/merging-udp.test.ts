/** UDP datagrams that come over a socket and become super-packets, where the kernel's TAPs take such. */
import { afterEach, describe, expect, it } from "vitest";
import { Lab, until } from "./lab.js";
import { finishChecksums, packet, payload, segments, superHeader } from "./twin.js";
import { collector, sender, socket } from "./wire.js";

const lab = new Lab();
afterEach(() => lab.cleanUp());

const UDP_L4 = 5;
const NO_HEADER = Buffer.alloc(10);

/** Sends the packets to a merging port, beside a TAP or not; returns what it delivers. */
async function through(packets: Buffer[], frames: number, vnetHdr = true) {
  const from = sender(lab);
  const to = collector(lab);
  to.io.addTap(lab.host("10.77.0.1/24", { vnetHdr }).tap);
  const udp = socket(lab, { gro: true, merge: true });
  const port = to.io.addUdp(udp);
  from.send(
    packets.map((bytes) => ({ bytes })),
    udp.port,
  );
  const own = () => to.frames.filter((frame) => frame.port === port);
  await until(() => own().length + to.io.ioStats(port)!.rxMerged >= packets.length, "the packets");
  expect(own()).toHaveLength(frames);
  return own();
}

describe.each([false, true])("IPv6 %s", (v6) => {
  it("restores the super-packet, with a shorter datagram at its end", async () => {
    for (const [length, size] of [
      [64 * 30 + 1, 64],
      [64 * 64, 64],
      [1400 * 20, 1400],
      [5, 1],
    ] as const) {
      const whole = packet({ protocol: "udp", payload: payload(length), id: 65533, v6 });
      const [frame] = await through(segments(whole, size), 1);
      const header = superHeader(whole, UDP_L4, size);
      expect(frame!.bytes.equals(whole)).toBe(true);
      expect(frame!.header.equals(header)).toBe(true);
      lab.cleanUp();
    }
  });

  it("joins 64 at most", async () => {
    const frames = await through(segments(packet({ protocol: "udp", payload: payload(65 * 10), v6 }), 10), 2);
    expect(frames[0]!.bytes).toHaveLength((v6 ? 48 : 28) + 640);
    expect(frames[1]!.header).toEqual(NO_HEADER);
  });

  it("leaves them alone without a TAP that takes them", async () => {
    const packets = segments(packet({ protocol: "udp", payload: payload(300), v6 }), 100);
    const frames = await through(packets, 3, false);
    expect(frames.map(({ bytes }) => bytes)).toEqual(packets);
  });
});

const first = { protocol: "udp", payload: payload(100, 1), id: 10 } as const;
const next = { protocol: "udp", payload: payload(100, 2), id: 11 } as const;
const changed = (at: number, change: (byte: number) => number, finish = false): Buffer => {
  const p = packet(next);
  p[at] = change(p[at]!);
  return finish ? finishChecksums(p) : p;
};
const withoutChecksum = packet(next);
withoutChecksum.writeUInt16BE(0, 26);

it.each([
  ["a larger datagram", packet(first), packet({ ...next, payload: payload(101) })],
  ["another TTL", packet(first), packet({ ...next, ttl: 63 })],
  ["another TOS", packet(first), packet({ ...next, tos: 2 })],
  ["another source", packet(first), packet({ ...next, source: 0x0a000009 })],
  ["another port", packet(first), packet({ ...next, sourcePort: 9 })],
  ["an id that jumps", packet(first), packet({ ...next, id: 12 })],
  ["a damaged datagram", packet(first), changed(60, (byte) => byte ^ 1)],
  ["a damaged first", changed(60, (byte) => byte ^ 1), packet({ ...next, id: 12 })],
  ["a damaged IP header", packet(first), changed(10, (byte) => byte ^ 1)],
  ["a fragment", packet(first), changed(6, () => 0x20, true)],
  ["no checksum", packet(first), withoutChecksum],
  ["a UDP length that lies", packet(first), changed(25, (byte) => byte - 4)],
  ["TCP", packet(first), packet({ payload: payload(88), id: 11 })],
  [
    "an empty datagram",
    packet({ ...first, payload: new Uint8Array(0) }),
    packet({ ...next, payload: new Uint8Array(0) }),
  ],
])("leaves alone: %s", async (_, a, b) => {
  const frames = await through([a, b], 2);
  expect(frames.map((frame) => frame.bytes)).toEqual([a, b]);
  expect(frames.map((frame) => frame.header)).toEqual([NO_HEADER, NO_HEADER]);
});
