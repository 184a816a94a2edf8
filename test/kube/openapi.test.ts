/** Documents and counters at Kubernetes' own paths. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RESOURCES } from "../../src/kube/resources.js";
import { resourceRoute } from "../../src/kube/server/route.js";
import { type Lab, pod, startLab } from "./harness.js";
import { rawService, SERVICES, sendRaw } from "./raw.js";

interface Operation {
  readonly "x-kubernetes-action": string;
  readonly consumes: readonly string[];
}
interface Document {
  readonly swagger: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly definitions: Readonly<Record<string, { readonly properties: Readonly<Record<string, object>> }>>;
}

let lab: Lab;
beforeAll(async () => {
  lab = await startLab();
});
afterAll(() => lab.close());

const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  sendRaw({ socketPath: lab.socketPath }, method, path, body, headers);
const document = async () => (await send("GET", "/openapi/v2")).json as unknown as Document;

it("[sig-network] Networking should provide unchanging, static URL paths for kubernetes api services", async () => {
  for (const path of ["/healthz", "/api", "/apis", "/metrics", "/openapi/v2", "/version"]) {
    const { code, text } = await send("GET", path);
    expect([path, code, text !== ""]).toEqual([path, 200, true]);
    expect((await send("POST", path, {})).code).toBe(405);
  }
});

describe("/openapi/v2", () => {
  it("has the paths that the server serves, of every resource", async () => {
    const { swagger, paths } = await document();
    expect(swagger).toBe("2.0");
    const served = Object.keys(paths).map((path) => {
      const parts = path
        .replaceAll(/\{\w+\}/g, "x")
        .split("/")
        .slice(1);
      const route = resourceRoute(parts);
      expect([path, route?.name !== undefined]).toEqual([path, path.includes("{name}")]);
      return route?.info.name;
    });
    expect(new Set(served)).toEqual(new Set(RESOURCES.map(({ name }) => name)));
    expect(Object.keys(paths)).toContain(
      "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}",
    );
    const item = paths["/api/v1/namespaces/{namespace}/services/{name}/status"];
    expect(Object.keys(item ?? {}).sort()).toEqual(["get", "parameters", "patch", "put"]);
    expect(item?.patch?.consumes).toContain("application/strategic-merge-patch+json");
  });

  it("defines every type that it refers to, with the fields that objects are decoded by", async () => {
    const { definitions, paths } = await document();
    const text = JSON.stringify({ definitions, paths });
    const named = [...text.matchAll(/"#\/definitions\/([^"]+)"/g)].map(([, name]) => name ?? "");
    expect(named.length).toBeGreaterThan(100);
    expect(named.filter((name) => definitions[name] === undefined)).toEqual([]);
    const properties = (name: string) => definitions[name]?.properties ?? {};
    expect(properties("io.k8s.api.core.v1.ServicePort")).toMatchObject({
      port: { type: "integer", format: "int32" },
      targetPort: { type: "string", format: "int-or-string" },
    });
    expect(properties("io.k8s.api.core.v1.ServiceSpec").ports).toMatchObject({
      type: "array",
      items: { $ref: "#/definitions/io.k8s.api.core.v1.ServicePort" },
      "x-kubernetes-patch-merge-key": "port",
    });
    expect(properties("io.k8s.api.networking.v1.Ingress").metadata).toEqual({
      $ref: "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
    });
    expect(properties("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").creationTimestamp).toEqual({
      ...{ type: "string", format: "date-time" },
    });
  });

  it("is no bytes for kubectl, which asks for protobuf, and nothing for others", async () => {
    const ask = (accept: string) => send("GET", "/openapi/v2", undefined, { accept });
    expect(await ask("application/com.github.proto-openapi.spec.v2@v1.0+protobuf")).toMatchObject({
      code: 200,
      text: "",
      headers: { "content-type": "application/octet-stream" },
    });
    expect((await ask("text/html")).code).toBe(406);
  });
});

describe("/metrics", () => {
  const count = async (labels: RegExp) => {
    const { text } = await send("GET", "/metrics");
    const lines = text.split("\n").filter((line) => labels.test(line));
    return lines.map((line) => Number(line.split(" ").at(-1)));
  };

  it("counts requests by what they are about and how they ended", async () => {
    await send("POST", SERVICES, rawService("counted"));
    await send("POST", SERVICES, rawService("counted"));
    await send("GET", `${SERVICES}/counted`);
    await send("GET", SERVICES);
    await send("DELETE", `${SERVICES}/counted`);
    const total = (verb: string, scope: string, code: number) =>
      new RegExp(
        `^apiserver_request_total\\{verb="${verb}",group="",version="v1",resource="services",subresource="",scope="${scope}",code="${code}"\\}`,
      );
    expect(await count(total("POST", "namespace", 201))).toEqual([1]);
    expect(await count(total("POST", "namespace", 409))).toEqual([1]);
    expect(await count(total("GET", "resource", 200))).toEqual([1]);
    expect(await count(total("LIST", "namespace", 200))).toEqual([1]);
    expect(await count(total("DELETE", "resource", 200))).toEqual([1]);
    expect(
      await count(/^apiserver_request_duration_seconds_count\{.*resource="services".*scope="namespace"/),
    ).toEqual([2, 1]);
    expect(await count(/^apiserver_current_inflight_requests/)).toEqual([0, 0]);
  });

  it("counts a watch when it has ended, and times it not", async () => {
    await lab.local.create("pods", pod("watched"));
    await send("GET", "/api/v1/pods?watch=true&timeoutSeconds=1");
    expect(await count(/^apiserver_request_total\{verb="WATCH".*resource="pods".*code="200"\}/)).toEqual([1]);
    expect(await count(/^apiserver_request_duration_seconds_count\{verb="WATCH"/)).toEqual([]);
  });
});
