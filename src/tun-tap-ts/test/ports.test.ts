import { execFileSync, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { afterEach, beforeAll, expect, it } from "vitest";
import { Field, FRAME_STRIDE, openTap, PacketIo, type TunTapError, VNET_HDR_BYTES } from "../src/index.js";
import { finish, ip, Lab, nsPath, PACKAGE_ROOT, spawnIn, turns, until } from "./lab.js";
import { payload } from "./twin.js";
import { collector, LOOPBACK, sender, socket } from "./wire.js";

const lab = new Lab();
afterEach(() => lab.cleanUp());

beforeAll(() => {
  const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  execFileSync(process.execPath, [tsc, "-b"], { cwd: PACKAGE_ROOT });
});

const child = (name: string): string => join(PACKAGE_ROOT, "test/children", name);
const fail = (_: number, error: TunTapError): void => {
  throw error;
};

it("removes a port inside a batch: silent at once, its id free a turn later", async () => {
  const from = sender(lab);
  const [kept, gone, third] = [socket(lab), socket(lab), socket(lab)];
  const target = collector(lab);
  const sink = socket(lab);
  target.io.addUdp(sink);
  const arrivals: number[] = [];
  let newcomer = -1;
  const io: PacketIo = new PacketIo({
    onBatch(count) {
      for (let i = 0; i < count; i++) {
        const e = i * FRAME_STRIDE;
        arrivals.push(io.rx[e]!);
        io.tx.set([gonePort, io.rx[e + Field.offset]!, io.rx[e + Field.length]!, LOOPBACK, sink.port], e);
      }
      if (newcomer < 0) {
        io.removePort(gonePort);
        newcomer = io.addUdp(third);
      }
      return count;
    },
    onPortError: fail,
  });
  lab.later(() => io.close());
  const keptPort = io.addUdp(kept);
  const gonePort = io.addUdp(gone);
  from.send([{ bytes: payload(50) }], kept.port);
  await until(() => arrivals.length === 1, "the first batch");
  expect(newcomer).not.toBe(gonePort);
  from.send([{ bytes: payload(50) }], gone.port);
  from.send([{ bytes: payload(50) }], kept.port);
  await until(() => arrivals.length === 2, "the second batch");
  await turns(5);
  expect(arrivals).toEqual([keptPort, keptPort]);
  expect(target.frames).toEqual([]);
  expect(io.ioStats(gonePort)).toBeUndefined();
  expect(io.addUdp(gone)).toBe(gonePort);
  await until(() => arrivals.includes(gonePort), "the datagram that waited in the socket");
  io.removePort(77);
});

it("made paused: sends, and leaves what comes in the queues until it is resumed", async () => {
  const from = sender(lab);
  const target = collector(lab);
  const sink = socket(lab);
  target.io.addUdp(sink);
  const waiting = socket(lab);
  const { io, frames } = collector(lab, { paused: true });
  const port = io.addUdp(waiting);
  from.send([{ bytes: payload(50) }, { bytes: payload(60) }], waiting.port);
  io.tx.set([port, io.scratchStart + VNET_HDR_BYTES, 40, LOOPBACK, sink.port]);
  io.flush(1);
  await until(() => target.frames.length === 1, "what it sends");
  await turns(5);
  expect(frames).toEqual([]);
  io.resume();
  await until(() => frames.length === 2, "what has waited");
  expect(frames.map(({ bytes }) => bytes.length)).toEqual([50, 60]);
});

it("leaves ports alone that are not there, and entries that point outside the arena", () => {
  const from = sender(lab);
  const { io, port } = from;
  io.tx.set([port, 5, 10, LOOPBACK, 9]);
  io.tx.set([port, io.arena.length - 4, 10, LOOPBACK, 9], 5);
  io.tx.set([port, 200, 0, LOOPBACK, 9], 10);
  io.tx.set([port, 200, -1, LOOPBACK, 9], 15);
  io.tx.set([port, -1, 10, LOOPBACK, 9], 20);
  io.tx.set([port, 200, 65508, LOOPBACK, 9], 25);
  io.tx.set([port, 200, 10, 0, 9], 30);
  io.tx.set([port, 200, 10, LOOPBACK, 0], 35);
  io.tx.set([port + 1, 200, 10, LOOPBACK, 9], 40);
  io.tx.set([-1, 200, 10, LOOPBACK, 9], 45);
  io.tx.set([4096, 200, 10, LOOPBACK, 9], 50);
  io.flush(11);
  expect(from.stats()).toMatchObject({ txFrames: 0, txErrors: 8 });
  io.flush(-1);
  expect(io.ioStats(5000)).toBeUndefined();
});

it("closing a device takes it out of its PacketIo; close is final", async () => {
  const ns = lab.netns();
  const tap = openTap({ name: "eth0", netns: nsPath(ns) });
  const { io } = collector(lab);
  const port = io.addTap(tap);
  expect(port).toBe(0);
  tap.close();
  await turns(2);
  expect(io.ioStats(port)).toBeUndefined();
  io.close();
  io.close();
  io.flush(1);
  io.ref();
  expect(io.ioStats(0)).toBeUndefined();
});

it("reports a device that was deleted, once, after its last frames, and serves the others", async () => {
  const events: string[] = [];
  const { tap, ns } = lab.host("10.77.0.1/24");
  const from = sender(lab);
  const udp = socket(lab);
  const io: PacketIo = new PacketIo({
    onBatch(count) {
      for (let i = 0; i < count; i++) events.push(`frame ${io.rx[i * FRAME_STRIDE]}`);
      return 0;
    },
    onPortError: (port, error) => events.push(`error ${port} ${error.code}`),
  });
  lab.later(() => io.close());
  const tapPort = io.addTap(tap);
  const udpPort = io.addUdp(udp);
  ip("-n", ns, "link", "del", "eth0");
  await until(() => events.some((e) => e.startsWith("error")), "the error");
  expect(events.at(-1)).toMatch(new RegExp(`^error ${tapPort} (EBADFD|EFAULT)$`));
  from.send([{ bytes: payload(60) }], udp.port);
  await until(() => events.includes(`frame ${udpPort}`), "the other port");
  await turns(5);
  expect(events.filter((e) => e.startsWith("error"))).toHaveLength(1);
  expect(io.ioStats(tapPort)).toBeUndefined();
  tap.close();
});

it("counts frames to a device that is down, and goes on", () => {
  const ns = lab.netns();
  const tap = openTap({ name: "eth0", netns: nsPath(ns) });
  lab.later(() => tap.close());
  const { io } = collector(lab);
  const port = io.addTap(tap);
  io.tx.set([port, io.scratchStart + 20, 60, 0, 0]);
  io.flush(1);
  expect(io.ioStats(port)).toMatchObject({ txFrames: 0, txErrors: 1 });
  ip("-n", ns, "link", "set", "eth0", "up");
  io.flush(1);
  expect(io.ioStats(port)).toMatchObject({ txFrames: 1, txBytes: 60, txErrors: 1 });
});

it("writes many frames at once, each port's in their order, and counts those that are refused", async () => {
  const frames = 300;
  const ns = lab.netns();
  ip("-n", ns, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0");
  ip("-n", ns, "link", "set", "br0", "up");
  const [first, second, down, far] = ["first", "second", "down", "far"].map((name) => {
    const tap = openTap({ name, netns: nsPath(ns) });
    lab.later(() => tap.close());
    if (name !== "down") ip("-n", ns, "link", "set", name, "master", "br0", "up");
    return tap;
  });
  const { io, frames: seen } = collector(lab, { scratchBytes: frames * 2048 });
  const farPort = io.addTap(far!);
  const ports = [io.addTap(first!), io.addTap(down!), io.addTap(second!)];
  const sent: Buffer[][] = ports.map(() => []);
  for (let i = 0; i < frames; i++) {
    const which = i % ports.length;
    // Broadcast, from an address for each port, of a type that no stack answers, numbered.
    const bytes = Buffer.concat([
      Buffer.from(`ffffffffffff02000000000${which}88b5`, "hex"),
      payload(50 + (i % 900)),
    ]);
    bytes.writeUInt32BE(i, 14);
    const at = io.scratchStart + i * 2048 + 128;
    io.arena.set(bytes, at);
    io.tx.set([ports[which]!, at, bytes.length, 0, 0], i * FRAME_STRIDE);
    sent[which]!.push(bytes);
  }
  io.flush(frames);
  const each = frames / ports.length;
  expect(ports.map((port) => io.ioStats(port)!)).toMatchObject([
    { txFrames: each, txErrors: 0, txDropped: 0 },
    { txFrames: 0, txBytes: 0, txErrors: each },
    { txFrames: each, txErrors: 0, txDropped: 0 },
  ]);
  const from = (which: number) =>
    seen.filter((f) => f.port === farPort && f.bytes[11] === which && f.bytes.readUInt16BE(12) === 0x88b5);
  await until(() => from(0).length + from(2).length === 2 * each, "the frames");
  for (const which of [0, 2])
    expect(Buffer.concat(from(which).map((f) => f.bytes)).equals(Buffer.concat(sent[which]!))).toBe(true);
});

it.each([
  // NEEDS_CSUM; the UDP header after 14 bytes of Ethernet and 20 of IPv4.
  [true, [1, 0, 34, 6]],
  [false, [0, 0, 0, 0]],
])("puts the kernel's header, or zeros, and room before a frame: vnetHdr %s", async (vnetHdr, expected) => {
  const { tap, ns } = lab.host("10.77.0.1/24", { vnetHdr });
  ip("-n", ns, "neigh", "add", "10.77.0.2", "lladdr", "02:00:00:00:00:02", "dev", "eth0");
  const { io, frames } = collector(lab);
  io.arena.fill(0xff);
  io.addTap(tap);
  const code = 'require("dgram").createSocket("udp4").send("hello", 7, "10.77.0.2", () => process.exit())';
  await finish(spawnIn(ns, process.execPath, "-e", code));
  const hello = () => frames.find((f) => f.bytes.includes("hello"));
  await until(() => hello() !== undefined, "the datagram");
  const { header, gap } = hello()!;
  expect([header[0], header[1], header.readUInt16LE(6), header.readUInt16LE(8)]).toEqual(expected);
  expect(gap).toBeGreaterThanOrEqual(128);
});

it("survives exceptions in onBatch and lets the process end after close", async () => {
  const run = await finish(
    spawn(process.execPath, [child("lifecycle.mjs")], { stdio: ["ignore", "pipe", "inherit"] }),
  );
  expect(run.code).toBe(0);
  expect(JSON.parse(run.out)).toEqual({ seen: [1, 1, 1], errors: ["thrown 1", "thrown 2"] });
});

it("lets the process and a worker end although it is open", async () => {
  const run = await finish(
    spawn(process.execPath, [child("unref.mjs")], { stdio: ["ignore", "pipe", "inherit"] }),
  );
  expect(run).toEqual({ code: 0, out: "worker 1\n" });
});

it("drops and counts when the socket is full, and does without UDP_SEGMENT where it is refused", async () => {
  const { tap, ns } = lab.host("10.77.0.1/24");
  ip("-n", ns, "neigh", "add", "10.77.0.2", "lladdr", "02:00:00:00:00:02", "dev", "eth0");
  const { io, frames } = collector(lab);
  io.addTap(tap);
  const run = await finish(spawnIn(ns, process.execPath, child("congested.mjs")));
  const { silent, known } = JSON.parse(run.out) as { silent: number[]; known: Record<string, number> };
  expect(silent[0]).toBeGreaterThan(0);
  expect(silent[1]).toBeGreaterThan(0);
  expect(silent[0]! + silent[1]!).toBe(200);
  expect(silent[2]).toBe(0);
  expect(known).toMatchObject({ txFrames: 6, txBytes: 9000, txDropped: 0, txErrors: 0 });
  // IPv4, UDP, to .2; 2,000 bytes come as two fragments.
  const udpFrames = () =>
    frames.filter((f) => f.bytes.readUInt16BE(12) === 0x0800 && f.bytes[23] === 17 && f.bytes[33] === 2);
  await until(() => udpFrames().length === 9, "the frames");
});
