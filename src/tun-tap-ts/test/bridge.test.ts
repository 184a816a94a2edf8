/** Two namespaces joined by JavaScript that hands each frame to the other side. */
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { Field, FRAME_STRIDE, PacketIo, type TapDevice } from "../src/index.js";
import { expectedHash, finish, ip, Lab, spawnIn, transfer } from "./lab.js";
import { tunnel } from "./tunnel.js";

const lab = new Lab();
afterEach(() => lab.cleanUp());

/** Datagrams of the sizes in its third argument, filled with a byte of their own each, in bursts that a socket's buffer holds. */
const DATAGRAM_SENDER = `
const [address, port, sizes] = process.argv.slice(1);
const socket = require("node:dgram").createSocket("udp4");
const all = sizes.split(",").map((size, i) => Buffer.alloc(Number(size), (i * 7) & 0xff));
(function burst() {
  const some = all.splice(0, 50);
  if (some.length === 0) return socket.send("", Number(port), address, () => socket.close());
  for (const bytes of some) socket.send(bytes, Number(port), address);
  setTimeout(burst, 10);
})();`;
/** Prints length and filling of each datagram until an empty one comes. */
const DATAGRAM_RECEIVER = `
const [address, port] = process.argv.slice(1);
const socket = require("node:dgram").createSocket("udp4");
socket.on("message", (bytes) => {
  if (bytes.length === 0) return socket.close();
  console.log(bytes.length, bytes.every((byte) => byte === bytes[0]) ? bytes[0] : "mixed");
});
socket.bind(Number(port), address, () => console.log("ready"));`;

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
  const [a, b] = tunnel(lab);
  expect(await transfer(a.ns, b.ns, b.address, 48)).toBe(expectedHash(48));
  expect(a.udpStats().txSegments).toBeGreaterThan(a.udpStats().txFrames);
  expect(b.udpStats().rxMerged).toBeGreaterThan(b.udpStats().rxFrames);
});

it("joins UDP on the way to a TAP, and its receiver gets each datagram for itself", async () => {
  const [a, b] = tunnel(lab);
  const to = spawnIn(b.ns, process.execPath, "-e", DATAGRAM_RECEIVER, b.address, "9000");
  await once(to.stdout!, "data");
  const received = finish(to);
  const sizes = [...Array(400).fill(64), ...Array(200).fill(1444), 10, 20, 20, ...Array(130).fill(1)];
  const from = spawnIn(a.ns, process.execPath, "-e", DATAGRAM_SENDER, b.address, "9000", sizes.join(","));
  expect((await finish(from)).code).toBe(0);
  const lines = (await received).out.trim().split("\n");
  expect(lines).toEqual(sizes.map((size, i) => `${size} ${(i * 7) & 0xff}`));
  expect(b.udpStats().rxMerged).toBeGreaterThan(sizes.length / 2);
});
