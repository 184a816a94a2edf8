import type { Service } from "kubernetes-types/core/v1.d.ts";
import { describe, expect, it } from "vitest";
import {
  PortKind,
  ServiceAction,
  type ServiceDecision,
  type ServiceQuery,
} from "../../src/datapath/index.js";
import { isSchedulerName, SCHEDULER_NAMES } from "../../src/proxy/index.js";
import { formatIpv4 } from "../../src/wire/index.js";
import { annotated, decide, endpoint, ip, service, slice, synced, TCP, UDP } from "./objects.js";

const COUNT = 10_000;
const SERVICES = ip("10.254.0.0");
const PODS = ip("172.16.0.0");

function manyServices() {
  return Array.from({ length: COUNT }, (_, i) => {
    const protocol = i % 3 === 0 ? "UDP" : "TCP";
    const nodePort = i % 4 === 0 ? 30_000 + i / 4 : undefined;
    const clusterIP = formatIpv4(SERVICES + 1 + i);
    return service(`s${i}`, { clusterIP, ports: [{ name: "p", port: 1 + (i % 2000), protocol, nodePort }] });
  });
}

function manySlices() {
  return Array.from({ length: COUNT }, (_, i) =>
    slice(
      `s${i}`,
      [endpoint(formatIpv4(PODS + 2 + i))],
      [{ name: "p", port: 8080, protocol: i % 3 === 0 ? "UDP" : "TCP" }],
    ),
  );
}

describe("ten thousand Services", () => {
  const services = manyServices();
  const from = synced(services, manySlices());
  /** The obvious twin: address to endpoint. */
  const twin = new Map<string, number>();
  for (let i = 0; i < COUNT; i++) {
    const protocol = i % 3 === 0 ? UDP : TCP;
    twin.set(`${protocol} ${formatIpv4(SERVICES + 1 + i)} ${1 + (i % 2000)}`, PODS + 2 + i);
    if (i % 4 === 0) twin.set(`${protocol} node ${30_000 + i / 4}`, PODS + 2 + i);
  }

  it("are found exactly as in a Map, on every address, port and protocol nearby", () => {
    let found = 0;
    for (let i = 0; i < COUNT; i++) {
      const dst = formatIpv4(SERVICES + 1 + i);
      for (const protocol of [TCP, UDP]) {
        for (const dport of [1 + (i % 2000), 2 + (i % 2000)]) {
          const decision = decide(from, { dst, dport, protocol });
          const expected = twin.get(`${protocol} ${dst} ${dport}`);
          if (expected === undefined) expect(decision?.reason).toBe("no-service-port");
          else expect(decision?.ip).toBe(expected);
          found += expected === undefined ? 0 : 1;
        }
      }
      const node = { dst: "10.0.0.11", dport: 30_000 + (i % 2600), local: true, protocol: i % 2 ? TCP : UDP };
      expect(decide(from, node)?.ip).toBe(twin.get(`${node.protocol} node ${node.dport}`));
    }
    expect(found).toBe(COUNT);
  });

  it("a change of one endpoint touches one service port", () => {
    const before = from.describe();
    from.onEndpointSliceUpsert(slice("s77", [endpoint("172.30.0.1")]));
    from.sync(1);
    const changed = from
      .describe()
      .filter((status, i) => JSON.stringify(status) !== JSON.stringify(before[i]));
    expect(changed.map((status) => status.name)).toEqual(["default/s77:p"]);
  });

  it("are gone after they are deleted", () => {
    for (const object of services) from.onServiceDelete(object);
    from.sync(2);
    expect(from.describe()).toEqual([]);
    for (let i = 0; i < COUNT; i += 97) {
      expect(decide(from, { dst: formatIpv4(SERVICES + 1 + i), dport: 1 + (i % 2000) })?.reason).toBe(
        "no-service",
      );
    }
  });
});

/** One Service per scheduler, one with affinity and one with policy Local, all with the same endpoints. */
function everyScheduler(more: Service[] = []) {
  const names = [...SCHEDULER_NAMES, "affinity", "local"];
  const services = names.map((name, i) => {
    const spec = {
      clusterIP: formatIpv4(VIPS + i),
      ...(name === "affinity" ? { sessionAffinity: "ClientIP" } : {}),
      ...(name === "local" ? { internalTrafficPolicy: "Local" } : {}),
    };
    return annotated(service(name, spec), isSchedulerName(name) ? { "podwire.dev/scheduler": name } : {});
  });
  const endpoints = ["172.16.1.2", "172.16.1.3", "172.16.1.4"].map((address) => endpoint(address));
  const slices = services.map((object) => slice(object.metadata?.name ?? "", endpoints));
  // Asks with numbers of its own: a Map of numbers would make some.
  const counts = new Uint32Array(8);
  const connections = { openConnections: (_protocol: number, address: number) => counts[address & 7] };
  return { from: synced([...more, ...services], slices, { connections }), count: services.length, counts };
}

const VIPS = ip("10.254.254.0");

/** Asks `rounds` times about the `which`th of the Services above, each time as another client. */
function asker(from: ReturnType<typeof synced>, counts: Uint32Array) {
  const query: ServiceQuery = {
    protocol: TCP,
    src: 0,
    dst: 0,
    sport: 1,
    dport: 80,
    inKind: PortKind.host,
    dstIsLocal: false,
    nowMs: 0.5,
  };
  const out: ServiceDecision = {
    action: 0,
    ip: 0,
    port: 0,
    masquerade: false,
    service: "",
    endpoint: "",
    reason: "",
  };
  return (which: number, rounds: number): number => {
    let translated = 0;
    query.dst = VIPS + which;
    for (let i = 0; i < rounds; i++) {
      query.src = (0xac100000 + (i & 0xffff)) >>> 0;
      query.sport = i & 0xffff;
      query.nowMs = i + 0.5;
      if (!from.resolve(query, out) || out.action !== ServiceAction.dnat) continue;
      translated++;
      counts[out.ip & 7]++;
    }
    return translated;
  };
}

describe("resolve", () => {
  const names = [...SCHEDULER_NAMES, "affinity", "local", "no service"];

  it.each([0, 50_000])(
    "allocates nothing per connection, whatever the scheduler, beside %i Services",
    (others) => {
      const { from, counts } = everyScheduler(plainServices(others));
      const ask = asker(from, counts);
      for (let which = 0; which < names.length; which++) ask(which, 40_000);
      for (const [which, name] of names.entries()) {
        const growth = [1, 2, 3].map(() => {
          const before = process.memoryUsage().heapUsed;
          expect(ask(which, 40_000)).toBe(name === "no service" ? 0 : 40_000);
          return process.memoryUsage().heapUsed - before;
        });
        // Sixteen bytes per call would be 640 kilobytes each time. The engine's own work comes and goes.
        expect(Math.min(...growth), name).toBeLessThan(40_000);
      }
    },
    30_000,
  );
});

function plainServices(count: number): Service[] {
  return Array.from({ length: count }, (_, i) =>
    service(`s${i}`, { clusterIP: formatIpv4(SERVICES + 1 + i) }),
  );
}
