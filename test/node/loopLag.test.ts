import { afterEach, describe, expect, it } from "vitest";
import { LoopLag } from "../../src/node/loopLag.js";

const turns = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("event loop lag", () => {
  const open: LoopLag[] = [];
  afterEach(() => {
    for (const lag of open.splice(0)) lag.close();
  });

  it("is nothing before anything was measured", () => {
    const lag = new LoopLag();
    open.push(lag);
    expect(lag.report()).toEqual({ p50Ms: 0, p99Ms: 0, maxMs: 0 });
  });

  it("shows a loop that was held up, and by how much at least", async () => {
    const lag = new LoopLag();
    open.push(lag);
    await turns(100);
    for (const until = performance.now() + 200; performance.now() < until; );
    await turns(100);
    const { p99Ms, maxMs } = lag.report();
    expect(maxMs).toBeGreaterThan(150);
    expect(p99Ms).toBeGreaterThan(150);
  });
});
