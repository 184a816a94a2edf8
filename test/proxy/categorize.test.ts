import { describe, expect, it } from "vitest";
import { categorizeEndpoints } from "../../src/proxy/categorize.js";
import type { Endpoint } from "../../src/proxy/types.js";

const NONE = { ready: false, serving: false, terminating: false };
const READY = { ready: true, serving: true, terminating: false };
const UNREADY = { ready: false, serving: true, terminating: false };
const LEAVING = { ready: false, serving: true, terminating: true };
const LEFT = { ready: false, serving: false, terminating: true };

type Health = typeof READY;

const ME = { nodeName: "me", zone: "" };

/** Endpoint number n; negative: on another node. */
function at(n: number, health: Health): Endpoint {
  const isLocal = n > 0;
  const hints = { nodeHints: [], zoneHints: [] };
  return {
    ip: Math.abs(n),
    port: 80,
    target: "",
    nodeName: isLocal ? "me" : "you",
    isLocal,
    ...health,
    ...hints,
  };
}

/** Names are those of pkg/proxy/topology_test.go `TestCategorizeEndpoints` where it has the case. */
const cases: [name: string, endpoints: [number, Health][], cluster: number[], local: number[]][] = [
  ["no endpoints", [], [], []],
  [
    "Cluster traffic policy, endpoints not Ready",
    [
      [1, NONE],
      [-2, UNREADY],
    ],
    [],
    [],
  ],
  [
    "Cluster traffic policy, some endpoints are Ready",
    [
      [-1, NONE],
      [-2, READY],
    ],
    [2],
    [],
  ],
  [
    "Cluster traffic policy, all endpoints are terminating",
    [
      [1, LEAVING],
      [-2, LEAVING],
    ],
    [1, 2],
    [1],
  ],
  [
    "all endpoints are terminating, one no longer serves",
    [
      [1, LEFT],
      [-2, LEAVING],
    ],
    [2],
    [],
  ],
  [
    "iTP: Local, eTP: Cluster, some endpoints local",
    [
      [1, READY],
      [-2, READY],
    ],
    [1, 2],
    [1],
  ],
  [
    "iTP: Local, eTP: Local, all endpoints remote",
    [
      [-1, READY],
      [-2, READY],
    ],
    [1, 2],
    [],
  ],
  [
    "iTP: Local, eTP: Cluster, all endpoints remote and terminating",
    [
      [-1, LEAVING],
      [-2, LEAVING],
    ],
    [1, 2],
    [],
  ],
  [
    "iTP: Cluster, eTP: Local, with terminating endpoints: remote ready, local terminating",
    [
      [1, LEAVING],
      [-2, READY],
    ],
    [2],
    [1],
  ],
  [
    "one ready endpoint keeps terminating ones out",
    [
      [1, READY],
      [2, LEAVING],
    ],
    [1],
    [1],
  ],
];

describe("categorizeEndpoints", () => {
  it.each(cases)("%s", (_name, endpoints, cluster, local) => {
    const usable = categorizeEndpoints(
      endpoints.map(([n, health]) => at(n, health)),
      ME,
    );
    expect(usable.cluster.map((e) => e.ip)).toEqual(cluster);
    expect(usable.local.map((e) => e.ip)).toEqual(local);
  });
});

/** An endpoint on another node, ready, meant for these nodes and zones. */
function meant(n: number, nodeHints: string[], zoneHints: string[], health = READY): Endpoint {
  return { ...at(-n, health), nodeHints, zoneHints };
}

/** Names are those of pkg/proxy/topology_test.go where it has the case. The node is `me` in zone `a`. */
const hints: [name: string, endpoints: Endpoint[], zone: string, cluster: number[]][] = [
  ["hints for this zone", [meant(1, [], ["a"]), meant(2, [], ["b"]), meant(3, [], ["c", "a"])], "a", [1, 3]],
  ["hints, but the node has no zone", [meant(1, [], ["a"]), meant(2, [], ["b"])], "", [1, 2]],
  ["hints, but none for this zone", [meant(1, [], ["b"]), meant(2, [], ["c"])], "a", [1, 2]],
  ["one endpoint has no hint", [meant(1, [], ["a"]), meant(2, [], [])], "a", [1, 2]],
  ["an endpoint without hint is not ready", [meant(1, [], ["a"]), meant(2, [], [], UNREADY)], "a", [1]],
  ["the endpoint for this zone is not ready", [meant(1, [], ["a"], UNREADY), meant(2, [], ["b"])], "a", [2]],
  [
    "hints for this node come before those for its zone",
    [meant(1, ["me"], ["a"]), meant(2, ["you"], ["a"])],
    "a",
    [1],
  ],
  [
    "node hints, none for this node: the zone's count",
    [meant(1, ["x"], ["a"]), meant(2, ["y"], ["b"])],
    "a",
    [1],
  ],
  ["node hints not on all: the zone's count", [meant(1, ["me"], ["b"]), meant(2, [], ["a"])], "a", [2]],
  [
    "terminating endpoints are used whatever their hints",
    [meant(1, [], ["b"], LEAVING), meant(2, [], ["a"], LEFT)],
    "a",
    [1],
  ],
];

describe("categorizeEndpoints with topology hints", () => {
  it.each(hints)("%s", (_name, endpoints, zone, cluster) => {
    const usable = categorizeEndpoints(endpoints, { nodeName: "me", zone });
    expect(usable.cluster.map((e) => e.ip)).toEqual(cluster);
  });

  it("policy Local does not look at them", () => {
    const here = { ...at(1, READY), zoneHints: ["b"] };
    const usable = categorizeEndpoints([here, meant(2, [], ["a"])], { nodeName: "me", zone: "a" });
    expect([usable.cluster.map((e) => e.ip), usable.local.map((e) => e.ip)]).toEqual([[2], [1]]);
  });
});
