import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { NetworkPolicy } from "../../src/kube/index.js";
import { type Lab, refusal, startLab, take } from "./harness.js";
import { sendRaw } from "./raw.js";

let lab: Lab;
beforeAll(async () => {
  lab = await startLab();
});
afterAll(() => lab.close());

const POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  sendRaw({ socketPath: lab.socketPath }, method, path, body, headers);
const policy = (name: string, spec: object = {}, labels: Record<string, string> = {}) =>
  ({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace: "default", labels },
    spec: { podSelector: {}, ...spec },
  }) as NetworkPolicy;
const create = (name: string, spec?: object) => lab.http.create("networkpolicies", policy(name, spec));

describe("the NetworkPolicy API", () => {
  it("[sig-network] Netpol API should support creating NetworkPolicy API operations", async () => {
    const groups = (await send("GET", "/apis")).json.groups as { name: string }[];
    expect(groups).toContainEqual({
      name: "networking.k8s.io",
      versions: [{ groupVersion: "networking.k8s.io/v1", version: "v1" }],
      preferredVersion: { groupVersion: "networking.k8s.io/v1", version: "v1" },
    });
    const { resources } = (await send("GET", "/apis/networking.k8s.io/v1")).json as { resources: object[] };
    expect(resources).toContainEqual(
      expect.objectContaining({ name: "networkpolicies", kind: "NetworkPolicy", shortNames: ["netpol"] }),
    );

    const labels = { "special-label": "crud" };
    const ingress = [{ from: [{ namespaceSelector: { matchLabels: { ns: "a" } } }] }];
    const created = [];
    for (const name of ["a", "b", "c"])
      created.push((await send("POST", POLICIES, policy(name, { ingress }, labels))).code);
    expect(created).toEqual([201, 201, 201]);
    expect((await send("POST", POLICIES, policy("a"))).code).toBe(409);
    expect((await send("GET", `${POLICIES}/a`)).json).toMatchObject({
      metadata: { name: "a", generation: 1 },
      spec: { podSelector: {}, ingress, policyTypes: ["Ingress"] },
    });
    for (const path of [POLICIES, "/apis/networking.k8s.io/v1/networkpolicies"]) {
      const list = (await send("GET", `${path}?labelSelector=special-label%3Dcrud`)).json;
      expect((list.items as object[]).length).toBe(3);
    }

    const version = (await lab.http.list("networkpolicies")).metadata.resourceVersion!;
    const watch = lab.http.watch<NetworkPolicy>("networkpolicies", { resourceVersion: version });
    const events = watch[Symbol.asyncIterator]();
    const patch = { metadata: { annotations: { patched: "true" } } };
    const patched = await send("PATCH", `${POLICIES}/a`, patch, {
      "content-type": "application/merge-patch+json",
    });
    expect(patched.json).toMatchObject({ metadata: { annotations: { patched: "true" }, generation: 1 } });
    const updated = policy("a", { ingress, policyTypes: ["Ingress", "Egress"] }, labels);
    expect((await send("PUT", `${POLICIES}/a`, updated)).json).toMatchObject({ metadata: { generation: 2 } });
    expect((await send("DELETE", `${POLICIES}/a`)).code).toBe(200);
    expect(await take(events, 3)).toEqual(["MODIFIED a", "MODIFIED a", "DELETED a"]);
    expect((await send("GET", `${POLICIES}/a`)).code).toBe(404);

    expect((await send("DELETE", `${POLICIES}?labelSelector=special-label%3Dcrud`)).code).toBe(200);
    expect(await take(events, 2)).toEqual(["DELETED b", "DELETED c"]);
    await events.return?.();
    expect((await lab.http.list("networkpolicies")).items).toEqual([]);
  });

  it("[sig-network] Netpol API should support creating NetworkPolicy API with endport field", async () => {
    const egress = [{ ports: [{ port: 32000, endPort: 32768 }, { port: "http" }] }];
    const made = await create("endport", { egress });
    expect(made).toMatchObject({
      spec: {
        egress: [
          {
            ports: [
              { protocol: "TCP", port: 32000, endPort: 32768 },
              { protocol: "TCP", port: "http" },
            ],
          },
        ],
        policyTypes: ["Ingress", "Egress"],
      },
    });
  });
});

const ports = (...list: object[]) => ({ ingress: [{ ports: list }] });
const to = (...list: object[]) => ({ egress: [{ to: list }] });
const block = (cidr: string, ...except: string[]) => to({ ipBlock: { cidr, except } });
const PORT = "must be between 1 and 65535, inclusive";
const AT = "spec.ingress[0].ports[0]";
const PEER = "spec.egress[0].to[0]";
const SUBSET = "must be a strict subset of `cidr`";

describe("NetworkPolicies are refused", () => {
  it.each<[object, ...string[]]>([
    [ports({ port: 0 }), `${AT}.port: Invalid value: 0: ${PORT}`],
    [ports({ port: 65536 }), `${AT}.port: Invalid value: 65536: ${PORT}`],
    [ports({ port: "a--b" }), `${AT}.port: Invalid value: "a--b": must not contain consecutive hyphens`],
    [
      ports({ protocol: "ICMP" }),
      `${AT}.protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"`,
    ],
    [
      ports({ endPort: 80 }),
      `${AT}.endPort: Invalid value: 80: may not be specified when \`port\` is not specified`,
    ],
    [
      ports({ port: "http", endPort: 80 }),
      `${AT}.endPort: Invalid value: 80: may not be specified when \`port\` is non-numeric`,
    ],
    [
      ports({ port: 80, endPort: 79 }),
      `${AT}.endPort: Invalid value: 80: must be greater than or equal to \`port\``,
    ],
    [ports({ port: 80, endPort: 65536 }), `${AT}.endPort: Invalid value: 65536: ${PORT}`],
    [to({}), `${PEER}: Required value: must specify a peer`],
    [
      to({ podSelector: {}, ipBlock: { cidr: "10.0.0.0/8" } }),
      `${PEER}: Forbidden: may not specify both ipBlock and another peer`,
    ],
    [to({ ipBlock: { cidr: "" } }), `${PEER}.ipBlock.cidr: Required value`],
    [
      block("10.0.0.1"),
      `${PEER}.ipBlock.cidr: Invalid value: "10.0.0.1": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`,
    ],
    [
      block("10.0.0.0/8", "10.1.0.0/16", "nonsense"),
      `${PEER}.ipBlock.except[1]: Invalid value: "nonsense": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`,
    ],
    [
      block("10.0.0.0/8", "11.0.0.0/16"),
      `${PEER}.ipBlock.except[0]: Invalid value: "11.0.0.0/16": ${SUBSET}`,
    ],
    [block("10.0.0.0/8", "10.0.0.0/8"), `${PEER}.ipBlock.except[0]: Invalid value: "10.0.0.0/8": ${SUBSET}`],
    [block("10.0.0.0/8", "fd00::/16"), `${PEER}.ipBlock.except[0]: Invalid value: "fd00::/16": ${SUBSET}`],
    [
      block("fd00::/48", "fd00::/64", "fd01::/64"),
      `${PEER}.ipBlock.except[1]: Invalid value: "fd01::/64": ${SUBSET}`,
    ],
    [
      to({ podSelector: { matchExpressions: [{ key: "a", operator: "In" }] } }),
      `${PEER}.podSelector.matchExpressions[0].values: Required value: must be specified when \`operator\` is 'In' or 'NotIn'`,
    ],
    [
      { podSelector: { matchExpressions: [{ key: "a", operator: "Near" }] } },
      'spec.podSelector.matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator',
    ],
    [
      { policyTypes: ["Ingress", "Nat"] },
      'spec.policyTypes[1]: Unsupported value: "Nat": supported values: "Egress", "Ingress"',
    ],
    [
      { policyTypes: ["Ingress", "Egress", "Ingress"] },
      'spec.policyTypes: Invalid value: []string{"Ingress", "Egress", "Ingress"}: may not specify more than two policyTypes',
    ],
  ])("%j", async (spec, ...expected) => {
    const status = await refusal(create("bad", spec));
    expect(status).toMatchObject({ code: 422, reason: "Invalid" });
    expect(status.details?.causes?.map(({ field, message }) => `${field}: ${message}`)).toEqual(expected);
  });
});
