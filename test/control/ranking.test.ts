import { describe, expect, it } from "vitest";
import { deletionOrder } from "../../src/control/ranking.js";
import type { Pod } from "../../src/kube/index.js";

interface Traits {
  node?: string;
  phase?: "Pending" | "Running" | "Unknown";
  readySince?: string;
  cost?: string;
  restarts?: number;
  created?: string;
}

function pod(name: string, traits: Traits): Pod {
  const {
    node = "n1",
    phase = "Running",
    readySince,
    cost,
    restarts = 0,
    created = "2024-01-01T00:00:00Z",
  } = traits;
  return {
    metadata: {
      name,
      creationTimestamp: created,
      ...(cost !== undefined && { annotations: { "controller.kubernetes.io/pod-deletion-cost": cost } }),
    },
    spec: { containers: [], ...(node !== "" && { nodeName: node }) },
    status: {
      phase,
      conditions: readySince ? [{ type: "Ready", status: "True", lastTransitionTime: readySince }] : [],
      containerStatuses: [{ name: "c", image: "", imageID: "", ready: true, restartCount: restarts }],
    },
  };
}

const READY = "2024-01-01T00:01:00Z";

/** In each pair the first pod goes before the second, although its name would put it after. */
const pairs: [why: string, first: Traits, second: Traits][] = [
  ["has no node yet", { node: "" }, {}],
  ["is pending", { phase: "Pending" }, { phase: "Running" }],
  ["is in an unknown phase", { phase: "Unknown" }, { phase: "Running" }],
  ["is not ready", {}, { readySince: READY }],
  ["costs less", { cost: "-5", readySince: READY }, { readySince: READY }],
  ["became ready later", { readySince: "2024-01-01T00:02:00Z" }, { readySince: READY }],
  ["restarted more often", { restarts: 3 }, { restarts: 1 }],
  ["is newer", { created: "2024-01-02T00:00:00Z" }, {}],
  ["has no node yet, although it is older", { node: "", created: "2023-01-01T00:00:00Z" }, {}],
  ["is not ready, although it is older", { created: "2023-01-01T00:00:00Z" }, { readySince: READY }],
];

describe("among surplus pods, the first to go", () => {
  it.each(pairs)("%s", (_why, first, second) => {
    const order = deletionOrder([pod("a", second), pod("b", first)]).map(({ metadata }) => metadata?.name);
    expect(order).toEqual(["b", "a"]);
  });

  it("is on the node with the most pods", () => {
    const ready = { readySince: READY };
    const pods = [
      pod("a", { ...ready, node: "n1" }),
      pod("b", { ...ready, node: "n2" }),
      pod("c", { ...ready, node: "n2" }),
    ];
    expect(deletionOrder(pods)[0]?.metadata?.name).toBe("b");
  });

  it("is decided by name between equals, whatever the order they come in", () => {
    const pods = ["c", "a", "b"].map((name) => pod(name, {}));
    expect(deletionOrder(pods).map(({ metadata }) => metadata?.name)).toEqual(["a", "b", "c"]);
    expect(deletionOrder(pods.toReversed()).map(({ metadata }) => metadata?.name)).toEqual(["a", "b", "c"]);
  });
});
