import { expect, it } from "vitest";
import { WorkQueue } from "../../src/control/queue.js";
import { settle, VirtualTime } from "./cluster.js";

function queueOf(reconcile: (key: string) => Promise<void>, synced = Promise.resolve()) {
  const time = new VirtualTime();
  const lines: string[] = [];
  const log = (_level: string, message: string) => void lines.push(message);
  return { time, lines, queue: new WorkQueue({ name: "test", log, timers: time, synced }, reconcile) };
}

it("works on each key once, however often it was added", async () => {
  const seen: string[] = [];
  const { queue } = queueOf(async (key) => void seen.push(key));
  for (const key of ["a", "b", "a", "a"]) queue.add(key);
  await settle();
  expect(seen).toEqual(["a", "b"]);
  queue.add("a");
  await settle();
  expect(seen).toEqual(["a", "b", "a"]);
});

it("works on one key at a time, and again on what changed meanwhile", async () => {
  const seen: string[] = [];
  let atWork = 0;
  const { queue } = queueOf(async (key) => {
    expect(++atWork).toBe(1);
    seen.push(key);
    if (seen.length === 1) queue.add(key);
    await settle();
    atWork--;
  });
  queue.add("a");
  queue.add("b");
  for (let turn = 0; turn < 5; turn++) await settle();
  expect(seen).toEqual(["a", "b", "a"]);
});

it("waits for the caches", async () => {
  const seen: string[] = [];
  let filled = () => {};
  const { queue } = queueOf(
    async (key) => void seen.push(key),
    new Promise((resolve) => {
      filled = resolve;
    }),
  );
  queue.add("a");
  await settle();
  expect(seen).toEqual([]);
  filled();
  await settle();
  expect(seen).toEqual(["a"]);
});

it("tries failures again with growing pauses, and says so", async () => {
  const at: number[] = [];
  const { queue, time, lines } = queueOf(async () => {
    at.push(time.now());
    if (at.length < 5) throw new Error("no luck");
  });
  const start = time.now();
  queue.add("a");
  await settle();
  await time.advance(60_000);
  expect(at.map((ms) => ms - start)).toEqual([0, 5, 15, 35, 75]);
  expect(lines[0]).toBe("test: a: no luck; trying again");
});

it("adds a key later, the last call deciding when", async () => {
  const at: number[] = [];
  const { queue, time } = queueOf(async () => void at.push(time.now()));
  const start = time.now();
  queue.addAfter("a", 100);
  queue.addAfter("a", 300);
  await time.advance(1000);
  expect(at.map((ms) => ms - start)).toEqual([300]);
});

it("stops after the key in work and takes no more", async () => {
  const seen: string[] = [];
  let finish = () => {};
  const { queue, time } = queueOf((key) => {
    seen.push(key);
    return new Promise((resolve) => {
      finish = resolve;
    });
  });
  queue.add("a");
  queue.add("b");
  queue.addAfter("c", 5);
  await settle();
  let stopped = false;
  const stopping = queue.stop().then(() => {
    stopped = true;
  });
  await settle();
  expect(stopped).toBe(false);
  finish();
  await stopping;
  queue.add("d");
  await time.advance(100);
  expect(seen).toEqual(["a"]);
});
