/** The API server's proxy, asked over its socket, with pods that answer. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sendRaw } from "../kube/raw.js";
import { eventually } from "./lab.js";
import { ServiceLab } from "./service-lab.js";

const VERBS = ["DELETE", "OPTIONS", "PATCH", "POST", "PUT", "GET", "HEAD"] as const;
/** As upstream's agnhost porter: the verb and "foo" for most, a page with a link for `/`. */
const PORTER = `
const { createServer } = require("node:http");
const page = '<a href="/rewriteme">test</a>';
const serve = (port, body) => createServer((request, response) => {
  const asked = request.url.startsWith("/verb");
  response.writeHead(200, { "Content-Type": asked ? "application/json" : body === page ? "text/html" : "text/plain" });
  response.end(asked ? JSON.stringify({ Method: request.method, Body: "foo" }) + "\\n" : body);
}).listen(port);
serve(80, page); serve(160, "foo"); serve(162, "bar");
`;

const lab = new ServiceLab("proxy");
const send = (method: string, path: string) =>
  sendRaw({ socketPath: lab.paths.apiSocket }, method, `/api/v1/namespaces/default/${path}`);

beforeAll(async () => {
  const command = JSON.stringify([process.execPath, "-e", PORTER]);
  await lab.up(`manifests:
  - apiVersion: v1
    kind: Pod
    metadata: { name: porter, labels: { app: porter } }
    spec:
      nodeName: node-2
      containers:
        - name: c
          image: podwire/echo
          command: ${command}
          ports: [{ name: page, containerPort: 80 }, { name: dest1, containerPort: 160 }, { name: dest2, containerPort: 162 }]
          readinessProbe: { tcpSocket: { port: 162 }, periodSeconds: 1 }
`);
  await lab.ready("porter");
  await lab.service("porter", {
    selector: { app: "porter" },
    ports: [
      { name: "portname1", port: 80, targetPort: "dest1" },
      { name: "portname2", port: 81, targetPort: 162 },
      { name: "page", port: 82, targetPort: "page" },
    ],
  });
  const look = async () => (await send("GET", "services/porter:page/proxy/")).code;
  await eventually("the proxy to the Service", look, (code) => code === 200);
});
afterAll(() => lab.down());

describe("Proxy version v1", () => {
  it("[sig-network] Proxy version v1 should proxy through a service and a pod", async () => {
    const texts: [string, string][] = [
      ["services/porter:portname1/proxy/", "foo"],
      ["services/porter:80/proxy/", "foo"],
      ["services/porter:portname2/proxy/", "bar"],
      ["services/porter:81/proxy/", "bar"],
      ["services/http:porter:portname1/proxy/", "foo"],
      ["pods/porter:160/proxy/", "foo"],
      ["pods/http:porter:162/proxy/", "bar"],
    ];
    for (const path of ["pods/porter/proxy", "pods/porter:80/proxy", "services/porter:page/proxy"])
      texts.push([`${path}/`, `<a href="/api/v1/namespaces/default/${path}/rewriteme">test</a>`]);
    for (const [path, text] of texts) expect(await send("GET", path)).toMatchObject({ code: 200, text });
  });

  it.each([
    [
      "[sig-network] Proxy version v1 A set of valid responses are returned for both pod and service Proxy",
      "verb",
    ],
    [
      "[sig-network] Proxy version v1 A set of valid responses are returned for both pod and service ProxyWithPath",
      "verb/some/path/with",
    ],
  ])("%s", async (_, path) => {
    for (const base of ["pods/porter:page/proxy", "services/porter:page/proxy"]) {
      expect(await send("GET", base)).toMatchObject({
        code: 301,
        headers: { location: `/api/v1/namespaces/default/${base}/` },
      });
      for (const method of VERBS) {
        const answer = await send(method, `${base}/${path}/${method}?method=${method}`);
        expect(answer.code).toBe(200);
        if (method !== "HEAD") expect(answer.json).toEqual({ Method: method, Body: "foo" });
      }
    }
  });
});
