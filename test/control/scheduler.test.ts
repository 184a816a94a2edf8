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
    expect(chooseNode(ANY, nodes, new Map([["a", [ANY]]]))).toEqual({ node: "b" });
    expect(chooseNode(ANY, nodes, new Map())).toEqual({ node: "a" });
  });

  it("follows the node selector", () => {
    const nodes = [node("a"), node("b", { labels: { disk: "ssd" } })];
    expect(chooseNode(ON_SSD, nodes, new Map([["b", Array(9).fill(ANY)]]))).toEqual({ node: "b" });
  });

  const wanting = (port: object): Pod => ({
    spec: { containers: [{ name: "c", ports: [{ containerPort: 8080, ...port }] }] },
  });

  it.each([
    ["another port", { hostPort: 81 }, undefined],
    ["the same port", { hostPort: 80 }, "taken"],
    ["the same port of another protocol", { hostPort: 80, protocol: "UDP" }, undefined],
    ["the same port of one address, when all are taken", { hostPort: 80, hostIP: "10.0.0.1" }, "taken"],
    ["only a container port", { containerPort: 80 }, undefined],
  ])("looks for a node where host ports are free: %s", (_name, port, outcome) => {
    const decision = chooseNode(wanting(port), [node("a")], new Map([["a", [wanting({ hostPort: 80 })]]]));
    const message = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
    expect(decision).toEqual(outcome === undefined ? { node: "a" } : { message });
  });

  it("finds host ports of two addresses free of each other", () => {
    const taken = new Map([["a", [wanting({ hostPort: 80, hostIP: "10.0.0.1" })]]]);
    expect(chooseNode(wanting({ hostPort: 80, hostIP: "10.0.0.2" }), [node("a")], taken)).toEqual({
      node: "a",
    });
    expect(chooseNode(wanting({ hostPort: 80, hostIP: "0.0.0.0" }), [node("a")], taken)).toHaveProperty(
      "message",
    );
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
  it("lets a pod wait until its host port is free", async () => {
    const cluster = await Cluster.start({ nodes: ["n1"] });
    const containers = [{ name: "c", image: "i", ports: [{ containerPort: 80, hostPort: 80 }] }];
    const read = (name: string) => cluster.client.get<Pod>("pods", "default", name);
    await cluster.client.create("pods", pod("first", {}, { containers }));
    await eventually(async () => expect((await read("first")).spec?.nodeName).toBe("n1"));
    await cluster.client.create("pods", pod("second", {}, { containers }));
    await eventually(async () =>
      expect((await read("second")).status?.conditions?.[0]?.message).toMatch(/didn't have free ports/),
    );
    await cluster.client.delete("pods", "default", "first", { gracePeriodSeconds: 0 });
    await eventually(async () => expect((await read("second")).spec?.nodeName).toBe("n1"));
  });

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
