/**
 * What packets of so many connections cost, measured in a process of its own. A node's process has one datapath, and V8
 * compiles its arrays' addresses into its code; a second datapath in the same process would run on general code.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { cpuNs, FLOWS_PER_SERVICE, Kind, makeProxier, Traffic } from "./fixture.js";

/** Of each kind in a round. */
const PACKETS = 1_000_000;

/** Nanoseconds a packet. */
export interface PacketCost {
  readonly request: number;
  readonly reply: number;
}

type Order = "in turn" | "at random";

/** Packets in another process. */
export class PacketProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<never>;

  constructor(
    readonly flows: number,
    conntrackMax: number,
  ) {
    this.#child = fork(fileURLToPath(import.meta.url), [String(flows), String(conntrackMax)]);
    this.#ended = once(this.#child, "exit").then(([code]) => {
      throw new Error(`the process that measures ${flows} flows ended with code ${code}`);
    });
    this.#ended.catch(() => undefined);
  }

  /** @throws Error when the process has ended */
  async cost(order: Order): Promise<PacketCost> {
    this.#child.send(order);
    const [cost] = (await Promise.race([once(this.#child, "message"), this.#ended])) as [PacketCost];
    return cost;
  }

  readonly close = (): void => void this.#child.kill();
}

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

/** The other process: measures whenever it is told an order. */
function serve(flows: number, conntrackMax: number): void {
  const traffic = new Traffic(makeProxier(Math.ceil(flows / FLOWS_PER_SERVICE)), flows, conntrackMax);
  traffic.open();
  const orders = { "in turn": inTurn(flows), "at random": shuffled(flows) };
  for (const kind of [Kind.request, Kind.reply]) packetNs(traffic, kind, orders["in turn"]);
  process.on("message", (how: Order) => {
    const order = orders[how];
    const request = packetNs(traffic, Kind.request, order);
    process.send?.({ request, reply: packetNs(traffic, Kind.reply, order) } satisfies PacketCost);
  });
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url))
  serve(Number(process.argv[2]), Number(process.argv[3]));
