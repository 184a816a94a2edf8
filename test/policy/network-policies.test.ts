/** Semantics of networking/v1 NetworkPolicy, question by question. */
import { beforeEach, describe, expect, it } from "vitest";
import { Fixture, ingress, namespace, policy } from "./objects.js";

let f: Fixture;
beforeEach(() => {
  f = new Fixture();
});
const ALL = "x/a x/b x/c y/a y/b y/c";
const apply = (...objects: Parameters<Fixture["policies"]["onPolicyUpsert"]>[0][]) => {
  for (const object of objects) f.policies.onPolicyUpsert(object);
};

describe("isolation", () => {
  it("without policies everything is allowed, and nothing is asked", () => {
    expect(f.policies.active).toBe(false);
    expect(f.whoReaches("x/a:80")).toBe(ALL);
  });

  it("a policy isolates the pods it selects, in the directions of its types", () => {
    apply(policy("x/deny", { podSelector: { matchLabels: { pod: "a" } }, policyTypes: ["Ingress"] }));
    expect(f.policies.active).toBe(true);
    expect(f.ask("y/a", "x/a:80")).toBe("ingress:x/deny");
    expect(f.ask("x/a", "y/a:80")).toBe("allowed");
    expect(f.ask("y/a", "x/b:80")).toBe("allowed");
    expect(f.ask("x/b", "y/a:80")).toBe("allowed");
  });

  it.each([
    ["nothing said", {}, "ingress"],
    ["ingress rules only", { ingress: [] }, "ingress"],
    ["egress rules", { egress: [{ ports: [{ port: 1 }] }] }, "ingress egress"],
    ["an empty egress list", { egress: [] }, "ingress"],
    ["type Egress", { policyTypes: ["Egress"] }, "egress"],
    ["type Ingress in spite of egress rules", { policyTypes: ["Ingress"], egress: [{}] }, "ingress"],
    ["both types", { policyTypes: ["Ingress", "Egress"] }, "ingress egress"],
  ])("policyTypes default by what the policy has: %s", (_, spec, directions) => {
    apply(policy("x/p", spec));
    const found = [f.ask("y/b", "x/a:80"), f.ask("x/a", "y/b:80")].filter((answer) => answer !== "allowed");
    expect(found.join(" ")).toBe(
      directions
        .split(" ")
        .map((direction) => `${direction}:x/p`)
        .join(" "),
    );
  });

  it("is for pods of this node; other nodes judge theirs", () => {
    apply(policy("x/deny", { policyTypes: ["Ingress", "Egress"] }));
    expect(f.ask("y/a", "x/c:80")).toBe("allowed");
    expect(f.policies.status().isolated.map(({ pod: key }) => key)).toEqual(["x/a", "x/b"]);
  });

  it("policies add up: what one allows is allowed", () => {
    apply(policy("x/deny", {}), ingress([{ podSelector: { matchLabels: { pod: "b" } } }]));
    expect(f.whoReaches("x/a:80")).toBe("x/a x/b");
    expect(f.ask("y/a", "x/a:80")).toBe("ingress:x/deny,x/p");
    expect(f.ask("x/b", "x/b:80")).toBe("allowed");
    expect(f.whoReaches("x/b:80")).toBe("x/b");
  });

  it("both ends must allow: egress of the client first, then ingress of the server", () => {
    apply(policy("x/out", { policyTypes: ["Egress"] }), policy("y/in", {}));
    expect(f.ask("x/a", "y/a:80")).toBe("egress:x/out");
    f.policies.onPolicyDelete(policy("x/out", {}));
    expect(f.ask("x/a", "y/a:80")).toBe("ingress:y/in");
    f.policies.onPolicyDelete(policy("y/in", {}));
    expect(f.ask("x/a", "y/a:80")).toBe("allowed");
    expect(f.policies.active).toBe(false);
  });

  it("a pod always reaches itself", () => {
    apply(policy("x/deny", { policyTypes: ["Ingress", "Egress"] }));
    expect(f.ask("x/a", "x/a:80")).toBe("allowed");
  });

  it("waits until everything that existed is known", () => {
    const fresh = new Fixture();
    fresh.policies.forgetPeers();
    fresh.policies.onPolicyUpsert(policy("x/deny", {}));
    expect(fresh.policies.active).toBe(false);
    fresh.policies.onSynced();
    expect(fresh.policies.active).toBe(true);
  });
});

describe("peers", () => {
  it.each([
    ["no list: everybody", undefined, `${ALL} out`],
    ["an empty list: everybody", [], `${ALL} out`],
    [
      "podSelector: of the policy's own namespace",
      [{ podSelector: { matchLabels: { pod: "b" } } }],
      "x/a x/b",
    ],
    ["an empty podSelector: all pods of the own namespace", [{ podSelector: {} }], "x/a x/b x/c"],
    [
      "namespaceSelector: all pods there",
      [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "y" } } }],
      "x/a y/a y/b y/c",
    ],
    [
      "an empty namespaceSelector: all pods everywhere, nobody from outside",
      [{ namespaceSelector: {} }],
      ALL,
    ],
    [
      "both in one peer: and",
      [
        {
          namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "y" } },
          podSelector: { matchLabels: { pod: "c" } },
        },
      ],
      "x/a y/c",
    ],
    [
      "in two peers: or",
      [
        { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "y" } } },
        { podSelector: { matchLabels: { pod: "c" } } },
      ],
      "x/a x/c y/a y/b y/c",
    ],
    [
      "expressions",
      [
        {
          podSelector: {
            matchExpressions: [
              { key: "pod", operator: "NotIn", values: ["b"] },
              { key: "none", operator: "DoesNotExist" },
            ],
          },
        },
      ],
      "x/a x/c",
    ],
    ["Exists", [{ podSelector: { matchExpressions: [{ key: "none", operator: "Exists" }] } }], "x/a"],
    ["ipBlock: addresses, whoever has them", [{ ipBlock: { cidr: "172.16.1.0/24" } }], "x/a x/b y/a y/b"],
    [
      "ipBlock with except",
      [{ ipBlock: { cidr: "172.16.0.0/16", except: ["172.16.1.0/24"] } }],
      "x/a x/c y/c",
    ],
    ["ipBlock with host bits", [{ ipBlock: { cidr: "203.0.113.77/24" } }], "x/a out"],
    ["ipBlock of everything", [{ ipBlock: { cidr: "0.0.0.0/0" } }], `${ALL} out`],
    ["ipBlock of the other family", [{ ipBlock: { cidr: "::/0" } }], "x/a"],
  ])("%s", (_, from, expected) => {
    apply(ingress(from));
    const outside = f.ask("203.0.113.9", "x/a:80") === "allowed" ? " out" : "";
    expect(f.whoReaches("x/a:80") + outside).toBe(expected);
    expect(f.invalid).toEqual([]);
  });

  it("egress peers are the servers", () => {
    const to = [{ podSelector: { matchLabels: { pod: "b" } } }, { ipBlock: { cidr: "203.0.113.0/24" } }];
    apply(
      policy("x/p", {
        podSelector: { matchLabels: { pod: "a" } },
        policyTypes: ["Egress"],
        egress: [{ to }],
      }),
    );
    expect(f.ask("x/a", "x/b:80")).toBe("allowed");
    expect(f.ask("x/a", "203.0.113.9:80")).toBe("allowed");
    expect(f.ask("x/a", "y/b:80")).toBe("egress:x/p");
    expect(f.ask("x/a", "198.51.100.1:80")).toBe("egress:x/p");
  });

  it("a namespace nobody knows yet is chosen by no selector", () => {
    f.policies.onNamespaceDelete(namespace("y"));
    const expression = { key: "team", operator: "NotIn", values: ["red"] };
    apply(ingress([{ namespaceSelector: { matchExpressions: [expression] } }]));
    expect(f.whoReaches("x/a:80")).toBe("x/a x/b x/c");
    f.policies.onNamespaceUpsert(namespace("y"));
    expect(f.whoReaches("x/a:80")).toBe(ALL);
  });

  it("pods on the node's network are neither isolated nor chosen", () => {
    f.put("x/host", "10.0.0.11", { hostNetwork: true });
    apply(ingress([{ namespaceSelector: {} }]), policy("x/deny", { policyTypes: ["Egress"] }));
    expect(f.ask("10.0.0.11", "x/a:80")).toBe("ingress:x/p");
    expect(f.policies.status().isolated.map(({ pod: key }) => key)).toEqual(["x/a", "x/b"]);
  });
});

describe("ports", () => {
  const tables: [string, NonNullable<Parameters<typeof ingress>[1]> | undefined, string][] = [
    ["no list: every port and protocol", undefined, "80 81 80/UDP 5353/UDP 80/SCTP icmp"],
    ["an empty list", [], "80 81 80/UDP 5353/UDP 80/SCTP icmp"],
    ["a number is of TCP", [{ port: 80 }], "80"],
    ["a protocol alone: all its ports", [{ protocol: "UDP" }], "80/UDP 5353/UDP"],
    ["an entry without anything: all of TCP", [{}], "80 81"],
    ["SCTP is not TCP", [{ protocol: "SCTP", port: 80 }], "80/SCTP"],
    ["a range", [{ port: 80, endPort: 81 }], "80 81"],
    ["a range that ends below", [{ port: 79, endPort: 80 }], "80"],
    ["a name is the pod's port of that name and protocol", [{ port: "web" }], "80"],
    ["a name under another protocol", [{ port: "web", protocol: "UDP" }], "5353/UDP"],
    ["a name that the pod does not have", [{ port: "db" }], ""],
    ["two entries: or", [{ port: 81 }, { protocol: "UDP", port: 80 }], "81 80/UDP"],
  ];
  const questions = ["80", "81", "80/UDP", "5353/UDP", "80/SCTP", "icmp"];

  it.each(tables)("%s", (_, ports, expected) => {
    apply(ingress(undefined, ports));
    const allowed = questions.filter(
      (port) => f.ask("y/a", port === "icmp" ? "x/a" : `x/a:${port}`) === "allowed",
    );
    expect(allowed.join(" ")).toBe(expected);
  });

  it("peers and ports of one rule must both fit", () => {
    apply(
      policy("x/p", {
        ingress: [
          { from: [{ podSelector: { matchLabels: { pod: "b" } } }], ports: [{ port: 80 }] },
          { from: [{ podSelector: { matchLabels: { pod: "c" } } }], ports: [{ port: 81 }] },
        ],
      }),
    );
    expect([f.whoReaches("x/a:80"), f.whoReaches("x/a:81")]).toEqual(["x/a x/b", "x/a x/c"]);
  });

  it("a name in an egress rule is the server's, whichever it is", () => {
    f.put("y/b", "172.16.1.21", { ports: [["web", 8080]] });
    apply(policy("x/p", { policyTypes: ["Egress"], egress: [{ ports: [{ port: "web" }] }] }));
    expect(f.ask("x/a", "y/a:80")).toBe("allowed");
    expect(f.ask("x/a", "y/b:80")).toBe("egress:x/p");
    expect(f.ask("x/a", "y/b:8080")).toBe("allowed");
    expect(f.ask("x/a", "203.0.113.9:80")).toBe("egress:x/p");
  });
});

describe("what makes no sense", () => {
  it.each([
    ["a peer of nothing", ingress([{}]), "spec.ingress[0].from[0] makes no sense and allows nothing."],
    [
      "a bad CIDR",
      ingress([{ ipBlock: { cidr: "10.0.0.0/33" } }]),
      "spec.ingress[0].from[0] makes no sense and allows nothing.",
    ],
    [
      "a bad exception",
      ingress([{ ipBlock: { cidr: "10.0.0.0/8", except: ["x"] } }]),
      "spec.ingress[0].from[0] makes no sense and allows nothing.",
    ],
    [
      "an unknown protocol",
      ingress(undefined, [{ protocol: "GRE" }]),
      "spec.ingress[0].ports[0] makes no sense and allows nothing.",
    ],
    [
      "a port that is none",
      ingress(undefined, [{ port: 70000 }]),
      "spec.ingress[0].ports[0] makes no sense and allows nothing.",
    ],
    [
      "an unknown operator",
      ingress([{ podSelector: { matchExpressions: [{ key: "a", operator: "Gt" }] } }]),
      "spec.ingress[0].from[0] makes no sense and allows nothing.",
    ],
  ])("%s is reported and allows nothing, but isolates", (_, object, message) => {
    apply(object);
    expect(f.whoReaches("x/a:80")).toBe("x/a");
    expect(f.invalid).toEqual([`NetworkPolicy x/p: ${message}`]);
  });

  it("a policy without a name is ignored", () => {
    f.policies.onPolicyUpsert({ spec: { podSelector: {} } });
    expect(f.invalid).toEqual(["A NetworkPolicy without metadata.namespace or metadata.name was ignored."]);
    expect(f.policies.active).toBe(false);
  });

  it("objects that are nothing at all do no harm", () => {
    for (const junk of [{}, { metadata: null }, { metadata: { name: 7 } }, { spec: 3 }] as never[]) {
      f.policies.onPodUpsert(junk);
      f.policies.onPodDelete(junk);
      f.policies.onNamespaceUpsert(junk);
      f.policies.onPolicyDelete(junk);
    }
    expect(f.whoReaches("x/a:80")).toBe(ALL);
  });
});
