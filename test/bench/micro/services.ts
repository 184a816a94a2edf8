/** How the cost of a first packet and of a change grows with the number of Services. */
import { type Metric, percentile, type Report } from "../report.js";
import { cpuNs, Kind, makeProxier, sliceOf, Traffic } from "./fixture.js";
import type { MicroOptions } from "./index.js";

const FIRST: Metric = {
  name: "services-first",
  title: "First packet of a connection to the last Service",
  unit: "ns",
  better: "lower",
  digits: 0,
};
const CHANGE: Metric = {
  name: "services-change",
  title: "One endpoint change, until it is in effect",
  unit: "ms",
  better: "lower",
  digits: 3,
};
const BUILD: Metric = {
  name: "services-build",
  title: "All Services handed over at the start, until they are in effect",
  unit: "ms",
  better: "lower",
  digits: 0,
};
const CONNECTIONS = 50_000;
const CHANGES = 20;
const WARM_UPS = 3;
const nameOf = (count: number): string => `${count.toLocaleString("en")} Services`;

export function benchServices(report: Report, { runs, quick }: MicroOptions): void {
  const counts = quick ? [10, 1000] : [10, 100, 1000, 10_000, 50_000];
  const least = nameOf(counts[0]!);
  const cases = counts.map((count) => {
    const begin = performance.now();
    const services = makeProxier(count);
    report.add(BUILD, nameOf(count), 0, performance.now() - begin, least);
    const traffic = new Traffic(services, CONNECTIONS, 65_536, count - 1);
    for (let i = 0; i < WARM_UPS; i++) firstPacketNs(traffic);
    return { count, services, traffic };
  });
  for (let round = 0; round < runs; round++) {
    for (const { count, services, traffic } of cases) {
      report.add(FIRST, nameOf(count), round, firstPacketNs(traffic), least);
      report.add(CHANGE, nameOf(count), round, changeMs(services, count - 1, round), least);
    }
  }
}

function firstPacketNs(traffic: Traffic): number {
  traffic.datapath.deleteConntrack({});
  const before = traffic.sent;
  const begin = cpuNs();
  for (let flow = 0; flow < CONNECTIONS; flow++) traffic.put(Kind.syn, flow);
  const end = cpuNs();
  traffic.expectSent(before + CONNECTIONS);
  return (end - begin) / CONNECTIONS;
}

/** Median of some changes; the endpoint moves back and forth, so that each is one. */
function changeMs(services: ReturnType<typeof makeProxier>, service: number, round: number): number {
  const took = Array.from({ length: CHANGES }, (_, i) => {
    const slice = sliceOf(service, (i + 1) % 2);
    const begin = performance.now();
    services.onEndpointSliceUpsert(slice);
    services.sync(round + 1);
    return performance.now() - begin;
  });
  return percentile(
    took.sort((a, b) => a - b),
    50,
  );
}
