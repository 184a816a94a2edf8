import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Ingress, KubeObject, ResourceName } from "../../src/kube/index.js";
import { type Lab, refusal, startLab, take } from "./harness.js";
import { type Answer, sendRaw } from "./raw.js";

let lab: Lab;
beforeAll(async () => {
  lab = await startLab();
});
afterAll(() => lab.close());

const GROUP = "/apis/networking.k8s.io/v1";
const send = (method: string, path: string, body?: unknown) =>
  sendRaw({ socketPath: lab.socketPath }, method, `${GROUP}${path}`, body);
const merge = (path: string, body: unknown) =>
  sendRaw({ socketPath: lab.socketPath }, "PATCH", `${GROUP}${path}`, body, {
    "content-type": "application/merge-patch+json",
  });
const INGRESSES = "/namespaces/default/ingresses";
const withAnnotation = (answer: Answer, name: string) => {
  const object = answer.json as KubeObject;
  const annotations = { ...object.metadata?.annotations, [name]: "true" };
  return { ...object, metadata: { ...object.metadata, annotations } };
};
async function expectServed(kind: string, name: string): Promise<void> {
  const { resources } = (await send("GET", "")).json as { resources: { name: string; kind: string }[] };
  expect(resources.filter((one) => one.kind === kind).map((one) => one.name)).toContain(name);
}
const rules = (path = "/", pathType: string | undefined = "Prefix", backend: object = SERVICE) => ({
  rules: [{ host: "foo.bar.com", http: { paths: [{ path, pathType, backend }] } }],
});
const SERVICE = { service: { name: "test-backend", port: { number: 8080 } } };
const ingress = (spec: object, metadata: object = { generateName: "e2e-example-ing" }) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "Ingress",
  metadata: { labels: { "special-label": "ing" }, ...metadata },
  spec,
});

describe("Ingress API", () => {
  it("[sig-network] Ingress API should support creating Ingress API operations", async () => {
    await expectServed("Ingress", "ingresses");
    await expectServed("Ingress", "ingresses/status");
    const spec = { defaultBackend: SERVICE, ...rules() };
    const created = [];
    for (let count = 0; count < 3; count++) created.push(await send("POST", INGRESSES, ingress(spec)));
    expect(created.map(({ code }) => code)).toEqual([201, 201, 201]);
    const { name = "", uid } = (created[0]!.json as KubeObject).metadata ?? {};
    const path = `${INGRESSES}/${name}`;
    expect((await send("GET", path)).json).toMatchObject({ metadata: { uid, generation: 1 }, spec });
    const list = await lab.http.list("ingresses", { labelSelector: "special-label=ing" });
    expect(list.items).toHaveLength(3);
    const events = lab.http
      .watch<Ingress>("ingresses", { resourceVersion: list.metadata.resourceVersion! })
      [Symbol.asyncIterator]();
    const patched = await merge(path, { metadata: { annotations: { patched: "true" } } });
    expect(patched.json).toMatchObject({ metadata: { annotations: { patched: "true" } } });
    const updated = await send("PUT", path, withAnnotation(patched, "updated"));
    expect(updated.json).toMatchObject({ metadata: { annotations: { patched: "true", updated: "true" } } });

    const loadBalancer = (ip: string) => ({ status: { loadBalancer: { ingress: [{ ip }] } } });
    const patchedStatus = await merge(`${path}/status`, {
      metadata: { annotations: { patchedstatus: "true" } },
      ...loadBalancer("169.1.1.1"),
    });
    expect(patchedStatus.json).toMatchObject(loadBalancer("169.1.1.1"));
    const status = { ...(patchedStatus.json as object), ...loadBalancer("169.1.1.2") };
    expect((await send("PUT", `${path}/status`, status)).json).toMatchObject(loadBalancer("169.1.1.2"));
    expect((await send("GET", `${path}/status`)).json).toMatchObject(loadBalancer("169.1.1.2"));
    expect(await take(events, 4)).toEqual(Array(4).fill(`MODIFIED ${name}`));

    expect((await send("DELETE", path)).code).toBe(200);
    expect(await take(events, 1)).toEqual([`DELETED ${name}`]);
    await events.return?.();
    expect((await send("DELETE", `${INGRESSES}?labelSelector=special-label%3Ding`)).code).toBe(200);
    expect((await lab.http.list("ingresses")).items).toEqual([]);
  });

  const AT = "spec.rules[0].http.paths[0]";
  it.each<[object, ...string[]]>([
    [{}, "spec: Invalid value: []string{}: either `defaultBackend` or `rules` must be specified"],
    [{ defaultBackend: {} }, "spec.defaultBackend: Required value: resource or service backend is required"],
    [
      { defaultBackend: { ...SERVICE, resource: { kind: "A", name: "b" } } },
      'spec.defaultBackend: Invalid value: "": cannot set both resource and service backends',
    ],
    [
      { defaultBackend: { service: { name: "a" } } },
      "spec.defaultBackend.service.port: Required value: port name or number is required",
    ],
    [
      { defaultBackend: { service: { name: "a", port: { name: "http", number: 80 } } } },
      'spec.defaultBackend.service.port: Invalid value: "": cannot set both port name & port number',
    ],
    [
      { rules: [{ host: "10.0.0.1" }] },
      'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
    ],
    [{ rules: [{ http: { paths: [] } }] }, "spec.rules[0].http.paths: Required value"],
    [rules("a"), `${AT}.path: Invalid value: "a": must be an absolute path`],
    [rules("/a//b"), `${AT}.path: Invalid value: "/a//b": must not contain '//'`],
    [rules("/a/.."), `${AT}.path: Invalid value: "/a/..": cannot end with '/..'`],
    [
      rules("/", "Regex"),
      `${AT}.pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"`,
    ],
    [
      { rules: [{ http: { paths: [{ path: "/", backend: SERVICE }] } }] },
      `${AT}.pathType: Required value: pathType must be specified`,
    ],
  ])("%j is refused", async (spec, ...expected) => {
    const bad = ingress(spec, { name: "bad", namespace: "default" }) as Ingress;
    const status = await refusal(lab.http.create("ingresses", bad));
    expect(status.details?.causes?.map(({ field, message }) => `${field}: ${message}`)).toEqual(expected);
  });

  it("takes wildcard hosts, and any path that is specific to the implementation", async () => {
    const spec = { rules: [{ ...rules("/..", "ImplementationSpecific").rules[0], host: "*.example.com" }] };
    expect((await send("POST", INGRESSES, ingress(spec, { name: "wild" }))).code).toBe(201);
    await send("DELETE", `${INGRESSES}/wild`);
  });
});

describe("IngressClass API", () => {
  const CLASSES = "/ingressclasses";
  const ingressClass = (metadata: object, spec: object = { controller: "example.com/controller" }) => ({
    apiVersion: "networking.k8s.io/v1",
    kind: "IngressClass",
    metadata: { labels: { "ingressclass-label": "crud" }, ...metadata },
    spec,
  });

  it("[sig-network] IngressClass API should support creating IngressClass API operations", async () => {
    await expectServed("IngressClass", "ingressclasses");
    for (const name of ["ingressclass1", "ingressclass2", "ingressclass3"])
      expect((await send("POST", CLASSES, ingressClass({ name }))).code).toBe(201);
    const list = await lab.http.list("ingressclasses", { labelSelector: "ingressclass-label=crud" });
    expect(list.items).toHaveLength(3);
    const path = `${CLASSES}/ingressclass1`;
    const patched = await merge(path, { metadata: { annotations: { patched: "true" } } });
    expect(patched.json).toMatchObject({ metadata: { annotations: { patched: "true" } } });
    const updated = await send("PUT", path, withAnnotation(patched, "updated"));
    expect(updated.json).toMatchObject({ metadata: { annotations: { updated: "true" } } });
    const events = lab.http
      .watch("ingressclasses", { resourceVersion: list.metadata.resourceVersion! })
      [Symbol.asyncIterator]();
    expect(await take(events, 2)).toEqual(["MODIFIED ingressclass1", "MODIFIED ingressclass1"]);
    expect((await send("DELETE", path)).code).toBe(200);
    expect(await take(events, 1)).toEqual(["DELETED ingressclass1"]);
    await events.return?.();
    await send("DELETE", `${CLASSES}?labelSelector=ingressclass-label%3Dcrud`);
    expect((await lab.http.list("ingressclasses")).items).toEqual([]);
  });

  const IS_DEFAULT = { annotations: { "ingressclass.kubernetes.io/is-default-class": "true" } };
  const classOfNew = async (name: string, spec: object = {}) => {
    const made = await send("POST", INGRESSES, ingress({ defaultBackend: SERVICE, ...spec }, { name }));
    await send("DELETE", `${INGRESSES}/${name}`);
    return (made.json as Ingress).spec?.ingressClassName;
  };

  it("[sig-network] IngressClass should set default value on new IngressClass [Serial]", async () => {
    await send("POST", CLASSES, ingressClass({ name: "ingressclass1", ...IS_DEFAULT }));
    expect(await classOfNew("ingress1")).toBe("ingressclass1");
    expect(await classOfNew("ingress2", { ingressClassName: "other" })).toBe("other");
    await send("DELETE", `${CLASSES}/ingressclass1`);
  });

  it("[sig-network] IngressClass should not set default value if no default IngressClass [Serial]", async () => {
    await send("POST", CLASSES, ingressClass({ name: "ingressclass1" }));
    expect(await classOfNew("ingress1")).toBeUndefined();
    await send("DELETE", `${CLASSES}/ingressclass1`);
  });

  it("[sig-network] IngressClass should choose the one with the later CreationTimestamp, if equal the one with the lower name when two ingressClasses are marked as default [Serial]", async () => {
    let nowMs = Date.parse("2024-01-01T00:00:00Z");
    const other = await startLab({ now: () => nowMs });
    const made = async (name: string) => {
      await other.http.create("ingressclasses", ingressClass({ name, ...IS_DEFAULT }) as KubeObject);
      const object = ingress({ defaultBackend: SERVICE }, { name: `with-${name}`, namespace: "default" });
      return (await other.http.create("ingresses", object as Ingress)).spec?.ingressClassName;
    };
    expect(await made("b")).toBe("b");
    expect(await made("c")).toBe("b");
    expect(await made("a")).toBe("a");
    nowMs += 1000;
    expect(await made("z")).toBe("z");
    await other.close();
  });

  it("[sig-network] IngressClass should allow IngressClass to have Namespace-scoped parameters [Serial]", async () => {
    const parameters = { kind: "Cm", name: "params", scope: "Namespace", namespace: "default" };
    const spec = { controller: "example.com/controller", parameters };
    expect((await send("POST", CLASSES, ingressClass({ name: "scoped" }, spec))).json).toMatchObject({
      spec,
    });
    const { namespace: _, ...without } = parameters;
    const bad = ingressClass({ name: "bad" }, { ...spec, parameters: without });
    expect((await send("POST", CLASSES, bad)).code).toBe(422);
    await send("DELETE", `${CLASSES}/scoped`);
  });
});

describe("ServiceCIDR and IPAddress API", () => {
  async function expectWatchable(resource: ResourceName): Promise<void> {
    const events = lab.http.watch(resource)[Symbol.asyncIterator]();
    expect(await take(events, 1)).toEqual([expect.stringMatching(/^ADDED /)]);
    await events.return?.();
  }

  it("[sig-network] ServiceCIDR and IPAddress API should support ServiceCIDR API operations", async () => {
    await expectServed("ServiceCIDR", "servicecidrs");
    await expectServed("ServiceCIDR", "servicecidrs/status");
    const path = "/servicecidrs/kubernetes";
    expect((await send("GET", path)).json).toMatchObject({ spec: { cidrs: ["10.254.0.0/16"] } });
    const patched = await merge(path, { metadata: { annotations: { patched: "true" } } });
    expect(patched.json).toMatchObject({ metadata: { annotations: { patched: "true" } } });
    const updated = await send("PUT", path, withAnnotation(patched, "updated"));
    expect(updated.json).toMatchObject({ metadata: { annotations: { updated: "true" } } });
    expect((await lab.http.list("servicecidrs")).items).toHaveLength(1);
    await expectWatchable("servicecidrs");
    const bad = (cidrs: string[]) =>
      send("POST", "/servicecidrs", {
        apiVersion: "networking.k8s.io/v1",
        kind: "ServiceCIDR",
        metadata: { name: "bad" },
        spec: { cidrs },
      });
    for (const cidrs of [[], ["10.0.0.0"], ["10.0.0.1/24"], ["10.0.0.0/24", "10.0.1.0/24"], ["10.0.0.0/31"]])
      expect(await bad(cidrs)).toMatchObject({ code: 422 });
    expect((await merge(path, { spec: { cidrs: ["10.0.0.0/24"] } })).code).toBe(422);
  });

  it("[sig-network] ServiceCIDR and IPAddress API should support IPAddress API operations", async () => {
    await expectServed("IPAddress", "ipaddresses");
    const parentRef = { group: "mygroup", resource: "myresources", namespace: "foo", name: "bar" };
    const address = (name: string, type: string) => ({
      apiVersion: "networking.k8s.io/v1",
      kind: "IPAddress",
      metadata: { name, labels: { type } },
      spec: { parentRef },
    });
    const all = "/ipaddresses";
    const path = `${all}/255.255.255.255`;
    expect((await send("POST", all, address("255.255.255.255", "broadcast"))).code).toBe(201);
    expect((await send("POST", all, address("fe80::42:1dff:fe84:f9e2", "link-local"))).code).toBe(201);
    for (const name of ["010.0.0.1", "fd00::0:1", "bar"])
      expect(await send("POST", all, address(name, "bad"))).toMatchObject({ code: 422 });
    const patched = await merge(path, { metadata: { annotations: { patched: "true" } } });
    expect(patched.json).toMatchObject({ metadata: { annotations: { patched: "true" } } });
    expect((await send("PUT", path, withAnnotation(patched, "updated"))).code).toBe(200);
    expect((await merge(path, { spec: { parentRef: { name: "other" } } })).code).toBe(422);
    expect((await lab.http.list("ipaddresses", { labelSelector: "type=broadcast" })).items).toHaveLength(1);
    await expectWatchable("ipaddresses");
    expect((await send("DELETE", path)).code).toBe(200);
    expect((await send("DELETE", `${all}?labelSelector=type%3Dlink-local`)).code).toBe(200);
    expect((await lab.http.list("ipaddresses", { labelSelector: "type=link-local" })).items).toEqual([]);
  });
});
