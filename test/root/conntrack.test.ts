/** Open connections and the node process: what outlives kube-proxy in a cluster outlives its restart here. */
import { existsSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CrashLab, NODE_PORT, webManifests } from "./crash-lab.js";
import { eventually } from "./lab.js";

const lab = new CrashLab("flows", { nodes: 2, manifests: webManifests(2) });
const NODE = "node-1";
const NODE_IP = "10.177.0.2";

beforeAll(() => lab.up(lab.topology));
afterAll(async () => {
  await lab.close();
  rmSync(lab.runDir, { recursive: true, force: true });
});

/**
 * Asks on one connection, twice a second so that the server does not close it, until the file GO appears. Prints which
 * pod answered, and the client's port, the first and the last time; or what went wrong.
 */
const ASKING = `
const [, ip, port, ready, go] = process.argv;
const fs = require("node:fs");
const http = require("node:http");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const ask = () => new Promise((resolve, reject) => {
  const request = http.get({ host: ip, port, agent, headers: { connection: "keep-alive" } }, (response) => {
    let text = "";
    response.on("data", (chunk) => (text += chunk));
    response.on("end", () => resolve({ pod: /pod=(\\S+)/.exec(text)?.[1] ?? text, local: request.socket.localPort }));
  });
  request.on("error", reject);
});
(async () => {
  const first = await ask();
  fs.writeFileSync(ready, "");
  while (!fs.existsSync(go)) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    await ask();
  }
  const second = await ask();
  console.log(JSON.stringify({ first, second }));
  process.exit(0);
})().catch((error) => { console.log(String(error)); process.exit(1); });
`;

async function acrossRestart(name: string, signal: NodeJS.Signals, before: () => Promise<unknown>) {
  const ready = join(lab.runDir, `${name}.ready`);
  const go = join(lab.runDir, `${name}.go`);
  const client = lab.podwire(
    "host",
    "--",
    process.execPath,
    "-e",
    ASKING,
    NODE_IP,
    String(NODE_PORT),
    ready,
    go,
  );
  await eventually("the first answer", async () => existsSync(ready), Boolean);
  await before();
  const old = lab.pid(NODE);
  lab.signal(NODE, signal);
  await eventually(
    "another process",
    async () => lab.pid(NODE),
    (pid) => pid !== old,
  );
  await eventually(
    "the node to run",
    () => lab.node(NODE),
    (node) => node?.status?.phase === "running",
  );
  await lab.podwire("host", "--", "touch", go);
  const { stdout } = await client;
  return JSON.parse(stdout) as Record<"first" | "second", { readonly pod: string; readonly local: number }>;
}

describe("a connection through a NodePort", () => {
  it("works on after restarting kube-proxy, which is a part of the node process", async () => {
    const { first, second } = await acrossRestart("term", "SIGTERM", async () => undefined);
    expect(second).toEqual(first);
  });

  it("works on after kill -9 when it was saved before", async () => {
    const file = join(lab.paths.dir, "nodes", NODE, "conntrack.bin");
    const written = () => (existsSync(file) ? statSync(file).mtimeMs : 0);
    const { first, second } = await acrossRestart("kill", "SIGKILL", async () => {
      const now = written();
      // The save after next has begun when the connection was open.
      const next = await eventually(
        "a save",
        async () => written(),
        (time) => time !== now,
        20_000,
      );
      await eventually(
        "another",
        async () => written(),
        (time) => time !== next,
        20_000,
      );
    });
    expect(second).toEqual(first);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });
});
