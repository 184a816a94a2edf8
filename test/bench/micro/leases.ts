/** How long nodes take until every one has a route to every other, all against one store. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Overlay, RouteSink } from "../../../src/overlay/index.js";
import type { Store } from "../../../src/store/index.js";
import { overlay, store, wire } from "../product.js";
import type { Metric, Report } from "../report.js";
import type { MicroOptions } from "./index.js";

const PREFIX = "/coreos.com/network";
const CONFIG = JSON.stringify({
  Network: "172.16.0.0/16",
  SubnetLen: 24,
  Backend: { Type: "udp", Port: 8285 },
});
const TIMEOUT_MS = 60_000;
const ms = (name: string, title: string): Metric => ({ name, title, unit: "ms", better: "lower", digits: 1 });
const TOGETHER = ms("leases-together", "All nodes start at once, until each has a route to all the others");
const JOIN = ms(
  "leases-join",
  "One more node starts, until all the others have a route to it and it to them",
);

/** Counts the routes and knows when there are enough. */
class CountedRoutes implements RouteSink {
  readonly #prefixes = new Set<string>();

  constructor(private readonly onChange: () => void) {}

  get size(): number {
    return this.#prefixes.size;
  }

  put(prefix: Parameters<RouteSink["put"]>[0]): void {
    this.#prefixes.add(wire.formatPrefix(prefix));
    this.onChange();
  }

  delete(prefix: Parameters<RouteSink["delete"]>[0]): void {
    this.#prefixes.delete(wire.formatPrefix(prefix));
    this.onChange();
  }

  put6(prefix: Parameters<RouteSink["put6"]>[0]): void {
    this.#prefixes.add(wire.formatIpv6Prefix(prefix));
    this.onChange();
  }

  delete6(prefix: Parameters<RouteSink["delete6"]>[0]): void {
    this.#prefixes.delete(wire.formatIpv6Prefix(prefix));
    this.onChange();
  }
}

/** Nodes that share a store; each has a client of its own when there is a server. */
class Nodes {
  readonly #routes: CountedRoutes[] = [];
  readonly #overlays: Overlay[] = [];
  readonly #stores: Store[] = [];
  #onComplete: () => void = () => undefined;

  constructor(private readonly connect: () => Store) {}

  /** Starts so many more nodes; resolves with the milliseconds until all routes of all nodes are there. */
  async start(count: number): Promise<number> {
    const begin = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const complete = new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no convergence within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
      this.#onComplete = resolve;
    });
    const started = Promise.all(Array.from({ length: count }, () => this.#startOne())).then(() =>
      this.#look(),
    );
    try {
      await Promise.all([started, complete]);
    } finally {
      clearTimeout(timer);
    }
    return performance.now() - begin;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#overlays.map((one) => one.stop()));
    await Promise.all(this.#stores.map((one) => one.close()));
  }

  async #startOne(): Promise<void> {
    const index = this.#routes.length;
    const routes = new CountedRoutes(() => this.#look());
    this.#routes.push(routes);
    const client = this.connect();
    this.#stores.push(client);
    const node = new overlay.Overlay({
      store: client,
      publicIp: wire.formatIpv4(0x0a630000 + 1 + index),
      underlayMtuBytes: 1500,
      openEcho: () => Promise.resolve(new overlay.FakeEcho()),
      clock: {
        now: Date.now,
        schedule: (delayMs, task) => cancellable(setTimeout(task, Math.min(delayMs, 2 ** 31 - 1))),
      },
      random: Math.random,
      log: () => undefined,
      onLost: (reason) => {
        throw new Error(reason);
      },
    });
    this.#overlays.push(node);
    await node.acquire();
    node.start(routes);
  }

  #look(): void {
    if (this.#routes.every(({ size }) => size === this.#routes.length - 1)) this.#onComplete();
  }
}

function cancellable(timer: NodeJS.Timeout): () => void {
  return () => clearTimeout(timer);
}

export async function benchLeases(report: Report, { runs, quick }: MicroOptions): Promise<void> {
  const counts = quick ? [2, 10] : [1, 2, 5, 10, 20, 50, 100];
  for (let round = 0; round < runs; round++) {
    for (const count of counts) {
      await inMemory(report, round, count);
      await embedded(report, round, count);
    }
  }
}

async function inMemory(report: Report, round: number, count: number): Promise<void> {
  const memory = new store.MemoryStore();
  // One store for all: the first of the nodes to stop closes it.
  await converge(report, round, count, "in memory", () => memory, memory);
}

async function embedded(report: Report, round: number, count: number): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "pwb-store-"));
  const server = await store.startStoreServer({
    dir: join(dir, "data"),
    listen: [`unix:${join(dir, "store.sock")}`],
  });
  const connect = () => store.connectStore({ endpoints: server.endpoints });
  const own = connect();
  try {
    await converge(report, round, count, "embedded store, gRPC, fsync", connect, own);
    await own.close();
  } finally {
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function converge(
  report: Report,
  round: number,
  count: number,
  where: string,
  connect: () => Store,
  own: Store,
): Promise<void> {
  const bytes = new TextEncoder().encode(CONFIG);
  await own.txn([], [{ type: "put", key: `${PREFIX}/config`, value: bytes }]);
  const nodes = new Nodes(connect);
  const name = `${count} ${count === 1 ? "node" : "nodes"}, ${where}`;
  try {
    report.add(TOGETHER, name, round, await nodes.start(count));
    report.add(JOIN, name, round, await nodes.start(1));
  } finally {
    await nodes.stop();
  }
}
