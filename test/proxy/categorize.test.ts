import { describe, expect, it } from "vitest";
import { categorizeEndpoints } from "../../src/proxy/categorize.js";
import type { Endpoint } from "../../src/proxy/types.js";

const NONE = { ready: false, serving: false, terminating: false };
const READY = { ready: true, serving: true, terminating: false };
const UNREADY = { ready: false, serving: true, terminating: false };
const LEAVING = { ready: false, serving: true, terminating: true };
const LEFT = { ready: false, serving: false, terminating: true };

type Health = typeof READY;

/** Endpoint number n; negative: on another node. */
function at(n: number, health: Health): Endpoint {
  const isLocal = n > 0;
  return { ip: Math.abs(n), port: 80, target: "", nodeName: isLocal ? "me" : "you", isLocal, ...health };
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
    const usable = categorizeEndpoints(endpoints.map(([n, health]) => at(n, health)));
    expect(usable.cluster.map((e) => e.ip)).toEqual(cluster);
    expect(usable.local.map((e) => e.ip)).toEqual(local);
  });
});
