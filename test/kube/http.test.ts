import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Service } from "../../src/kube/index.js";
import { controller, type Lab, startLab, take } from "./harness.js";
import { rawService, SERVICES, sendRaw } from "./raw.js";

let lab: Lab;
beforeAll(async () => {
  lab = await startLab({
    extraRoutes: (_, response, url) => {
      if (!url.pathname.startsWith("/extra/")) return false;
      response.end(`extra ${url.searchParams.get("q")}`);
      return true;
    },
  });
});
afterAll(() => lab.close());

const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  sendRaw({ socketPath: lab.socketPath }, method, path, body, headers);

describe("discovery", () => {
  it("names groups, versions and resources", async () => {
    expect((await send("GET", "/api")).json).toMatchObject({ kind: "APIVersions", versions: ["v1"] });
    const groups = (await send("GET", "/apis")).json.groups as { name: string }[];
    expect(groups.map((group) => group.name)).toEqual(["apps", "discovery.k8s.io", "networking.k8s.io"]);
    expect((await send("GET", "/apis/apps")).json).toMatchObject({
      kind: "APIGroup",
      preferredVersion: { groupVersion: "apps/v1" },
    });
    const core = (await send("GET", "/api/v1")).json as {
      groupVersion: string;
      resources: { name: string }[];
    };
    expect(core.groupVersion).toBe("v1");
    expect(core.resources).toContainEqual({
      name: "services",
      singularName: "service",
      namespaced: true,
      kind: "Service",
      verbs: ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
      shortNames: ["svc"],
      categories: ["all"],
    });
    expect(core.resources).toContainEqual(
      expect.objectContaining({ name: "replicationcontrollers/scale", kind: "Scale", group: "autoscaling" }),
    );
    expect((await send("GET", "/apis/discovery.k8s.io/v1")).json).toMatchObject({
      groupVersion: "discovery.k8s.io/v1",
    });
  });

  it("tells version and health", async () => {
    expect((await send("GET", "/version")).json).toMatchObject({
      major: "1",
      gitVersion: expect.stringMatching(/^v1\./),
    });
    for (const path of ["/healthz", "/livez", "/readyz"]) {
      expect(await send("GET", path)).toMatchObject({ code: 200, text: "ok" });
    }
  });

  it("finds nothing elsewhere", async () => {
    for (const path of [
      "/",
      "/api/v2",
      "/apis/batch/v1/jobs",
      "/api/v1/pods/x",
      "/api/v1/namespaces/default/nodes",
      `${SERVICES}/a/b`,
      "/api/v1/namespaces/default/pods/a%2Fb",
      "/api/v1/%E0%A4%A",
      "//",
    ]) {
      expect((await send("GET", path)).json).toMatchObject({
        kind: "Status",
        code: 404,
        reason: "NotFound",
        message: "the server could not find the requested resource",
      });
    }
    expect((await send("GET", "/extra/x?q=1")).text).toBe("extra 1");
  });
});

describe("resources over HTTP", () => {
  it("are created, replaced, patched and deleted", async () => {
    const created = await send("POST", SERVICES, rawService("a"));
    expect(created).toMatchObject({
      code: 201,
      json: { kind: "Service", metadata: { name: "a", namespace: "default" } },
    });
    expect((await send("GET", `${SERVICES}/a`)).json).toEqual(created.json);
    const patched = await send(
      "PATCH",
      `${SERVICES}/a`,
      { metadata: { labels: { x: "y" } }, spec: { selector: { app: "b" } } },
      { "content-type": "application/merge-patch+json" },
    );
    expect(patched).toMatchObject({
      code: 200,
      json: { metadata: { labels: { x: "y" } }, spec: { selector: { app: "b" } } },
    });
    const removed = await send(
      "PATCH",
      `${SERVICES}/a`,
      { metadata: { labels: null } },
      { "content-type": "application/merge-patch+json" },
    );
    expect((removed.json.metadata as { labels?: object }).labels).toBeUndefined();
    expect((await send("PUT", `${SERVICES}/a`, rawService("b"))).json).toMatchObject({
      code: 400,
      message: "the name of the object (b) does not match the name on the URL (a)",
    });
    const gone = await send("DELETE", `${SERVICES}/a`, {
      kind: "DeleteOptions",
      apiVersion: "v1",
      propagationPolicy: "Background",
    });
    const { uid } = created.json.metadata as { uid: string };
    expect(gone.json).toMatchObject({
      kind: "Status",
      status: "Success",
      details: { name: "a", kind: "services", uid },
    });
    expect((await send("GET", `${SERVICES}/a`)).code).toBe(404);
  });

  it("are listed across namespaces and deleted in collections", async () => {
    await send("POST", "/api/v1/namespaces", {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "n2" },
    });
    for (const [namespace, name] of [
      ["default", "c1"],
      ["default", "c2"],
      ["n2", "c3"],
    ]) {
      const object = { ...rawService(name!), metadata: { name, labels: { set: "c" } } };
      expect((await send("POST", `/api/v1/namespaces/${namespace}/services`, object)).code).toBe(201);
    }
    const names = async (path: string) =>
      ((await send("GET", path)).json.items as { metadata: { name: string } }[]).map(
        (one) => one.metadata.name,
      );
    expect(await names("/api/v1/services?labelSelector=set%3Dc")).toEqual(["c1", "c2", "c3"]);
    expect((await send("DELETE", `${SERVICES}?labelSelector=set%3Dc`)).json).toMatchObject({
      kind: "ServiceList",
    });
    expect(await names("/api/v1/services?labelSelector=set%3Dc")).toEqual(["c3"]);
    expect((await send("DELETE", "/api/v1/services")).code).toBe(405);
  });

  it("have statuses and scales of their own", async () => {
    await lab.local.create("replicationcontrollers", controller("web", 2));
    const path = "/api/v1/namespaces/default/replicationcontrollers/web";
    const scale = await send("GET", `${path}/scale`);
    expect(scale.json).toMatchObject({
      kind: "Scale",
      apiVersion: "autoscaling/v1",
      metadata: { name: "web" },
      spec: { replicas: 2 },
      status: { replicas: 0, selector: "app=web" },
    });
    expect((await send("PUT", `${path}/scale`, { ...scale.json, spec: { replicas: 5 } })).json).toMatchObject(
      { spec: { replicas: 5 } },
    );
    expect((await send("PUT", `${path}/scale`, { ...scale.json, spec: { replicas: 6 } })).json).toMatchObject(
      { code: 409, reason: "Conflict" },
    );
    const merge = { "content-type": "application/merge-patch+json" };
    expect((await send("PATCH", `${path}/scale`, { spec: { replicas: 3 } }, merge)).json).toMatchObject({
      spec: { replicas: 3 },
    });
    expect((await send("PATCH", `${path}/scale`, { spec: { replicas: -1 } }, merge)).json).toMatchObject({
      code: 422,
    });
    expect((await send("PATCH", `${path}/status`, { status: { replicas: 3 } }, merge)).json).toMatchObject({
      spec: { replicas: 3 },
      status: { replicas: 3 },
      metadata: { generation: 3 },
    });
    expect((await send("GET", `${SERVICES}/x/scale`)).code).toBe(404);
  });

  it("say what they dropped, or refuse it, as asked", async () => {
    const warned = await send("POST", SERVICES, rawService("w1", { prots: [] }));
    expect(warned).toMatchObject({
      code: 201,
      headers: { warning: '299 - "unknown field \\"spec.prots\\""' },
    });
    expect(warned.json.spec as object).not.toHaveProperty("prots");
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`an-unknown-field-${i}`, 1]));
    const strange = await send("POST", SERVICES, rawService("w5", { "日\x7f": 1, ...many }));
    expect(strange.code).toBe(201);
    const warning = String(strange.headers.warning);
    expect(warning).toContain(
      '299 - "unknown field \\"spec.\\u65e5\\u007f\\"", 299 - "unknown field \\"spec.an-unknown-field-0',
    );
    expect(warning.length).toBeLessThan(5000);
    expect(
      (await send("POST", `${SERVICES}?fieldValidation=Ignore`, rawService("w2", { prots: [] }))).headers
        .warning,
    ).toBeUndefined();
    expect(
      (await send("POST", `${SERVICES}?fieldValidation=Strict`, rawService("w3", { prots: [] }))).json,
    ).toMatchObject({
      code: 400,
      message:
        'Service in version "v1" cannot be handled as a Service: strict decoding error: unknown field "spec.prots"',
    });
    expect((await send("POST", `${SERVICES}?dryRun=All`, rawService("w4"))).json).toMatchObject({
      code: 400,
      message: "dryRun is not supported by this server",
    });
    expect((await send("GET", `${SERVICES}/w4`)).code).toBe(404);
  });

  it("watch in lines, one object by its path too", async () => {
    await send("POST", SERVICES, rawService("watched"));
    const lines = async (path: string) =>
      (await send("GET", path)).text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
    const [first] = await lines(
      `${SERVICES}?watch=true&fieldSelector=metadata.name%3Dwatched&timeoutSeconds=1`,
    );
    expect(first).toMatchObject({
      type: "ADDED",
      object: { kind: "Service", apiVersion: "v1", metadata: { name: "watched" } },
    });
    const streamed = await lines(`${SERVICES}/watched?watch=1&sendInitialEvents=true&timeoutSeconds=1`);
    expect(streamed).toMatchObject([
      { type: "ADDED" },
      { type: "BOOKMARK", object: { metadata: { annotations: { "k8s.io/initial-events-end": "true" } } } },
    ]);
  });

  it("end a watch whose reader has left, and no other", async () => {
    const stay = lab.http.watch<Service>("services", { labelSelector: "left=yes" })[Symbol.asyncIterator]();
    const staying = take(stay, 1);
    const socket = connect(lab.socketPath);
    socket.write(`GET ${SERVICES}?watch=true&resourceVersion=1 HTTP/1.1\r\nHost: x\r\n\r\n`);
    await once(socket, "data");
    socket.destroy();
    await send("POST", SERVICES, {
      ...rawService("left"),
      metadata: { name: "left", labels: { left: "yes" } },
    });
    expect(await staying).toEqual(["ADDED left"]);
    await stay.return?.();
  });
});
