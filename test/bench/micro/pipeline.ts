/** What one packet costs in JavaScript, by the number of connections, and what a connection costs. */
import type { Metric, Report } from "../report.js";
import { cpuNs, FLOWS_PER_SERVICE, Kind, makeProxier, Traffic } from "./fixture.js";
import type { MicroOptions } from "./index.js";
import { PacketProcess } from "./packets.js";

const DEFAULT_MAX = 262_144;
const FLOWS = [1000, 100_000, 1_000_000];
const LEAST_FIRST_PACKETS = 100_000;

const ns = (name: string, title: string): Metric => ({ name, title, unit: "ns", better: "lower", digits: 0 });
const REQUEST = ns(
  "packet-request",
  "A packet of a known connection: pod to ClusterIP, DNAT, out by the overlay",
);
const REPLY = ns("packet-reply", "Its answer: in by the overlay, addresses turned back, to the pod");
const FIRST = ns("conntrack-first", "A connection's first packet, table filled to its capacity");
const BYTES: Metric = {
  name: "conntrack-bytes",
  title: "Conntrack memory of an entry",
  unit: "bytes",
  better: "lower",
  digits: 1,
};

const label = (flows: number, how = ""): string => `${flows.toLocaleString("en")} flows${how}`;

/** Cost of a packet at 1 k, 100 k and 1 M connections. Each has a process of its own, as a node has: see packets.ts. */
export async function benchPackets(report: Report, { runs, quick }: MicroOptions): Promise<void> {
  const sizes = quick ? FLOWS.slice(0, 2) : FLOWS;
  const cases = sizes.map((flows) => new PacketProcess(flows, Math.max(DEFAULT_MAX, flows)));
  try {
    const least = label(sizes[0]!, " in turn");
    for (let round = 0; round < runs; round++) {
      for (const measured of cases) {
        for (const how of ["in turn", "at random"] as const) {
          const { request, reply } = await measured.cost(how);
          const name = label(measured.flows, ` ${how}`);
          report.add(REQUEST, name, round, request, least);
          report.add(REPLY, name, round, reply, least);
        }
      }
    }
  } finally {
    for (const { close } of cases) close();
  }
}

/** Bytes and nanoseconds of an entry in tables of 1 k to 1 M, each filled to the brim. */
export function benchConntrack(report: Report, { runs, quick }: MicroOptions): void {
  const sizes = quick ? [1000, 10_000] : [1000, 10_000, 100_000, 1_000_000];
  const services = makeProxier(Math.ceil(Math.max(...sizes) / FLOWS_PER_SERVICE));
  firstNs(services, 10_000);
  for (let round = 0; round < runs; round++) {
    for (const flows of sizes) {
      const { conntrack } = new Traffic(services, flows, flows).datapath.status();
      report.add(BYTES, label(flows), round, conntrack.byteSize / conntrack.max);
      report.add(FIRST, label(flows), round, firstNs(services, flows), label(sizes[0]!));
    }
  }
}

/** Small tables are filled several times, for the clock's sake. */
function firstNs(services: ReturnType<typeof makeProxier>, flows: number): number {
  const fills = Math.max(1, Math.ceil(LEAST_FIRST_PACKETS / flows));
  let sum = 0;
  for (let i = 0; i < fills; i++) sum += fillNs(new Traffic(services, flows, flows));
  return sum / fills;
}

function fillNs(traffic: Traffic): number {
  const { flows } = traffic;
  const before = traffic.sent;
  const begin = cpuNs();
  for (let flow = 0; flow < flows; flow++) traffic.write(Kind.syn, flow);
  const middle = cpuNs();
  traffic.discard();
  for (let flow = 0; flow < flows; flow++) traffic.put(Kind.syn, flow);
  traffic.flush();
  const end = cpuNs();
  traffic.expectSent(before + flows);
  return (end - middle - (middle - begin)) / flows;
}
