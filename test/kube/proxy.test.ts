import { createServer, type IncomingMessage, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Endpoints, Pod, Service } from "../../src/kube/index.js";
import { proxyPath } from "../../src/kube/server/proxy/index.js";
import { rewriteHtml, rewriteUrl } from "../../src/kube/server/proxy/rewrite.js";
import { type Lab, startLab } from "./harness.js";
import { sendRaw } from "./raw.js";

const POD_IP = "10.244.1.2";
let lab: Lab;
let backend: Server;
/** What reached the backend last. */
let seen: { method?: string; url?: string; headers: IncomingMessage["headers"]; body: string };
let dialled: string[] = [];

beforeAll(async () => {
  backend = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const { method = "", url = "", headers } = request;
    seen = { method, url, headers, body };
    if (url === "/page") {
      response.writeHead(200, { "Content-Type": "text/html" });
      response.end('<p>/plain</p><a href="/rewriteme">test</a>');
    } else if (url === "/moved") response.writeHead(302, { Location: "/elsewhere?a=b" }).end();
    else if (url === "/break") request.socket.destroy();
    else {
      response.writeHead(url === "/teapot" ? 418 : 200, { "Content-Type": "application/json", "X-Own": "1" });
      response.end(`${JSON.stringify({ method, body: "foo" })}\n`);
    }
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => backend.once("listening", resolve));
  const { port } = backend.address() as AddressInfo;
  lab = await startLab({
    listen: { port: 0, socketPath: undefined as never },
    token: "secret",
    // The pod network of this test: whatever is dialled is the backend.
    proxyConnect: (target) => {
      dialled.push(`${target.host}:${target.port}`);
      return connect(port, "127.0.0.1");
    },
  });
  await makeObjects();
});
afterAll(async () => {
  await lab.close();
  backend.closeAllConnections();
  backend.close();
});

async function makeObjects(): Promise<void> {
  const ports = [
    { name: "dest1", containerPort: 160 },
    { name: "dest2", containerPort: 162 },
  ];
  const spec = { containers: [{ name: "c", image: "podwire/echo:1", ports }] };
  const made = await lab.local.create<Pod>("pods", { metadata: { name: "proxied" }, spec });
  const status = { phase: "Running", podIP: POD_IP, podIPs: [{ ip: POD_IP }] };
  await lab.local.update<Pod>("pods", { ...made, status }, "status");
  await lab.local.create<Pod>("pods", { metadata: { name: "pending" }, spec });
  await lab.local.create<Service>("services", {
    metadata: { name: "proxied" },
    spec: {
      ports: [
        { name: "portname1", port: 80, targetPort: "dest1" },
        { name: "portname2", port: 81, targetPort: 162 },
      ],
    },
  });
  const targetRef = { kind: "Pod", name: "proxied", namespace: "default" };
  await lab.local.create<Endpoints>("endpoints", {
    metadata: { name: "proxied" },
    subsets: [
      {
        addresses: [{ ip: POD_IP, targetRef }, { ip: "10.0.0.9" }, { ip: "10.0.0.8", targetRef }],
        ports: [
          { name: "portname1", port: 160 },
          { name: "portname2", port: 162 },
        ],
      },
    ],
  });
  await lab.local.create<Service>("services", {
    metadata: { name: "empty" },
    spec: { ports: [{ port: 80 }] },
  });
  await lab.local.create<Endpoints>("endpoints", { metadata: { name: "empty" } });
}

const base = (kind: string, id: string) => `/api/v1/namespaces/default/${kind}/${id}/proxy`;
const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
  const { hostname: host, port } = new URL(lab.server.address);
  return sendRaw({ host, port }, method, path, body, { authorization: "Bearer secret", ...headers });
};

describe("the proxy", () => {
  it.each(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])("passes %s on", async (method) => {
    const body = ["POST", "PUT", "PATCH"].includes(method) ? { some: "body" } : undefined;
    const answer = await send(method, `${base("pods", "proxied")}/some/path/with/${method}?q=1&q=2`, body);
    expect(answer).toMatchObject({ code: 200, headers: { "x-own": "1" } });
    if (method !== "HEAD") expect(answer.json).toEqual({ method, body: "foo" });
    expect(seen).toMatchObject({ method, url: `/some/path/with/${method}?q=1&q=2` });
    expect(seen.body).toBe(body ? JSON.stringify(body) : "");
  });

  it("keeps the credentials to itself, and says for whom it asks", async () => {
    await send("GET", `${base("pods", "proxied")}/x`, undefined, {
      "x-mine": "a",
      connection: "x-hop",
      "x-hop": "b",
    });
    expect(seen.headers).toMatchObject({
      host: `${POD_IP}:160`,
      "x-mine": "a",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-uri": `${base("pods", "proxied")}/x`,
    });
    expect(seen.headers).not.toHaveProperty("authorization");
    expect(seen.headers).not.toHaveProperty("x-hop");
    expect((await send("GET", `${base("pods", "proxied")}/x`, undefined, { authorization: "" })).code).toBe(
      401,
    );
  });

  it.each([
    ["pods", "proxied", 160],
    ["pods", "proxied:162", 162],
    ["pods", "proxied:dest2", 162],
    ["pods", "http:proxied:1234", 1234],
    ["services", "proxied:portname1", 160],
    ["services", "http:proxied:portname2", 162],
    ["services", "proxied:80", 160],
    ["services", "proxied:81", 162],
  ])("%s %s is port %d of the pod", async (kind, id, port) => {
    dialled = [];
    // No other address of the Endpoints is a pod's own.
    for (let count = 0; count < 5; count++) expect((await send("GET", `${base(kind, id)}/`)).code).toBe(200);
    expect([...new Set(dialled)]).toEqual([`${POD_IP}:${port}`]);
  });

  it("asks for the slash at the end", async () => {
    const path = base("services", "proxied:portname1");
    expect(await send("GET", `${path}?a=b`)).toMatchObject({
      code: 301,
      headers: { location: `${path}/?a=b` },
    });
    expect((await send("POST", path, {})).code).toBe(200);
    expect(seen.url).toBe("/");
  });

  it("changes links and redirections to the backend's root, and passes its errors on", async () => {
    const path = base("pods", "proxied:160");
    const page = await send("GET", `${path}/page`);
    expect(page.text).toBe(`<p>/plain</p><a href="${path}/rewriteme">test</a>`);
    expect(page.headers["content-length"]).toBe(String(page.text.length));
    expect((await send("GET", `${path}/moved`)).headers.location).toBe(`${path}/elsewhere?a=b`);
    expect((await send("GET", `${path}/teapot`)).code).toBe(418);
  });

  it.each([
    ["pods", "absent", 404, 'pods "absent" not found'],
    ["pods", "ftp:proxied:80", 400, 'invalid pod request "ftp:proxied:80"'],
    ["pods", "proxied:none", 400, 'invalid pod request "proxied:none"'],
    ["pods", "pending", 400, "address not allowed"],
    ["services", "proxied:99", 503, 'no service port 99 found for service "proxied"'],
    ["services", "proxied:none", 503, 'no endpoints available for service "proxied:none"'],
    ["services", "empty", 503, 'no endpoints available for service "empty"'],
    ["services", "a:b:c:d", 400, 'invalid service request "a:b:c:d"'],
  ])("%s %s is refused", async (kind, id, code, message) => {
    expect(await send("GET", `${base(kind, id)}/`)).toMatchObject({
      code,
      json: { kind: "Status", message },
    });
  });

  it("says when the backend breaks off, and when it speaks no TLS", async () => {
    const answer = await send("GET", `${base("pods", "proxied")}/break`);
    const message = expect.stringMatching(/^error trying to reach service: /);
    expect(answer).toMatchObject({ code: 503, json: { reason: "ServiceUnavailable", message } });
    expect(await send("GET", `${base("pods", "https:proxied:160")}/`)).toMatchObject({ code: 503 });
  });

  it("never goes to this machine's own addresses", async () => {
    const made = await lab.local.get<Pod>("pods", "default", "pending");
    for (const ip of ["127.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "224.0.0.1"]) {
      const status = { phase: "Running", podIP: ip, podIPs: [{ ip }] };
      await lab.local
        .update<Pod>("pods", { metadata: made.metadata!, status } as Pod, "status")
        .catch(() => {});
      const found = await lab.local.get<Pod>("pods", "default", "pending");
      await lab.local.update<Pod>("pods", { ...found, status }, "status");
      expect(await send("GET", `${base("pods", "pending")}/`)).toMatchObject({ code: 400 });
    }
  });
});

describe("paths of the proxy", () => {
  it.each([
    ["/api/v1/namespaces/a/pods/b/proxy", { namespace: "a", resource: "pods", id: "b", rest: "" }],
    ["/api/v1/namespaces/a/services/b:c/proxy//d%2Fe/", { id: "b:c", rest: "//d%2Fe/" }],
    ["/api/v1/namespaces/a/pods/b%2Fc/proxy", undefined],
    ["/api/v1/namespaces/a/nodes/b/proxy", undefined],
    ["/api/v1/namespaces/a/pods/b/proxying", undefined],
    ["/api/v1/namespaces/a/pods/%E0%A4%A/proxy", undefined],
  ])("%s", (path, expected) => {
    const found = proxyPath(path);
    if (expected) expect(found).toMatchObject(expected);
    else expect(found).toBeUndefined();
  });
});

describe("links", () => {
  const rewriting = { prefix: "/p/proxy", backend: "10.244.1.2:80" };
  it.each([
    ["/a", "/p/proxy/a"],
    ["/", "/p/proxy/"],
    ["a/b", "a/b"],
    ["#x", "#x"],
    ["http://10.244.1.2:80/a?b", "/p/proxy/a?b"],
    ["http://10.244.1.2:80", "/p/proxy/"],
    ["//10.244.1.2:80/a", "/p/proxy/a"],
    ["http://example.com/a", "http://example.com/a"],
    ["//example.com/a", "//example.com/a"],
    ["/p/proxy/a", "/p/proxy/a"],
    ["/p/proxyish", "/p/proxy/p/proxyish"],
    ["mailto:a@b", "mailto:a@b"],
  ])("%s becomes %s", (url, expected) => {
    expect(rewriteUrl(url, rewriting)).toBe(expected);
  });

  it("are found in tags alone", () => {
    const html = `<img alt="/x" SRC='/y'><script>var a = "/z"; href="/w"</script> href="/v" <a\n href = "/u">`;
    expect(rewriteHtml(html, rewriting)).toBe(
      `<img alt="/x" SRC='/p/proxy/y'><script>var a = "/z"; href="/w"</script> href="/v" <a\n href = "/p/proxy/u">`,
    );
  });
});
