/** Pools of endpoints by small numbers, for the tests of schedulers. */
import { PortKind, type ServiceQuery } from "../../src/datapath/index.js";
import { EndpointPool } from "../../src/proxy/endpoint-pool.js";
import type { ConnectionCounter, SchedulerName } from "../../src/proxy/schedulers/index.js";
import type { Endpoint } from "../../src/proxy/types.js";

/** Endpoints whose addresses are these numbers. */
export function endpoints(ips: readonly number[]): Endpoint[] {
  return ips.map((ip) => ({
    ip,
    port: 80,
    target: `t${ip}`,
    nodeName: "n",
    isLocal: false,
    ready: true,
    serving: true,
    terminating: false,
    nodeHints: [],
    zoneHints: [],
  }));
}

interface World {
  readonly random?: () => number;
  readonly connections?: ConnectionCounter;
}

export function pool(name: SchedulerName, world: World = {}): EndpointPool {
  const connections = world.connections ?? { openConnections: () => 0 };
  return new EndpointPool(1, name, { random: world.random ?? (() => 0.5), connections, digest: (ip) => ip });
}

/** Changes the set; weights by address, 1 for all others. */
export function replace(
  of: EndpointPool,
  set: readonly Endpoint[],
  weights: Readonly<Record<number, number>> = {},
): void {
  of.replace(set, ({ ip }) => weights[ip] ?? 1);
}

export function query(src = 0xac100105, sport = 40_000): ServiceQuery {
  const dst = 0x0afe000a;
  return {
    protocol: 6,
    src,
    dst,
    sport,
    dport: 80,
    inKind: PortKind.pod,
    dstIsLocal: false,
    nowMs: 0,
  };
}

/** The addresses that one client is sent to. */
export function picks(from: EndpointPool, count: number): (number | undefined)[] {
  return Array.from({ length: count }, () => from.pick(query())?.ip);
}
