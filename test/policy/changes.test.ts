/** NetworkPolicies, pods and namespaces that change while questions are asked; and what that costs with many pods. */
import { beforeEach, describe, expect, it } from "vitest";
import { Fixture, ingress, namespace, pod, policy } from "./objects.js";

let f: Fixture;
beforeEach(() => {
  f = new Fixture();
});
const ALL = "x/a x/b x/c y/a y/b y/c";
const apply = (...objects: Parameters<Fixture["policies"]["onPolicyUpsert"]>[0][]) => {
  for (const object of objects) f.policies.onPolicyUpsert(object);
};

describe("changes", () => {
  const fromRed = ingress([{ podSelector: { matchLabels: { colour: "red" } } }]);

  /** Does it, and says whether earlier answers are out of date. */
  const turns = (change: () => void): boolean => {
    const before = f.policies.generation;
    change();
    return f.policies.generation !== before;
  };

  it("a pod's labels", () => {
    apply(fromRed);
    expect(f.whoReaches("x/a:80")).toBe("x/a");
    expect(turns(() => f.put("x/b", "172.16.1.11", { labels: { pod: "b", colour: "red" } }))).toBe(true);
    expect(f.whoReaches("x/a:80")).toBe("x/a x/b");
    f.put("x/b", "172.16.1.11", { labels: { pod: "b" } });
    expect(f.whoReaches("x/a:80")).toBe("x/a");
    f.put("x/a", "172.16.1.10", { labels: { pod: "other" } });
    expect(f.whoReaches("x/a:80")).toBe(ALL);
    expect(f.policies.active).toBe(false);
  });

  it("a namespace's labels", () => {
    apply(ingress([{ namespaceSelector: { matchLabels: { team: "red" } } }]));
    expect(f.whoReaches("x/a:80")).toBe("x/a");
    expect(turns(() => f.policies.onNamespaceUpsert(namespace("y", { team: "red" })))).toBe(true);
    expect(f.whoReaches("x/a:80")).toBe("x/a y/a y/b y/c");
    expect(turns(() => f.policies.onNamespaceDelete(namespace("y")))).toBe(true);
    expect(f.whoReaches("x/a:80")).toBe("x/a");
  });

  it("a policy's rules, and a policy that comes again unchanged", () => {
    apply(fromRed);
    expect(turns(() => apply(structuredClone(fromRed)))).toBe(false);
    expect(turns(() => apply(ingress()))).toBe(true);
    expect(f.whoReaches("x/a:80")).toBe(ALL);
  });

  it("a pod that comes, changes its status, and goes", () => {
    apply(ingress([{ podSelector: {} }]));
    expect(turns(() => f.put("x/d", "172.16.1.14"))).toBe(true);
    expect(f.whoReaches("x/a:80")).toBe("x/a x/b x/c x/d");
    const ready = {
      ...pod("x/d", "172.16.1.14"),
      status: { podIP: "172.16.1.14", phase: "Running", message: "ready" },
    };
    expect(turns(() => f.policies.onPodUpsert(ready))).toBe(false);
    expect(turns(() => f.policies.onPodDelete(pod("x/d", "172.16.1.14")))).toBe(true);
    expect(f.whoReaches("x/a:80")).toBe("x/a x/b x/c");
  });

  it("a finished pod has no address any more", () => {
    apply(ingress([{ podSelector: {} }]));
    f.put("x/b", "172.16.1.11", { phase: "Succeeded" });
    expect(f.whoReaches("x/a:80")).toBe("x/a x/c");
  });

  it("an address that changes hands is the new pod's at once, and the old one's end does not take it away", () => {
    apply(ingress([{ podSelector: {} }]));
    f.put("y/new", "172.16.1.11");
    expect(f.ask("172.16.1.11", "x/a:80")).toBe("ingress:x/p");
    f.policies.onPodDelete(pod("x/b", "172.16.1.11"));
    expect(f.ask("172.16.1.11", "x/a:80")).toBe("ingress:x/p");
    f.put("x/new", "172.16.1.12");
    expect(f.ask("172.16.1.12", "x/a:80")).toBe("allowed");
  });

  it("a pod of the same name is another pod: the old one's end comes late and means the old one", () => {
    apply(ingress([{ podSelector: {} }]));
    const withUid = (uid: string, address: string) => {
      const object = pod("x/b", address);
      return { ...object, metadata: { ...object.metadata, uid } };
    };
    f.policies.onPodDelete(pod("x/b", "172.16.1.11"));
    f.policies.onPodUpsert(withUid("1", "172.16.2.50"));
    f.policies.onPodUpsert(withUid("2", "172.16.1.51"));
    f.policies.onPodUpsert(withUid("1", "172.16.2.50"));
    f.policies.onPodDelete(withUid("1", "172.16.2.50"));
    expect(f.ask("172.16.1.51", "x/a:80")).toBe("allowed");
    expect(f.ask("172.16.2.50", "x/a:80")).toBe("ingress:x/p");
  });

  it("a pod that no rule is about changes nothing", () => {
    apply(fromRed);
    expect(turns(() => f.put("y/d", "172.16.2.24", { node: "node-2" }))).toBe(false);
    expect(turns(() => f.policies.onPodDelete(pod("y/d", "172.16.2.24")))).toBe(false);
  });

  it("an isolated pod's address counts from when its device is there, before the API knows it", () => {
    apply(policy("x/deny", {}));
    f.policies.assign("x/new", 0xac100163);
    f.policies.onPodUpsert(pod("x/new", undefined, { labels: {} }));
    expect(f.ask("y/a", "172.16.1.99:80")).toBe("ingress:x/deny");
    f.policies.assign("x/new", 0);
    expect(f.ask("y/a", "172.16.1.99:80")).toBe("allowed");
  });

  it("forgets pods of other nodes and namespaces when nobody follows them any more", () => {
    f.policies.forgetPeers();
    expect(f.policies.status().pods).toBe(4);
    apply(ingress([{ namespaceSelector: {} }]));
    f.policies.onSynced();
    expect(f.whoReaches("x/a:80")).toBe("x/a");
    f.policies.onNamespaceUpsert(namespace("y"));
    expect(f.whoReaches("x/a:80")).toBe("x/a y/a y/b");
  });
});
describe("ten thousand pods", () => {
  it("are judged like ten: a question looks at two of them, and a change at one", () => {
    apply(ingress([{ podSelector: { matchLabels: { colour: "red" } } }, { namespaceSelector: {} }]));
    const address = (i: number) => `172.16.${10 + (i >>> 8)}.${i & 255}`;
    for (let i = 0; i < 10_000; i++)
      f.policies.onPodUpsert(
        pod(`y/p${i}`, address(i), { node: "node-2", labels: { colour: i % 2 ? "red" : "blue" } }),
      );
    expect(f.policies.status().pods).toBe(10_006);
    apply(ingress([{ namespaceSelector: {}, podSelector: { matchLabels: { colour: "red" } } }]));
    let allowed = 0;
    for (let i = 0; i < 10_000; i++) if (f.ask(address(i), "x/a:80") === "allowed") allowed++;
    expect(allowed).toBe(5000);
    for (let i = 0; i < 10_000; i += 3) f.policies.onPodDelete(pod(`y/p${i}`, address(i)));
    for (let i = 0; i < 10_000; i++)
      expect(f.ask(address(i), "x/a:80") === "allowed").toBe(i % 2 === 1 && i % 3 !== 0);
  });
});
