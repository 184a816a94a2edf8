/** Who may ask the API what: the lab's token, service accounts' tokens, and neither. */
import { createHmac } from "node:crypto";
import { request } from "node:https";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeCertificates } from "../../src/cluster/pki/certificates.js";
import { type ApiServer, signToken, startApiServer } from "../../src/kube/index.js";
import { readToken } from "../../src/kube/serviceAccount.js";
import { MemoryStore } from "../../src/store/index.js";

const KEY = "the-lab-key";
const TOKEN = "the-lab-token";
const PORT = 20_000 + (process.pid % 20_000);
const { ca, server } = makeCertificates("access", { dns: ["localhost"], ips: ["127.0.0.1"] }, Date.now());
const tls = { key: server.key, cert: server.certificate };
let api: ApiServer;

beforeAll(async () => {
  api = await startApiServer({
    store: new MemoryStore(),
    serviceCidrs: ["10.254.0.0/16"],
    token: TOKEN,
    extraRoutes: (_request, response, url) => {
      if (!url.pathname.startsWith("/podwire/")) return false;
      response.end("the lab's own");
      return true;
    },
  });
  await api.listenForPods({ host: "127.0.0.1", port: PORT, tls, from: ["127.0.0.0/8"] }, KEY);
});
afterAll(() => api.close());

interface Answer {
  readonly code: number;
  readonly body: string;
}

function ask(token: string, path: string, method = "GET", body?: object, port = PORT): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = {
      ...(token && { Authorization: `Bearer ${token}` }),
      "Content-Type": "application/json",
    };
    const asked = request(
      { host: "127.0.0.1", port, path, method, headers, ca, agent: false },
      (response) => {
        let text = "";
        response.on("data", (chunk) => {
          text += String(chunk);
        });
        response.on("end", () => resolve({ code: response.statusCode ?? 0, body: text }));
      },
    );
    asked.on("error", reject);
    asked.end(body && JSON.stringify(body));
  });
}

const shop = signToken({ namespace: "shop", name: "web" }, KEY, 0);
const endpoints = (name: string) => ({
  apiVersion: "v1",
  kind: "Endpoints",
  metadata: { name },
  subsets: [],
});

describe("a service account's token", () => {
  it("is a JSON Web Token that says whose it is", () => {
    const [header, claims] = shop.split(".").map((part) => Buffer.from(part, "base64url").toString());
    expect(JSON.parse(header!)).toEqual({ alg: "HS256", typ: "JWT" });
    expect(JSON.parse(claims!)).toMatchObject({ sub: "system:serviceaccount:shop:web", iat: 0 });
    expect(readToken(shop, KEY)).toEqual({ namespace: "shop", name: "web" });
  });

  it("is nobody's when it was signed otherwise, changed, or not at all", () => {
    const [header, claims, signature] = shop.split(".");
    const forged = Buffer.from(JSON.stringify({ sub: "system:serviceaccount:kube-system:admin" }));
    const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
    const over = (text: string) => createHmac("sha256", KEY).update(text).digest("base64url");
    for (const bad of [
      signToken({ namespace: "shop", name: "web" }, "another", 0),
      `${header}.${forged.toString("base64url")}.${signature}`,
      `${none}.${claims}.`,
      `${none}.${claims}.${over(`${none}.${claims}`)}`,
      `${shop}.more`,
      `${header}.${claims}`,
      "",
      "...",
    ])
      expect(readToken(bad, KEY)).toBeUndefined();
  });

  it("reads everything", async () => {
    for (const path of ["/api", "/version", "/api/v1/pods", "/api/v1/namespaces/default", "/api/v1/nodes"])
      expect(await ask(shop, path)).toMatchObject({ code: 200 });
  });

  it("writes in its own namespace, and nowhere else", async () => {
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } };
    expect((await ask(TOKEN, "/api/v1/namespaces", "POST", namespace)).code).toBe(201);
    expect((await ask(shop, "/api/v1/namespaces/shop/endpoints", "POST", endpoints("a"))).code).toBe(201);
    expect((await ask(shop, "/api/v1/namespaces/shop/endpoints/a", "DELETE")).code).toBe(200);
    const refused = await ask(shop, "/api/v1/namespaces/default/endpoints", "POST", endpoints("a"));
    expect(refused.code).toBe(403);
    expect(JSON.parse(refused.body).message).toBe(
      'endpoints is forbidden: User "system:serviceaccount:shop:web" cannot create resource "endpoints" in API group "" in the namespace "default"',
    );
    expect((await ask(shop, "/api/v1/namespaces/shop", "DELETE")).body).toContain(
      'cannot delete resource \\"namespaces\\" in API group \\"\\" at the cluster scope',
    );
    expect((await ask(shop, "/api/v1/nodes/n1", "DELETE")).code).toBe(403);
  });

  it("opens neither the proxy nor the lab's own paths", async () => {
    expect((await ask(shop, "/api/v1/namespaces/shop/pods/a/proxy/")).code).toBe(403);
    expect((await ask(shop, "/podwire/v1/status")).code).toBe(404);
    expect((await ask(TOKEN, "/podwire/v1/status")).body).toBe("the lab's own");
  });
});

describe("the pods' port", () => {
  it("answers nobody without a token, or with a wrong one", async () => {
    for (const token of ["", "wrong", `${TOKEN}x`, `${shop}x`])
      expect(await ask(token, "/api/v1/pods")).toMatchObject({ code: 401 });
  });

  it("hears the networks that it is told of only", async () => {
    await api.listenForPods({ host: "127.0.0.1", port: PORT + 1, tls, from: ["10.0.0.0/24"] }, KEY);
    await expect(ask(TOKEN, "/version", "GET", undefined, PORT + 1)).rejects.toThrow(
      /disconnected|reset|hang up/,
    );
  });

  it("says when its place is taken", async () => {
    const again = api.listenForPods({ host: "127.0.0.1", port: PORT, tls, from: [] }, KEY);
    await expect(again).rejects.toThrow(`127.0.0.1:${PORT}: something else listens there`);
  });
});
