/** What one packet costs in JavaScript, by the number of connections, and what a connection costs. */
import type { Metric, Report } from "../report.js";
import { cpuNs, Kind, makeProxier, Traffic } from "./fixture.js";
import type { MicroOptions } from "./index.js";

const DEFAULT_MAX = 262_144;
const FLOWS = [1000, 100_000, 1_000_000];
const FLOWS_PER_SERVICE = 62_500;
/** Of each kind in a round. */
const PACKETS = 1_000_000;
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

/** Flows in turn: every one is as far from its last packet as can be, but memory is read in order. */
function inTurn(flows: number): Uint32Array {
  return Uint32Array.from({ length: flows }, (_, i) => i);
}

/** Flows at random: caches help as little as they can. */
function shuffled(flows: number): Uint32Array {
  const order = inTurn(flows);
  for (let i = flows - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}

/** Nanoseconds a packet, without those that writing the frame takes. */
function packetNs(traffic: Traffic, kind: Kind, order: Uint32Array): number {
  const before = traffic.sent;
  const begin = cpuNs();
  for (let i = 0, at = 0; i < PACKETS; i++, at = at + 1 === order.length ? 0 : at + 1)
    traffic.write(kind, order[at]!);
  const middle = cpuNs();
  traffic.discard();
  for (let i = 0, at = 0; i < PACKETS; i++, at = at + 1 === order.length ? 0 : at + 1)
    traffic.put(kind, order[at]!);
  traffic.flush();
  const end = cpuNs();
  traffic.expectSent(before + PACKETS);
  return (end - middle - (middle - begin)) / PACKETS;
}

/** Cost of a packet at 1 k, 100 k and 1 M connections. */
export function benchPackets(report: Report, { runs, quick }: MicroOptions): void {
  const sizes = quick ? FLOWS.slice(0, 2) : FLOWS;
  const services = makeProxier(Math.ceil(Math.max(...sizes) / FLOWS_PER_SERVICE));
  const cases = sizes.map((flows) => {
    const traffic = new Traffic(services, flows, Math.max(DEFAULT_MAX, flows));
    traffic.open();
    const orders = [
      { how: " in turn", order: inTurn(flows) },
      { how: " at random", order: shuffled(flows) },
    ];
    for (const kind of [Kind.request, Kind.reply]) packetNs(traffic, kind, orders[0]!.order);
    return { flows, traffic, orders };
  });
  const least = label(sizes[0]!, " in turn");
  for (let round = 0; round < runs; round++) {
    for (const { flows, traffic, orders } of cases) {
      for (const { how, order } of orders) {
        report.add(REQUEST, label(flows, how), round, packetNs(traffic, Kind.request, order), least);
        report.add(REPLY, label(flows, how), round, packetNs(traffic, Kind.reply, order), least);
      }
    }
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
