import { describe, expect, it } from "vitest";
import { chooseNode } from "../../src/control/scheduler.js";
import type { Node, Pod } from "../../src/kube/index.js";
import { Cluster, eventually, pod, replicationController } from "./cluster.js";

function node(
  name: string,
  options: { ready?: boolean; unschedulable?: boolean; labels?: Record<string, string> } = {},
): Node {
  const { ready = true, unschedulable = false, labels = {} } = options;
  return {
    metadata: { name, labels },
    spec: { unschedulable },
    status: { conditions: [{ type: "Ready", status: ready ? "True" : "Unknown" }] },
  };
}

const ANY: Pod = { spec: { containers: [] } };
const ON_SSD: Pod = { spec: { containers: [], nodeSelector: { disk: "ssd" } } };

describe("the choice of a node", () => {
  it("falls on the fewest pods, then on the first name", () => {
    const nodes = [node("c"), node("b"), node("a")];
    expect(
      chooseNode(
        ANY,
        nodes,
        new Map([
          ["a", 1],
          ["b", 0],
          ["c", 0],
        ]),
      ),
    ).toEqual({ node: "b" });
    expect(chooseNode(ANY, nodes, new Map())).toEqual({ node: "a" });
  });

  it("follows the node selector", () => {
    const nodes = [node("a"), node("b", { labels: { disk: "ssd" } })];
    expect(chooseNode(ON_SSD, nodes, new Map([["b", 9]]))).toEqual({ node: "b" });
  });

  it("says in Kubernetes' words why there is none", () => {
    expect(chooseNode(ANY, [], new Map())).toEqual({ message: "no nodes available to schedule pods" });
    const nodes = [node("a"), node("b", { unschedulable: true }), node("c", { ready: false }), node("d")];
    expect(chooseNode(ON_SSD, nodes, new Map())).toEqual({
      message:
        "0/4 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, " +
        "1 node(s) were unschedulable, 2 node(s) didn't match Pod's node affinity/selector.",
    });
  });
});

describe("the scheduler", () => {
  it("spreads pods evenly and says so", async () => {
    const cluster = await Cluster.start();
    await cluster.client.create("replicationcontrollers", replicationController("web", 7));
    await eventually(async () => {
      const nodes = (await cluster.pods()).map((one) => one.spec?.nodeName ?? "");
      expect(nodes.sort()).toEqual(["n1", "n1", "n1", "n2", "n2", "n3", "n3"]);
    });
    await eventually(async () => expect((await cluster.events("Scheduled")).length).toBe(7));
    const [event] = await cluster.events("Scheduled");
    expect(event?.message).toMatch(/^Successfully assigned default\/web-\w+ to n[123]$/);
    expect(event?.involvedObject).toMatchObject({
      kind: "Pod",
      namespace: "default",
      name: expect.stringMatching(/^web-/),
    });
  });

  it("explains a pod that fits nowhere, and binds it when a node appears", async () => {
    const cluster = await Cluster.start();
    await cluster.client.create("pods", pod("p", {}, { nodeSelector: { disk: "ssd" } }));
    const message = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.";
    await eventually(async () => {
      const found = await cluster.client.get<Pod>("pods", "default", "p");
      expect(found.status?.conditions).toMatchObject([
        { type: "PodScheduled", status: "False", reason: "Unschedulable", message },
      ]);
    });
    await eventually(async () =>
      expect((await cluster.events("FailedScheduling")).map((event) => event.message)).toEqual([message]),
    );
    await cluster.addNode("n4", { labels: { disk: "ssd" } });
    await eventually(async () =>
      expect((await cluster.client.get<Pod>("pods", "default", "p")).spec?.nodeName).toBe("n4"),
    );
  });

  it("waits for a node that is not ready yet", async () => {
    const cluster = await Cluster.start({ nodes: [] });
    await cluster.addNode("n1", { ready: false });
    await cluster.client.create("pods", pod("p", {}));
    await eventually(async () => expect((await cluster.events("FailedScheduling")).length).toBe(1));
    await cluster.heartbeat("n1", 1);
    await eventually(async () =>
      expect((await cluster.client.get<Pod>("pods", "default", "p")).spec?.nodeName).toBe("n1"),
    );
  });
});
