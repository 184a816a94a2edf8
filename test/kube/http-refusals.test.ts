import { once } from "node:events";
import { statSync } from "node:fs";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HttpKubeClient, startApiServer } from "../../src/kube/index.js";
import { MemoryStore } from "../../src/store/index.js";
import { type Lab, refusal, startLab } from "./harness.js";
import { rawService, SERVICES, sendRaw } from "./raw.js";

const TOKEN = "a-secret-token";
let lab: Lab;
beforeAll(async () => {
  lab = await startLab();
});
afterAll(() => lab.close());

const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  sendRaw({ socketPath: lab.socketPath }, method, path, body, headers);

describe("requests are refused", () => {
  it.each<[string, string, string, unknown, Record<string, string>, number, string]>([
    [
      "of another media type",
      "POST",
      SERVICES,
      "a: b",
      { "content-type": "application/yaml" },
      415,
      "the body of the request was in an unknown format - accepted media types include: application/json",
    ],
    [
      "of protobuf",
      "POST",
      SERVICES,
      "k8s\0",
      { "content-type": "application/vnd.kubernetes.protobuf" },
      415,
      "accepted media types include: application/json",
    ],
    [
      "with another patch",
      "PATCH",
      `${SERVICES}/x`,
      "[]",
      { "content-type": "application/apply-patch+yaml" },
      415,
      "accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
    ],
    ["with broken JSON", "POST", SERVICES, "{", {}, 400, "the body of the request is not JSON"],
    ["without a body", "POST", SERVICES, undefined, {}, 400, "the body of the request must be a JSON object"],
    ["with a list", "POST", SERVICES, [], {}, 400, "the body of the request must be a JSON object"],
    [
      "without a kind",
      "POST",
      SERVICES,
      { apiVersion: "v1" },
      {},
      400,
      "Object 'Kind' is missing in '{\"apiVersion\":\"v1\"}'",
    ],
    [
      "with another namespace",
      "POST",
      SERVICES,
      { ...rawService("x"), metadata: { name: "x", namespace: "n2" } },
      {},
      400,
      "the namespace of the provided object does not match the namespace sent on the request",
    ],
    [
      "for a verb there is not",
      "POST",
      `${SERVICES}/x`,
      rawService("x"),
      {},
      405,
      "the server does not allow this method on the requested resource",
    ],
    [
      "for a list in protobuf only",
      "GET",
      SERVICES,
      undefined,
      { accept: "application/vnd.kubernetes.protobuf" },
      406,
      "only the following media types are accepted: application/json",
    ],
    ["with a bad limit", "GET", `${SERVICES}?limit=many`, undefined, {}, 400, 'limit: Invalid value: "many"'],
    [
      "with a bad selector",
      "GET",
      `${SERVICES}?labelSelector=a+in`,
      undefined,
      {},
      400,
      "unable to parse requirement",
    ],
    [
      "to adopt",
      "DELETE",
      `${SERVICES}/x?propagationPolicy=Adopt`,
      undefined,
      {},
      422,
      'propagationPolicy: Unsupported value: "Adopt": supported values: "Background", "Foreground", "Orphan"',
    ],
    ["to write a document", "POST", "/version", {}, {}, 405, "does not allow this method"],
  ])("%s", async (_, method, path, body, headers, code, message) => {
    const answer = await send(method, path, body, headers);
    expect(answer.code).toBe(code);
    expect(answer.json).toMatchObject({
      kind: "Status",
      apiVersion: "v1",
      status: "Failure",
      code,
      message: expect.stringContaining(message),
    });
  });

  it("with a body of more than 3 MiB, without reading it all", async () => {
    const socket = connect(lab.socketPath);
    const size = 1024 ** 3;
    socket.write(
      `POST ${SERVICES} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${size}\r\n\r\n`,
    );
    socket.write(Buffer.alloc(4 * 1024 * 1024, 32));
    const [first] = await once(socket, "data");
    socket.destroy();
    expect(String(first)).toContain("HTTP/1.1 413");
    expect(String(first)).toContain("Request entity too large: limit is 3145728");
  });
});

describe("where the server listens", () => {
  it("a Unix socket is its owner's alone, and needs no token", () => {
    expect(statSync(lab.socketPath).mode & 0o777).toBe(0o600);
  });

  it("a TCP port needs the token", async () => {
    const server = await startApiServer({
      store: new MemoryStore(),
      serviceCidrs: ["10.254.0.0/16"],
      listen: { port: 0 },
      token: TOKEN,
    });
    const { hostname: host, port } = new URL(server.address);
    const ask = (authorization?: string) =>
      sendRaw(
        { host, port },
        "GET",
        "/api/v1/namespaces",
        undefined,
        authorization === undefined ? {} : { authorization },
      );
    try {
      for (const wrong of [
        undefined,
        "",
        "Bearer",
        "Bearer wrong",
        `Basic ${TOKEN}`,
        `Bearer ${TOKEN}x`,
        `Bearer ${TOKEN.slice(1)}`,
      ]) {
        const answer = await ask(wrong);
        expect(answer).toMatchObject({
          code: 401,
          headers: { "www-authenticate": "Bearer" },
          json: { kind: "Status", reason: "Unauthorized" },
        });
      }
      expect((await ask(`Bearer ${TOKEN}`)).json).toMatchObject({ kind: "NamespaceList" });
      const baseUrl = server.address;
      expect((await new HttpKubeClient({ baseUrl, token: TOKEN }).list("namespaces")).items).toHaveLength(3);
      expect(await refusal(new HttpKubeClient({ baseUrl }).list("namespaces"))).toMatchObject({ code: 401 });
    } finally {
      await server.close();
    }
    await expect(new HttpKubeClient({ baseUrl: server.address }).list("nodes")).rejects.toMatchObject({
      code: "ECONNREFUSED",
    });
  });

  it("refuses a TCP port without a token, and a place that is taken", async () => {
    const options = { store: new MemoryStore(), serviceCidrs: ["10.254.0.0/16"] };
    await expect(startApiServer({ ...options, listen: { port: 0 } })).rejects.toThrow(
      "TCP port needs a token",
    );
    await expect(startApiServer({ ...options, listen: { socketPath: lab.socketPath } })).rejects.toThrow(
      `the API server cannot listen on ${lab.socketPath}: something else listens there`,
    );
    expect((await send("GET", "/readyz")).code).toBe(200);
  });

  it("needs no place at all", async () => {
    const server = await startApiServer({ store: new MemoryStore(), serviceCidrs: ["10.254.0.0/16"] });
    expect(server.address).toBe("local");
    expect((await server.client.list("namespaces")).items).toHaveLength(3);
    await server.close();
  });
});
