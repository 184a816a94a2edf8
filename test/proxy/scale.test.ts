import { describe, expect, it } from "vitest";
import {
  PortKind,
  ServiceAction,
  type ServiceDecision,
  type ServiceQuery,
} from "../../src/datapath/index.js";
import { formatIpv4 } from "../../src/wire/index.js";
import { decide, endpoint, ip, service, slice, synced, TCP, UDP } from "./objects.js";

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

describe("resolve", () => {
  it("allocates nothing per connection", () => {
    const sticky = service("a", { clusterIP: "10.254.0.2", sessionAffinity: "ClientIP" });
    const endpoints = [endpoint("172.16.1.2"), endpoint("172.16.1.3"), endpoint("172.16.1.4")];
    const from = synced([service("s"), sticky], [slice("s", endpoints), slice("a", endpoints)]);
    const query: ServiceQuery = {
      protocol: TCP,
      src: 0,
      dst: ip("10.254.0.10"),
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
    const run = (count: number): number => {
      let translated = 0;
      for (let i = 0; i < count; i++) {
        query.src = (0xac100000 + (i & 0xffff)) >>> 0;
        query.dst = (0x0afe0000 + (i % 3 === 0 ? 2 : i % 3 === 1 ? 10 : 99)) >>> 0;
        query.nowMs = i + 0.5;
        if (from.resolve(query, out) && out.action === ServiceAction.dnat) translated++;
      }
      return translated;
    };
    run(200_000);
    const before = process.memoryUsage().heapUsed;
    expect(run(300_000)).toBe(200_000);
    // Sixteen bytes per call would be five megabytes.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(1_500_000);
  });
});
