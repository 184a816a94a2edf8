import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, exec, identity, type Output, ROOT, TestLab } from "./lab.js";
import { Running } from "./running.js";

/** The commands about packets, connections and the store, each as a user types it; then `up --trace` and the demo. */
const lab = new TestLab("clinet");
const dir = mkdtempSync(join(tmpdir(), "podwire-test-"));
const NODE_PORT = "http://10.177.0.2:30080/";
const HOST = "10.177.0.1";
const STORE = "127.0.0.1:2379";

interface Pod {
  metadata: { name: string };
  spec: { nodeName: string };
  status: { podIP: string };
}
let pods: Pod[] = [];

beforeAll(async () => {
  // By another name: those of this file's end are called two-nodes, too.
  const topology = join(dir, "clinet.yaml");
  const text = readFileSync(`${ROOT}/topologies/two-nodes.yaml`, "utf8");
  writeFileSync(topology, text.replace("name: two-nodes", "name: clinet"));
  await lab.up(topology, "--store-listen", STORE);
  pods = (await lab.json<{ items: Pod[] }>("get", "pods", "-l", "app=web")).items;
});
afterAll(async () => {
  await lab.podwire("down", "--all");
  await exec(["ip", "netns", "del", lab.netns]);
  rmSync(dir, { recursive: true });
});

/** What of a lab is still there. */
async function left(one: TestLab): Promise<string[]> {
  return (await one.footprint()).filter((line) => line.includes(one.netns) || line.includes(one.runDir));
}

const podOn = (node: string): Pod => {
  const pod = pods.find(({ spec }) => spec.nodeName === node);
  if (!pod) throw new Error(`no pod on ${node}`);
  return pod;
};

describe("ping", () => {
  it("from the host and from pods, to pods, nodes and addresses", async () => {
    const [one, two] = [podOn("node-1"), podOn("node-2")];
    const pairs = [
      ["host", one.metadata.name],
      [one.metadata.name, two.metadata.name],
      [`default/${one.metadata.name}`, "node-2"],
      [two.metadata.name, "host"],
      [two.metadata.name, one.status.podIP],
    ];
    const pings = pairs.map((pair) => lab.ok("ping", ...pair, "-c", "1"));
    for (const text of await Promise.all(pings)) expect(text).toMatch(/ 1 received, 0% packet loss/);
  });

  it("with Don't Fragment and a size finds the path MTU", async () => {
    const [from, to] = [podOn("node-1").metadata.name, podOn("node-2").metadata.name];
    expect(await lab.ok("ping", from, to, "-c", "1", "-M", "do", "-s", "1444")).toMatch(/1452 bytes from/);
    const big = await lab.podwire("ping", from, to, "-c", "1", "-M", "do", "-s", "1445");
    expect(big.code).not.toBe(0);
  });

  it("what cannot be pinged", async () => {
    const ends = async (...args: string[]) => {
      const { code, stderr } = await lab.podwire("ping", ...args);
      return { code, stderr };
    };
    expect(await ends("node-1", "host")).toEqual({
      code: 2,
      stderr: "error: node-1: commands run in pods and on the host only\n",
    });
    expect(await ends("host", "none")).toEqual({
      code: 2,
      stderr: "error: none: no pod, node or address of that name; pods: podwire get pods\n",
    });
    expect(await ends("host", "svc/none")).toEqual({ code: 1, stderr: 'error: services "none" not found\n' });
  });

  it("all pods to all pods", async () => {
    expect(await lab.ok("pingall")).toMatch(/\n\*\*\* Results: 0% dropped \((\d+)\/\1 received\)\n$/);
    const { sent, received, results } = await lab.json<{ sent: number; received: number; results: object[] }>(
      "pingall",
    );
    expect({ sent, received }).toEqual({ sent: results.length, received: results.length });
    expect(results).toContainEqual({
      from: podOn("node-1").metadata.name,
      to: podOn("node-2").metadata.name,
      rttMs: expect.any(Number),
    });
  });
});

describe("trace", () => {
  interface Line {
    packetId: string;
    node: string;
    verdict: string;
    service?: string;
    before: Ends;
    after: Ends;
  }
  interface Ends {
    protocol: string | number;
    src: string;
    dst: string;
    sport: number;
    dport: number;
  }
  const addresses = ({ before, after }: Line) => [before.src, before.dst, after.src, after.dst];
  const ports = ({ before, after }: Line) => [before.sport, before.dport, after.sport, after.dport];

  /** Traffic of every kind that the filters tell apart. */
  async function traffic(): Promise<void> {
    await Promise.all([
      lab.curl(NODE_PORT),
      lab.curl(NODE_PORT),
      lab.curl("http://10.177.0.2:31999/"),
      lab.host("sh", "-c", `echo hello | nc -u -w1 10.177.0.3 30080`),
      lab.host("ping", "-c", "1", "-W", "1", podOn("node-1").status.podIP),
      lab.host("ping", "-c", "1", "-W", "1", podOn("node-2").status.podIP),
    ]);
  }

  it("each filter lets through what fits and nothing else", async () => {
    const pod = podOn("node-2");
    const filters: [args: string[], fits: (line: Line) => boolean][] = [
      [
        ["--pod", pod.metadata.name, "--protocol", "icmp"],
        (one) => addresses(one).includes(pod.status.podIP),
      ],
      // Followed to the nodes that know the endpoint only; but no probe, which goes from the host to the pod directly.
      [
        ["--service", "web", "--protocol", "tcp"],
        (one) => ports(one).includes(30080) || (ports(one).includes(8080) && !addresses(one).includes(HOST)),
      ],
      [
        ["--address", "10.177.0.3/32", "--node", "node-2"],
        (one) => addresses(one).includes("10.177.0.3") && one.node === "node-2",
      ],
      [["--port", "31999", "--port", "31998"], (one) => ports(one).includes(31999)],
      [["--node", "node-2"], (one) => one.node === "node-2"],
      [["--verdict", "deliver"], (one) => one.verdict === "deliver"],
      [["--protocol", "udp"], (one) => [17, "udp"].includes(one.before.protocol)],
    ];
    const running = filters.map(([args]) => new Running(lab, "trace", "-o", "json", ...args));
    await eventually(
      "a line of each",
      async () => {
        await traffic();
        return running.map((one) => one.lines.length);
      },
      (counts) => counts.every((count) => count > 0),
      40_000,
    );
    expect(await Promise.all(running.map((one) => one.end()))).toEqual(filters.map(() => 0));
    for (const [index, [args, fits]] of filters.entries()) {
      const lines = running[index]?.lines.map((line) => JSON.parse(line) as Line) ?? [];
      expect({ args, others: lines.filter((line) => !fits(line)) }).toEqual({ args, others: [] });
    }
  });

  it("one line for each packet at each node, with -o wide each stage too, until the count is reached", async () => {
    const follow = (...args: string[]) =>
      new Running(lab, "trace", "--service", "web", "--count", "20", ...args);
    const [text, wide] = [follow(), follow("-o", "wide")];
    await text.prints(/ svc=default\/web:http /, traffic);
    await eventually("both end", traffic, () => text.lines.length >= 20 && wide.lines.length > 20);
    expect(await Promise.all([text.ended, wide.ended])).toEqual([0, 0]);
    expect(text.lines).toHaveLength(20);
    for (const line of text.lines)
      expect(line).toMatch(/^\d\d:\d\d:\d\d\.\d{6} [0-9a-f]{8} node-[12] +forward +\S+ -> \S+ (tcp|udp) /);
    const [rewritten] = text.lines.filter((line) => line.includes(" [S] ") && line.includes(" outer="));
    expect(rewritten).toMatch(
      / host -> overlay tcp 10\.177\.0\.1:\d+ > 10\.177\.0\.2:30080 => 10\.244\.\d+\.0:\d+ > 10\.244\.\d+\.\d+:8080\(default\/web-\w+\) \[S\] .* ep=default\/web-\w+ outer=127\.\S+:8285>127\.\S+:8285$/,
    );
    expect(wide.stdout).toMatch(/^ {4}prerouting +dnat +10\.177\.0\.1:\d+ > 10\.177\.0\.\d:30080 => /m);
    expect(wide.stdout).toMatch(/^ {4}egress +forward/m);
  });

  it("leaves the lab as it was", async () => {
    const before = await lab.json<{ pid: number }>("status");
    const trace = new Running(lab, "trace");
    await trace.prints(/^\d\d:/, () => lab.curl(NODE_PORT));
    await trace.end();
    await lab.podwire("trace", "--count", "1", "--node", "node-1");
    const after = await lab.json<{ pid: number }>("status");
    expect(after.pid).toBe(before.pid);
  });

  it("a filter that cannot be meant is refused", async () => {
    const ends = async (...args: string[]) => {
      const { code, stderr } = await lab.podwire("trace", ...args);
      return { code, stderr };
    };
    expect(await ends("--port", "99999")).toEqual({
      code: 2,
      stderr: 'error: "99999" is not a valid port to filter by: give a number from 1 to 65535.\n',
    });
    expect(await ends("--node", "node-9")).toEqual({
      code: 2,
      stderr: "error: no node node-9 in this lab; these are: node-1, node-2\n",
    });
  });
});

describe("conntrack", () => {
  it("lists, filters and deletes", async () => {
    const pod = podOn("node-2");
    await lab.host("ping", "-c", "1", "-W", "1", pod.status.podIP);
    const list = (...args: string[]) => lab.ok("conntrack", "-L", "--node", "node-2", ...args);
    const icmp = await list("-p", "icmp", "-s", "10.177.0.1", "-d", pod.status.podIP);
    expect(icmp).toMatch(
      new RegExp(
        `^(icmp +1 \\d+ src=10\\.177\\.0\\.1 dst=${pod.status.podIP} type=8 code=0 id=\\d+ .*\\n)+$`,
      ),
    );
    const [json] = JSON.parse(await list("-p", "icmp", "-s", "10.177.0.1", "-o", "json")) as [
      { node: string; entries: object[] },
    ];
    expect(json.node).toBe("node-2");
    expect(json.entries[0]).toMatchObject({
      protocol: "icmp",
      original: { src: "10.177.0.1" },
    });
    expect(await lab.ok("conntrack")).toMatch(/^# node-1: \d+ connections\n[^#]*# node-2: \d+ connections\n/);
    const deleted = await lab.ok("conntrack", "-D", "-p", "icmp", "-d", pod.status.podIP);
    expect(deleted).toMatch(/^node-1: \d+ flow entries have been deleted\.\nnode-2: [1-9]\d* flow entries/);
    expect(await list("-p", "icmp", "-d", pod.status.podIP)).toBe("");
    expect(await list("-p", "tcp")).not.toBe("");
  });
});

describe("the store", () => {
  const PREFIX = "/coreos.com/network";

  it("get and watch", async () => {
    const leases = await lab.ok("store", "get", `${PREFIX}/subnets/`, "--prefix");
    expect(leases).toMatch(
      /^(\/coreos\.com\/network\/subnets\/10\.244\.\d+\.0-24\n\{"PublicIP":"127\.[\d.]+","BackendType":"udp"\}\n){2}$/,
    );
    const [config] = JSON.parse(await lab.ok("store", "get", `${PREFIX}/config`, "-o", "json")) as [
      { key: string; value: string; version: number },
    ];
    expect(config).toMatchObject({ key: `${PREFIX}/config`, version: 1 });
    expect(JSON.parse(config.value)).toMatchObject({ Network: "10.244.0.0/16" });
    const none = await lab.podwire("store", "get", "/none");
    expect(none).toEqual({ code: 1, stdout: "", stderr: "error: no key /none\n" });
    expect(await lab.ok("store", "endpoints")).toBe(
      `unix:${lab.runDir}/clinet/store.sock\nhttp://${STORE}\n`,
    );
  });

  it("etcdctl reads leases and objects, and its watch sees a change that podwire's sees", async () => {
    const etcdctl = ["env", "ETCDCTL_API=3", "etcdctl", `--endpoints=${STORE}`];
    const keys = (await lab.ok("host", "--", ...etcdctl, "get", "/", "--prefix", "--keys-only")).split("\n");
    expect(keys).toContain(`${PREFIX}/config`);
    expect(keys.filter((key) => key.startsWith(`${PREFIX}/subnets/`))).toHaveLength(2);
    expect(keys).toContain(`/registry/pods/default/${pods[0]?.metadata.name}`);
    const watch = new Running(lab, "host", "--", ...etcdctl, "watch", "--prefix", "/demo");
    const own = new Running(lab, "store", "watch", "--prefix", "/demo");
    const put = () => lab.host(...etcdctl, "put", "/demo/key", "value");
    await watch.prints(/^PUT\n\/demo\/key\nvalue\n/, put);
    await own.prints(/^PUT\n\/demo\/key\nvalue\n/, put);
    await lab.host(...etcdctl, "del", "/demo/key");
    await own.prints(/^DELETE\n\/demo\/key\n/m);
    expect(await own.end()).toBe(0);
    await watch.end("SIGTERM");
  });
});

describe("status", () => {
  it("as JSON", async () => {
    const status = await lab.json<{ nodes: { status: object }[] }>("status");
    expect(status).toMatchObject({
      lab: "clinet",
      netns: lab.netns,
      networks: { nodes: "10.177.0.0/24", pods: "10.244.0.0/16", services: "10.96.0.0/16" },
      host: "10.177.0.1",
      nodes: [
        { name: "node-1", state: "running", restarts: 0, status: { nodeIp: "10.177.0.2", phase: "running" } },
        { name: "node-2", state: "running", restarts: 0, status: { nodeIp: "10.177.0.3", phase: "running" } },
      ],
    });
    expect(await lab.ok("status", "clinet")).toMatch(/^lab +clinet in namespace /);
  });
});

describe("in the foreground", () => {
  const front = new TestLab("clifront");
  const demo = new TestLab("clidemo");
  afterAll(async () => {
    for (const one of [front, demo]) {
      await one.podwire("down", "--all");
      await exec(["ip", "netns", "del", one.netns]);
    }
  });

  it("`up --trace` prints packets, and Ctrl-C takes everything down", async () => {
    const up = new Running(
      front,
      "up",
      `${ROOT}/topologies/two-nodes.yaml`,
      "--netns",
      front.netns,
      "--trace",
    );
    await up.prints(/ svc=default\/web:http /, () => front.curl(NODE_PORT));
    expect(up.stderr).toMatch(/ready after [\d.]+ s: 2 nodes, \d pods\nCtrl-C takes the lab down\n/);
    expect(await up.end()).toBe(0);
    expect(up.stderr).toMatch(/taking lab two-nodes down\neverything it made is removed\n$/);
    expect(await left(front)).toEqual([]);
  });

  it("Ctrl-C before it is ready removes what was made", async () => {
    const up = new Running(front, "up", `${ROOT}/topologies/two-nodes.yaml`, "--netns", front.netns);
    await eventually(
      "progress",
      async () => up.stderr,
      (text) => text.includes("waiting for"),
    );
    expect(await up.end()).toBe(1);
    expect(up.stderr).toMatch(/error: interrupted; everything that was made is removed\n$/);
    expect(await left(front)).toEqual([]);
  });

  it("the demo's hints work as they are printed", async () => {
    const shown = await demo.ok("demo", "--netns", demo.netns, "--detach");
    const commands = [...shown.matchAll(/^ {2}(npx podwire .*?) +# /gm)].map(([, command]) => command ?? "");
    expect(commands).toHaveLength(5);
    const run = (command: string): Promise<Output> =>
      exec(["sh", "-c", `cd "$0" && ${command}`, ROOT], { env: demo.env });
    const [curl, trace, ...others] = commands as [string, string, ...string[]];
    expect(trace).toBe("npx podwire trace --follow");
    const first = await run(curl);
    const second = await run(curl);
    expect(new Set([first, second].map(({ stdout }) => identity(stdout).pod)).size).toBe(2);
    for (const command of others)
      expect({ command, ...(await run(command)) }).toMatchObject({ command, code: 0 });
    const following = new Running(demo, ...trace.split(" ").slice(2));
    await following.prints(/ svc=default\/web:http /, () => demo.curl(NODE_PORT));
    expect(await following.end()).toBe(0);
  });
});
