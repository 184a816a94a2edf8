/** What the engine does to its process and says about its sockets; bad arguments. */
import { execFileSync } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import { getPriority } from "node:os";
import { afterEach, describe, expect, it } from "vitest";
import { PacketIo } from "../src/index.js";
import { native } from "../src/native.js";
import { Lab, until } from "./lab.js";
import { payload } from "./twin.js";
import { collector, sender, socket } from "./wire.js";

const lab = new Lab();
afterEach(() => lab.cleanUp());

const NICENESS = -7;
/** What a child of this thread begins with. */
const niceOfChild = (): number => Number(execFileSync("nice", { encoding: "utf8" }));

describe("niceness", () => {
  it("is as asked while there is little to do, gives way to bulk, and returns", async () => {
    const before = getPriority();
    const from = sender(lab);
    const seen: number[] = [];
    const udp = socket(lab);
    const io: PacketIo = new PacketIo({
      niceness: NICENESS,
      onBatch: () => {
        seen.push(getPriority());
        return 0;
      },
      onPortError: (_, error) => {
        throw error;
      },
    });
    lab.later(() => io.close());
    io.addUdp(udp);
    expect(getPriority()).toBe(NICENESS);
    from.send([{ bytes: payload(100) }], udp.port);
    await until(() => seen.length > 0, "a small batch");
    expect(seen).toEqual([NICENESS]);
    from.send(
      Array.from({ length: 64 }, (_, i) => ({ bytes: payload(1000, i) })),
      udp.port,
    );
    await until(() => seen.length > 1, "bulk");
    expect(seen[1]).toBe(before);
    const next = async (): Promise<number> => {
      seen.length = 0;
      from.send([{ bytes: payload(100) }], udp.port);
      await until(() => seen.length > 0, "a batch");
      return seen[0]!;
    };
    await until(() => getPriority() === before, "the end of the bulk");
    while ((await next()) !== NICENESS);
    io.close();
    expect(getPriority()).toBe(before);
  });

  it("is not handed on to children", () => {
    const before = niceOfChild();
    const { io } = collector(lab, { niceness: NICENESS });
    expect(niceOfChild()).toBe(before);
    io.close();
    expect(niceOfChild()).toBe(before);
  });

  it("is left alone when none is asked for", () => {
    const before = getPriority();
    collector(lab);
    expect(getPriority()).toBe(before);
    expect(() => collector(lab, { niceness: 3 })).toThrow("niceness");
  });
});

/** The processors that this thread may run on, and how many a child of it gets. */
const processors = (): string =>
  /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync("/proc/thread-self/status", "utf8"))![1]!;
const choose = (list: string): void => {
  const thread = readlinkSync("/proc/thread-self").split("/").at(-1)!;
  execFileSync("taskset", ["--pid", "--cpu-list", list, thread]);
};
const processorsOfChild = (): number => Number(execFileSync("nproc", { encoding: "utf8" }));

describe("on two processors", () => {
  const hasTwo = processorsOfChild() === 2;
  if (!hasTwo)
    console.log(`skipped: keeping to one of two processors; there are ${processorsOfChild()} here`);

  /** A port, and how to keep it busy until the thread may run where it should. */
  function port() {
    const from = sender(lab);
    const to = collector(lab);
    const udp = socket(lab);
    to.io.addUdp(udp);
    const send = async (count: number, length: number) => {
      const arrived = to.batches.length;
      from.send(Array(count).fill({ bytes: payload(length) }), udp.port);
      await until(() => to.batches.length > arrived, "a batch");
      to.frames.length = 0;
    };
    const sendUntil = async (isThere: () => boolean, count: number, length: number) => {
      for (let i = 0; !isThere(); i++) {
        expect(i).toBeLessThan(20_000);
        await send(count, length);
      }
    };
    return { io: to.io, send, sendUntil };
  }

  it.runIf(hasTwo)(
    "keeps to the last one for bulk and a packet now and then, not for many; its children do not",
    async () => {
      const before = processors();
      const last = /\d+$/.exec(before)![0];
      const isKept = () => processors() === last;
      const isFree = () => processors() === before;
      const { io, send, sendUntil } = port();
      expect(isFree()).toBe(true);
      await send(1, 100);
      expect(isKept()).toBe(true);
      expect(processorsOfChild()).toBe(2);
      await sendUntil(isFree, 16, 100);
      await sendUntil(isKept, 16, 60_000);
      await sendUntil(isFree, 16, 100);
      await sendUntil(isKept, 16, 60_000);
      io.close();
      expect(isFree()).toBe(true);
    },
  );

  it.runIf(hasTwo)(
    "may run on both again when nothing comes; what somebody else has chosen stays",
    async () => {
      const before = processors();
      const { send } = port();
      await send(1, 100);
      expect(processors()).not.toBe(before);
      await until(() => processors() === before, "the end of the traffic");
      await send(1, 100);
      choose("0");
      const overMs = Date.now() + 1500;
      while (Date.now() < overMs) await new Promise((resolve) => setTimeout(resolve, 100));
      expect(processors()).toBe("0");
      choose(before);
    },
  );
});

it("counts the datagrams that found the socket's buffer full", () => {
  const from = sender(lab);
  const to = collector(lab);
  const udp = socket(lab, { rcvbufBytes: 4096, sndbufBytes: 0 });
  const port = to.io.addUdp(udp);
  const count = 200;
  from.send(
    Array.from({ length: count }, (_, i) => ({ bytes: payload(1000, i) })),
    udp.port,
  );
  expect(from.stats().txFrames).toBe(count);
  const { rxDropped } = to.io.ioStats(port)!;
  expect(rxDropped).toBeGreaterThan(0);
  expect(rxDropped).toBeLessThan(count);
});

it("refuses to start on arguments that make no sense", () => {
  const { ioCreate } = native();
  const arena = new Uint8Array(1 << 20);
  const table = new Int32Array(1000);
  const good = [arena, table, table, 1 << 19, 64, 1000, () => 0, () => undefined] as const;
  const without = (at: number, value: unknown) => good.map((argument, i) => (i === at ? value : argument));
  const bad = [
    [],
    good.slice(0, 7),
    without(0, table),
    without(1, arena),
    without(2, {}),
    without(3, arena.length + 1),
    without(3, 0),
    without(4, -1),
    without(5, "many"),
    without(6, 1),
    without(7, undefined),
  ];
  for (const list of bad) {
    const call = () => Reflect.apply(ioCreate, undefined, list);
    expect(call).toThrow("arguments");
  }
});
