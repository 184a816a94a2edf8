/** internalTrafficPolicy and externalTrafficPolicy: who gets which endpoint, with which source, or is refused how. */
import { describe, expect, it } from "vitest";
import { PortKind, ServiceAction } from "../../src/datapath/index.js";
import { type Asked, balanced, decide, endpoint, ip, pick, service, slice, synced } from "./objects.js";

type Policy = "Cluster" | "Local";

const HERE = "172.16.1.2";
const THERE = "172.16.2.2";
const LEAVING = { ready: false, serving: true, terminating: true };
const UNREADY = { ready: false, serving: true, terminating: false };
const LEFT = { ready: false, serving: false, terminating: true };

const CLUSTER_IP: Asked = { dst: "10.254.0.10", dport: 80 };
const NODE_PORT: Asked = { dst: "10.0.0.11", dport: 30080, local: true };
const EXTERNAL_IP: Asked = { dst: "192.0.2.7", dport: 80 };
const LB_IP: Asked = { dst: "203.0.113.9", dport: 80 };
const OUTSIDE = [NODE_PORT, EXTERNAL_IP, LB_IP];

/** Where a connection may come from: the outside by the node's cards, a pod of the cluster, or the node itself. */
const CLIENT = { src: "198.51.100.4", inKind: PortKind.host };
const POD = { src: "172.16.1.5", inKind: PortKind.pod };
const NODE = { src: "10.0.0.11", inKind: PortKind.local };

const here = (conditions = {}) => endpoint(HERE, conditions, "node-1");
const there = (conditions = {}) => endpoint(THERE, conditions, "node-2");

/** The proxy of node-1, with one Service reachable by all four kinds of addresses. */
function proxy(internal: Policy, external: Policy, endpoints: ReturnType<typeof endpoint>[]) {
  const spec = {
    internalTrafficPolicy: internal,
    externalTrafficPolicy: external,
    externalIPs: ["192.0.2.7"],
    ports: [{ name: "p", port: 80, nodePort: 30080 }],
  };
  const web = balanced("web", spec, ["203.0.113.9"]);
  return synced([web], [slice("web", endpoints)], { nodeIp: ip("10.0.0.11") });
}

/** `endpoint masq` or `endpoint keep`, or the action and reason. */
function outcome(from: ReturnType<typeof proxy>, asked: Asked): string {
  const decision = decide(from, asked);
  if (decision === undefined) return "not a service";
  if (decision.action !== ServiceAction.dnat) {
    return `${decision.action === ServiceAction.drop ? "DROP" : "REJECT"} ${decision.reason}`;
  }
  return `${decision.ip === ip(HERE) ? "here" : "there"} ${decision.masquerade ? "masq" : "keep"}`;
}

describe("internalTrafficPolicy", () => {
  const rows: [name: string, policy: Policy, endpoints: ReturnType<typeof endpoint>[], expected: string][] = [
    ["Cluster, endpoint elsewhere", "Cluster", [there()], "there keep"],
    [
      "[sig-network] Services should respect internalTrafficPolicy=Local Pod to Pod: same node",
      "Local",
      [here(), there()],
      "here keep",
    ],
    [
      "[sig-network] Services should respect internalTrafficPolicy=Local Pod to Pod: other node",
      "Local",
      [there()],
      "DROP no-local-endpoints",
    ],
    ["Local, no endpoints anywhere", "Local", [], "REJECT no-endpoints"],
    ["Local, none usable anywhere", "Local", [here(UNREADY), there(LEFT)], "REJECT no-endpoints"],
    [
      "[sig-network] Services should fallback to terminating endpoints when there are no ready endpoints with internalTrafficPolicy=Cluster",
      "Cluster",
      [there(LEAVING)],
      "there keep",
    ],
    [
      "[sig-network] Services should fallback to local terminating endpoints when there are no ready endpoints with internalTrafficPolicy=Local",
      "Local",
      [here(LEAVING), there()],
      "here keep",
    ],
    [
      "Local, terminating endpoints elsewhere only",
      "Local",
      [here(LEFT), there(LEAVING)],
      "DROP no-local-endpoints",
    ],
  ];
  it.each(rows)("%s", (_name, policy, endpoints, expected) => {
    expect(outcome(proxy(policy, "Cluster", endpoints), { ...CLUSTER_IP, ...POD })).toBe(expected);
  });

  it("is about the cluster IP only", () => {
    const from = proxy("Local", "Cluster", [there()]);
    for (const asked of OUTSIDE) expect(outcome(from, { ...asked, ...CLIENT })).toBe("there masq");
  });

  it("binds the node as well as pods (Pod and Node, to Pod)", () => {
    const from = proxy("Local", "Cluster", [there()]);
    expect(outcome(from, { ...CLUSTER_IP, ...NODE })).toBe("DROP no-local-endpoints");
    expect(outcome(proxy("Local", "Cluster", [here()]), { ...CLUSTER_IP, ...NODE })).toBe("here masq");
  });
});

describe.each([
  ["NodePort", NODE_PORT],
  ["external IP", EXTERNAL_IP],
  ["load balancer IP", LB_IP],
])("externalTrafficPolicy, by %s", (_kind, asked) => {
  const rows: [
    name: string,
    policy: Policy,
    endpoints: ReturnType<typeof endpoint>[],
    client: string,
    pod: string,
    node: string,
  ][] = [
    ["Cluster: always masqueraded", "Cluster", [there()], "there masq", "there masq", "there masq"],
    [
      "Local, endpoint here: the client's address is kept",
      "Local",
      [here()],
      "here keep",
      "here keep",
      "here masq",
    ],
    [
      "Local, endpoint elsewhere: only pods and the node get there",
      "Local",
      [there()],
      "DROP no-local-endpoints",
      "there keep",
      "there masq",
    ],
    ["Local, no endpoints", "Local", [], ...three("REJECT no-endpoints")],
    ["Local, none usable", "Local", [here(UNREADY), there(LEFT)], ...three("REJECT no-endpoints")],
    ["Cluster, no endpoints", "Cluster", [], ...three("REJECT no-endpoints")],
    [
      "[sig-network] Services should fallback to terminating endpoints when there are no ready endpoints with externalTrafficPolicy=Cluster",
      "Cluster",
      [there(LEAVING)],
      ...three("there masq"),
    ],
    [
      "[sig-network] Services should fallback to local terminating endpoints when there are no ready endpoints with externalTrafficPolicy=Local",
      "Local",
      [here(LEAVING), there()],
      "here keep",
      "there keep",
      "there masq",
    ],
  ];
  it.each(rows)("%s", (_name, policy, endpoints, client, pod, node) => {
    const from = proxy("Cluster", policy, endpoints);
    expect([CLIENT, POD, NODE].map((source) => outcome(from, { ...asked, ...source }))).toEqual([
      client,
      pod,
      node,
    ]);
  });
});

function three(value: string): [string, string, string] {
  return [value, value, value];
}

describe("traffic policies", () => {
  it("both Local: cluster IP and outside see local endpoints only, pods by an outside address see all", () => {
    const from = proxy("Local", "Local", [there()]);
    expect(outcome(from, { ...CLUSTER_IP, ...POD })).toBe("DROP no-local-endpoints");
    expect(outcome(from, { ...NODE_PORT, ...CLIENT })).toBe("DROP no-local-endpoints");
    expect(outcome(from, { ...NODE_PORT, ...POD })).toBe("there keep");
  });

  it("[sig-network] LoadBalancers ExternalTrafficPolicy: Local should handle updates to ExternalTrafficPolicy field", () => {
    const make = (policy: Policy) =>
      service("web", {
        type: "NodePort",
        externalTrafficPolicy: policy,
        ports: [{ name: "p", port: 80, nodePort: 30080 }],
      });
    const from = synced([make("Cluster")], [slice("web", [there()])]);
    const asked = { ...NODE_PORT, ...CLIENT };
    const seen = [outcome(from, asked)];
    for (const policy of ["Local", "Cluster"] as const) {
      from.onServiceUpsert(make(policy));
      from.sync(1);
      seen.push(outcome(from, asked));
    }
    expect(seen).toEqual(["there masq", "DROP no-local-endpoints", "there masq"]);
  });

  it("externalTrafficPolicy means nothing on a Service without external addresses", () => {
    const from = synced([service("web", { externalTrafficPolicy: "Local" })], [slice("web", [there()])]);
    expect(outcome(from, { ...CLUSTER_IP, ...POD })).toBe("there keep");
    expect(from.metrics().noLocalEndpointsExternal).toBe(0);
    expect(from.describe()[0].externalTrafficPolicy).toBe("Cluster");
  });

  it("are counted where they leave a node without endpoints", () => {
    expect(proxy("Local", "Local", [there()]).metrics()).toMatchObject({
      noLocalEndpointsInternal: 1,
      noLocalEndpointsExternal: 1,
    });
    for (const endpoints of [[], [here()]])
      expect(proxy("Local", "Local", endpoints).metrics()).toMatchObject({
        noLocalEndpointsInternal: 0,
        noLocalEndpointsExternal: 0,
      });
  });

  it("session affinity holds under each policy by itself", () => {
    const spec = {
      type: "NodePort",
      sessionAffinity: "ClientIP",
      externalTrafficPolicy: "Local",
      ports: [{ name: "p", port: 80, nodePort: 30080 }],
    };
    const endpoints = [here(), endpoint("172.16.1.3"), there()];
    const from = synced([service("web", spec)], [slice("web", endpoints)]);
    const outside = { ...NODE_PORT, ...CLIENT };
    const inside = { ...CLUSTER_IP, src: CLIENT.src };
    const first = [pick(from, outside), pick(from, inside), pick(from, inside)];
    for (let i = 0; i < 4; i++) expect([pick(from, outside), pick(from, inside)]).toEqual(first.slice(0, 2));
    expect(first[1]).toBe(first[2]);
  });

  it("describes policies and the endpoints that either uses", () => {
    const from = proxy("Cluster", "Local", [here(LEAVING), there()]);
    expect(from.describe()).toMatchObject([
      {
        internalTrafficPolicy: "Cluster",
        externalTrafficPolicy: "Local",
        externalIps: ["192.0.2.7"],
        loadBalancerIps: ["203.0.113.9"],
        scheduler: "rr",
        endpoints: [{ used: true }, { used: true }],
      },
    ]);
  });
});
