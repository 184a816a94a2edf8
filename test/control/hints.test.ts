import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { withHints, zoneShares } from "../../src/control/hints.js";
import type { Endpoint, Node, Service } from "../../src/kube/index.js";

const node = (zone: string, cpu: string | undefined = "4", more: Record<string, string> = {}): Node => ({
  metadata: { name: "n", labels: { ...(zone && { "topology.kubernetes.io/zone": zone }), ...more } },
  status: { allocatable: cpu ? { cpu } : {}, conditions: [{ type: "Ready", status: "True" }] },
});
const service = (spec: object, annotations: Record<string, string> = {}): Service => ({
  metadata: { name: "web", annotations },
  spec,
});
const auto = service({}, { "service.kubernetes.io/topology-mode": "Auto" });
const endpoint = (zone: string | undefined, ready = true): Endpoint => ({
  addresses: ["10.0.0.1"],
  conditions: { ready, serving: ready, terminating: false },
  nodeName: "n1",
  ...(zone && { zone }),
});
const inZones = (...zones: string[]) => zones.map((zone) => endpoint(zone));
const zonesOf = (endpoints: readonly Endpoint[]) =>
  endpoints.map(({ hints }) => hints?.forZones?.map(({ name }) => name).join() ?? "");

describe("trafficDistribution", () => {
  it.each([
    ["PreferClose", { forZones: [{ name: "a" }] }],
    ["PreferSameZone", { forZones: [{ name: "a" }] }],
    ["PreferSameNode", { forZones: [{ name: "a" }], forNodes: [{ name: "n1" }] }],
    ["unknown", undefined],
    [undefined, undefined],
  ])("%s hints at %j", (trafficDistribution, hints) => {
    const { endpoints } = withHints(service({ trafficDistribution }), [endpoint("a")]);
    expect(endpoints[0]?.hints).toEqual(hints);
  });

  it("hints at nothing for endpoints that are not ready, and at no zone where there is none", () => {
    const { endpoints } = withHints(service({ trafficDistribution: "PreferSameNode" }), [
      endpoint("a", false),
      endpoint(undefined),
    ]);
    expect(endpoints.map(({ hints }) => hints)).toEqual([undefined, { forNodes: [{ name: "n1" }] }]);
  });

  it("gives way to the annotation", () => {
    const both = service({ trafficDistribution: "PreferClose" }, auto.metadata?.annotations);
    expect(withHints(both, [endpoint("a")]).refusal).toMatch(/^Insufficient Node information/);
  });
});

describe("shares of zones", () => {
  it("follow the CPUs of ready nodes that run workloads", () => {
    const lost: Node = { ...node("c"), status: { allocatable: { cpu: "8" } } };
    const master = node("d", "8", { "node-role.kubernetes.io/control-plane": "" });
    const shares = zoneShares([node("a", "1500m"), node("a", "500m"), node("b", "6"), lost, master]);
    expect(shares).toEqual(
      new Map([
        ["a", 0.25],
        ["b", 0.75],
      ]),
    );
  });

  it.each([
    ["one zone", [node("a"), node("a")]],
    ["a node without a zone", [node("a"), node("b"), node("")]],
    ["a node without CPUs", [node("a"), node("b", "0")]],
    ["no nodes", []],
  ])("are unknown with %s", (_, nodes) => {
    expect(zoneShares(nodes)).toBeUndefined();
  });
});

describe("topology-mode: Auto", () => {
  const even = zoneShares([node("a"), node("b"), node("c")]);

  it("keeps endpoints in their own zones where those have their share", () => {
    const { endpoints, refusal } = withHints(auto, inZones("a", "b", "c"), even);
    expect(refusal).toBeUndefined();
    expect(zonesOf(endpoints)).toEqual(["a", "b", "c"]);
  });

  it("lets a zone with too many give to those with too few", () => {
    const { endpoints } = withHints(auto, inZones("a", "a", "a", "a", "b", "c"), even);
    expect(zonesOf(endpoints).sort()).toEqual(["a", "a", "b", "b", "c", "c"]);
  });

  it.each([
    [inZones("a", "b"), "Insufficient number of endpoints (2 endpoints, 3 zones)"],
    [[...inZones("a", "b"), endpoint("c", false)], "Insufficient number of endpoints (2 endpoints, 3 zones)"],
    [[...inZones("a", "b", "c"), endpoint(undefined)], /^(One or more endpoints|Unable to allocate)/],
  ])("gives no hints when the safeguards forbid it", (endpoints, why) => {
    const hinted = withHints(auto, endpoints, even);
    expect(hinted.refusal).toMatch(why);
    expect(zonesOf(hinted.endpoints).join("")).toBe("");
  });

  it("gives none where an endpoint would get a fifth more than its share", () => {
    // 4 endpoints over shares of 0.58, 0.21 and 0.21: at least 2, 1 and 1; with 3 endpoints not enough.
    const shares = zoneShares([node("a", "58"), node("b", "21"), node("c", "21")]);
    expect(withHints(auto, inZones("a", "a", "b", "c"), shares).refusal).toBeUndefined();
    const uneven = zoneShares([node("a", "70"), node("b", "15"), node("c", "15")]);
    expect(withHints(auto, inZones("a", "b", "c"), uneven).refusal).toMatch(/^Unable to allocate/);
  });

  it("leaves no zone with an endpoint to give while another lacks one, whatever the endpoints and CPUs", () => {
    const zones = ["a", "b", "c", "d"];
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 2, maxLength: 4 }),
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 60 }),
        (cpus, places) => {
          const shares = zoneShares(cpus.map((cpu, index) => node(zones[index]!, String(cpu))))!;
          const all = places.map((place) => endpoint(zones[place % cpus.length]));
          const { endpoints, refusal } = withHints(auto, all, shares);
          if (refusal !== undefined) return;
          const surpluses = [...shares].map(([zone, share]) => {
            const desired = Math.max(share * all.length, Math.ceil((share * all.length) / 1.2));
            return zonesOf(endpoints).filter((one) => one === zone).length - desired;
          });
          expect(Math.min(Math.max(...surpluses), -Math.min(...surpluses))).toBeLessThan(1);
          expect(zonesOf(endpoints).every((zone) => shares.has(zone))).toBe(true);
        },
      ),
    );
  });
});
