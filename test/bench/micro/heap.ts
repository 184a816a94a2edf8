/** Whether packets leave anything on the JavaScript heap. */
import { PerformanceObserver } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { sleep } from "../lab.js";
import type { Metric, Report } from "../report.js";
import { Kind, makeProxier, Traffic } from "./fixture.js";
import type { MicroOptions } from "./index.js";

const FLOWS = 1000;
const PACKETS = 10_000_000;
const GROWTH: Metric = {
  name: "heap-growth",
  title: "Heap after ten million packets, garbage collected, against before",
  unit: "KiB",
  better: "lower",
  digits: 1,
};
const COLLECTIONS: Metric = {
  name: "heap-collections",
  title: "Garbage collections during ten million packets",
  unit: "runs",
  better: "lower",
  digits: 0,
};

/** V8's own collector, which is hidden unless asked for. */
function collector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}

export async function benchHeap(report: Report, { runs, quick }: MicroOptions): Promise<void> {
  const collect = collector();
  const traffic = new Traffic(makeProxier(1), FLOWS, 262_144);
  traffic.open();
  forward(traffic, PACKETS / 10);
  for (let round = 0; round < (quick ? 1 : runs); round++) {
    collect();
    await sleep(20);
    let collections = 0;
    const observer = new PerformanceObserver((list) => (collections += list.getEntries().length));
    observer.observe({ entryTypes: ["gc"] });
    const before = process.memoryUsage().heapUsed;
    forward(traffic, PACKETS);
    await sleep(20);
    observer.disconnect();
    collect();
    report.add(GROWTH, "both directions", round, (process.memoryUsage().heapUsed - before) / 1024);
    report.add(COLLECTIONS, "both directions", round, collections);
  }
}

function forward(traffic: Traffic, packets: number): void {
  const before = traffic.sent;
  for (let i = 0, flow = 0; i < packets; i += 2, flow = flow + 1 === FLOWS ? 0 : flow + 1) {
    traffic.put(Kind.request, flow);
    traffic.put(Kind.reply, flow);
  }
  traffic.expectSent(before + packets);
}
