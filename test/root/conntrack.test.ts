/** Open connections and the node process: what outlives kube-proxy in a cluster outlives its restart here. */
import { spawn } from "node:child_process";
import { existsSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CrashLab, NODE_PORT, webManifests } from "./crash-lab.js";
import { eventually, ROOT } from "./lab.js";

const network = {
  nodesIPv6: "fd00:10:177::/64",
  servicesIPv6: "fd00:10:97::/112",
  pods: { networkIPv6: "fd00:10:245::/56" },
};
const [controller, service] = webManifests(2) as [object, { spec: object }];
const dualStack = { ...service, spec: { ...service.spec, ipFamilyPolicy: "RequireDualStack" } };
const lab = new CrashLab("flows", { nodes: 2, network, manifests: [controller, dualStack] });
const NODE = "node-1";
const NODE_IP = "10.177.0.2";
const NODE_IPV6 = "fd00:10:177::2";

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

async function acrossRestart(
  name: string,
  address: string,
  signal: NodeJS.Signals,
  before: () => Promise<unknown> = async () => undefined,
) {
  const ready = join(lab.runDir, `${name}.ready`);
  const go = join(lab.runDir, `${name}.go`);
  const client = lab.podwire(
    "host",
    "--",
    process.execPath,
    "-e",
    ASKING,
    address,
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
  it.each([NODE_IP, NODE_IPV6])(
    "of %s works on after restarting kube-proxy, which is a part of the node process",
    async (address) => {
      const { first, second } = await acrossRestart(`term-${address}`, address, "SIGTERM");
      expect(second).toEqual(first);
    },
  );

  it("works on after kill -9 when it was saved before", async () => {
    const file = join(lab.paths.dir, "nodes", NODE, "conntrack.bin");
    const written = () => (existsSync(file) ? statSync(file).mtimeMs : 0);
    const { first, second } = await acrossRestart("kill", NODE_IP, "SIGKILL", async () => {
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

describe("podwire conntrack", () => {
  const dport = ["--orig-dst", NODE_IP, "--dport", String(NODE_PORT)];

  it("-E prints what happens to connections while it happens, -S what was counted", async () => {
    const args = ["conntrack", NODE, "-E", "-e", "NEW,DESTROY", ...dport];
    const events = spawn(process.execPath, [`${ROOT}/dist/cli/main.js`, ...args], { env: lab.env });
    let text = "";
    events.stdout.on("data", (chunk) => (text += String(chunk)));
    const isHeard = async () => {
      await lab.curl(`http://${NODE_IP}:${NODE_PORT}/`);
      return text;
    };
    await eventually("events", isHeard, (printed) => printed.includes("[NEW]"));
    const { stdout } = await lab.podwire("conntrack", NODE, "-D", ...dport);
    expect(stdout).toMatch(/^node-1: [1-9]\d* flow entries have been deleted\.$/m);
    await eventually(
      "the end",
      async () => text,
      (printed) => printed.includes("[DESTROY]"),
    );
    events.kill("SIGINT");
    const code = await new Promise((resolve) => events.once("close", resolve));
    expect(code).toBe(0);
    const ends = `src=\\S+ dst=${NODE_IP} sport=\\d+ dport=${NODE_PORT}`;
    const answer = "src=10\\.\\S+ dst=\\S+ sport=8080 dport=\\d+";
    const lines = text.trimEnd().split("\n");
    const began = new RegExp(`^    \\[NEW\\] tcp      6 120 SYN_SENT ${ends} \\[UNREPLIED\\] ${answer}$`);
    const ended = new RegExp(
      `^\\[DESTROY\\] tcp      6 (\\d+ )?TIME_WAIT ${ends} packets=\\d+ bytes=\\d+ ${answer} packets=\\d+ bytes=\\d+ \\[ASSURED\\]$`,
    );
    expect(lines.filter((line) => !began.test(line) && !ended.test(line))).toEqual([]);
    const stats = await lab.ok("conntrack", NODE, "-S");
    expect(Number(/ insert=(\d+) /.exec(stats)?.[1])).toBeGreaterThanOrEqual(
      lines.filter((line) => began.test(line)).length,
    );
    await lab.ok("conntrack", "-F");
    expect(await lab.ok("conntrack", NODE, "-C", ...dport)).toBe("0\n");
  });
});

describe("podwire sysctl", () => {
  const name = "net.netfilter.nf_conntrack_tcp_timeout_time_wait";

  it("reads and sets how a node tracks connections; what is set outlives the node process", async () => {
    expect(await lab.ok("sysctl", NODE, name)).toBe(`${name} = 120\n`);
    expect(await lab.ok("sysctl", NODE, `${name}=77`)).toBe(`${name} = 77\n`);
    expect(await lab.ok("sysctl", "node-2", "-n", name)).toBe("120\n");
    await lab.curl(`http://${NODE_IP}:${NODE_PORT}/`);
    const listed = await lab.ok("conntrack", NODE, "-L", "--dport", String(NODE_PORT));
    expect(listed).toMatch(/^tcp {6}6 7[5-7] TIME_WAIT /m);
    const old = lab.pid(NODE);
    lab.signal(NODE, "SIGTERM");
    await eventually(
      "another process",
      async () => lab.pid(NODE),
      (pid) => pid !== old,
    );
    const again = () => lab.podwire("sysctl", NODE, "-n", name);
    await eventually("its answer", again, ({ code, stdout }) => code === 0 && stdout === "77\n");
  });

  it("refuses what is wrong in one sentence", async () => {
    expect(await lab.podwire("sysctl", NODE, "net.netfilter.frob=1", name)).toMatchObject({
      code: 1,
      stdout: "",
      stderr: "error: no sysctl net.netfilter.frob here; podwire sysctl NODE lists those that there are\n",
    });
    expect(await lab.podwire("sysctl", NODE, `${name}=soon`)).toMatchObject({
      code: 1,
      stderr: `error: ${name}=soon: give a whole number, 1 to 31536000\n`,
    });
    expect(await lab.podwire("sysctl", "node-9")).toMatchObject({
      code: 2,
      stderr: "error: no node node-9 in this lab; these are: node-1, node-2\n",
    });
  });
});
