/** Two namespaces joined by JavaScript that hands each frame to the other side. */
import { afterEach, describe, expect, it } from "vitest";
import { Field, FRAME_STRIDE, openUdp, PacketIo, type TapDevice } from "../src/index.js";
import { expectedHash, finish, ip, Lab, spawnIn, transfer } from "./lab.js";

const lab = new Lab();
afterEach(() => lab.cleanUp());

/** Joins two devices; returns how large the largest frame was. */
function bridge(a: TapDevice, b: TapDevice): { largest: number } {
  const seen = { largest: 0 };
  const io: PacketIo = new PacketIo({
    onBatch(count) {
      const { rx, tx } = io;
      for (let e = 0; e < count * FRAME_STRIDE; e += FRAME_STRIDE) {
        tx[e + Field.port] = 1 - rx[e + Field.port]!;
        tx[e + Field.offset] = rx[e + Field.offset]!;
        tx[e + Field.length] = rx[e + Field.length]!;
        seen.largest = Math.max(seen.largest, rx[e + Field.length]!);
      }
      return count;
    },
    onPortError: (_, error) => {
      throw error;
    },
  });
  lab.later(() => io.close());
  expect([io.addTap(a), io.addTap(b)]).toEqual([0, 1]);
  return seen;
}

describe.each([
  ["plain to plain", false, false, "tap"],
  ["vnetHdr to vnetHdr", true, true, "tap"],
  ["vnetHdr to plain: segmented in software", true, false, "tap"],
  ["plain to vnetHdr", false, true, "tap"],
  ["TUN, vnetHdr to plain", true, false, "tun"],
] as const)("%s", (_, aVnet, bVnet, mode) => {
  it("carries ping and TCP", async () => {
    const a = lab.host("10.77.0.1/24", { vnetHdr: aVnet, mode });
    const b = lab.host("10.77.0.2/24", { vnetHdr: bVnet, mode });
    const seen = bridge(a.tap, b.tap);
    const ping = await finish(spawnIn(a.ns, "ping", "-c", "3", "-i", "0.05", "-W", "5", "10.77.0.2"));
    expect(ping.out).toContain("3 received");
    expect(await transfer(a.ns, b.ns, "10.77.0.2", 24)).toBe(expectedHash(24));
    expect(seen.largest > 20_000).toBe(aVnet);
  });
});

it("segments IPv6 for a plain TAP", async () => {
  const a = lab.host("10.77.0.1/24", { vnetHdr: true });
  const b = lab.host("10.77.0.2/24");
  ip("-n", a.ns, "addr", "add", "fd77::1/64", "dev", "eth0", "nodad");
  ip("-n", b.ns, "addr", "add", "fd77::2/64", "dev", "eth0", "nodad");
  const seen = bridge(a.tap, b.tap);
  expect(await transfer(a.ns, b.ns, "fd77::2", 8)).toBe(expectedHash(8));
  expect(seen.largest).toBeGreaterThan(20_000);
});

it("cuts and joins TCP over a UDP tunnel between two PacketIo", async () => {
  const ends = [1, 2].map((n) => {
    const { tap, ns } = lab.host(`10.77.0.${n}/24`, { mode: "tun", vnetHdr: true });
    ip("-n", ns, "link", "set", "eth0", "mtu", "1472");
    const address = `127.0.77.${n}`;
    const udp = openUdp({
      address,
      port: 0,
      gro: true,
      merge: true,
      rcvbufBytes: 1 << 23,
      sndbufBytes: 1 << 22,
    });
    lab.later(() => udp.close());
    return { tap, ns, udp, address: 0x7f004d00 + n };
  });
  const stats = ends.map((end, index) => {
    const peer = ends[1 - index]!;
    const io: PacketIo = new PacketIo({
      onBatch(count) {
        const { rx, tx } = io;
        for (let e = 0; e < count * FRAME_STRIDE; e += FRAME_STRIDE) {
          tx[e + Field.port] = 1 - rx[e + Field.port]!;
          tx[e + Field.offset] = rx[e + Field.offset]!;
          tx[e + Field.length] = rx[e + Field.length]!;
          tx[e + Field.peerAddress] = peer.address;
          tx[e + Field.peerPort] = peer.udp.port;
        }
        return count;
      },
      onPortError: (_, error) => {
        throw error;
      },
    });
    lab.later(() => io.close());
    io.addTap(end.tap);
    io.addUdp(end.udp);
    return () => io.ioStats(1)!;
  });
  expect(await transfer(ends[0]!.ns, ends[1]!.ns, "10.77.0.2", 48)).toBe(expectedHash(48));
  expect(stats[0]!().txSegments).toBeGreaterThan(stats[0]!().txFrames);
  expect(stats[1]!().rxMerged).toBeGreaterThan(stats[1]!().rxFrames);
});
