import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, exec, identity, TestLab } from "./lab.js";

/** The classic lab, as its user sees it from the host. */
const lab = new TestLab("myweb");
const NODES = ["10.0.0.11", "10.0.0.12", "10.0.0.13"];
let before: string[] = [];

interface PodList {
  items: { metadata: { name: string }; spec: { nodeName: string }; status: { podIP: string } }[];
}
const pods = (selector: string) => lab.json<PodList>("get", "pods", "-l", selector);
const clusterIp = async (name: string) =>
  (await lab.json<{ spec: { clusterIP: string } }>("get", `svc/${name}`)).spec.clusterIP;

beforeAll(async () => {
  before = await lab.footprint();
  await lab.up("topologies/myweb.yaml");
  // Pods are ready a moment before every node's proxy has heard of it, on a busy machine a longer one.
  for (const node of NODES) {
    await eventually(
      `all pods behind ${node}`,
      () => answers(`http://${node}:30001/`, 5),
      (seen) => new Set(seen).size === 5,
    );
  }
});
afterAll(async () => {
  await lab.podwire("down", "--all");
  await exec(["ip", "netns", "del", lab.netns]);
});

/** The pods that answered n requests, in order. */
async function answers(url: string, count: number): Promise<string[]> {
  const seen: string[] = [];
  for (let index = 0; index < count; index++) {
    const { code, stdout, stderr } = await lab.curl(url);
    if (code !== 0) throw new Error(`curl ${url}: ${stderr}`);
    seen.push(identity(stdout).pod);
  }
  return seen;
}

/** Five different pods, then the same five in the same order. */
function expectStrictRotation(seen: readonly string[]): void {
  expect(new Set(seen.slice(0, 5)).size).toBe(5);
  expect(seen.slice(5)).toEqual(seen.slice(0, 5));
}

describe("NodePort and ClusterIP", () => {
  it.each(NODES)("ten requests to %s:30001 are answered by five pods in strict rotation", async (node) => {
    const seen = await answers(`http://${node}:30001/`, 10);
    expectStrictRotation(seen);
    const nodes = new Set((await pods("app=myweb")).items.map((pod) => pod.spec.nodeName));
    expect(nodes.size).toBe(3);
  });

  it("and so through the ClusterIP from the host", async () => {
    expectStrictRotation(await answers(`http://${await clusterIp("myweb")}:8080/`, 10));
  });

  it("and so through the ClusterIP from inside a pod, which keeps its own address", async () => {
    const [client] = (await pods("app=mysql")).items;
    const url = `http://${await clusterIp("myweb")}:8080/`;
    const seen: string[] = [];
    for (let index = 0; index < 10; index++) {
      const line = await lab.ok(
        "exec",
        client?.metadata.name ?? "",
        "--",
        "curl",
        "-sS",
        "--max-time",
        "5",
        url,
      );
      seen.push(identity(line).pod);
      expect(identity(line).client.split(":")[0]).toBe(client?.status.podIP);
    }
    expectStrictRotation(seen);
  });

  it("from a pod through another node's NodePort", async () => {
    const [client] = (await pods("app=mysql")).items;
    for (const node of NODES) {
      const line = await lab.ok(
        "exec",
        client?.metadata.name ?? "",
        "--",
        "curl",
        "-sS",
        "--max-time",
        "5",
        `http://${node}:30001/`,
      );
      expect(identity(line).pod).toMatch(/^myweb-/);
    }
  });

  it("pod addresses answer the host, which they see as it is", async () => {
    for (const pod of (await pods("app=myweb")).items) {
      const { stdout } = await lab.curl(`http://${pod.status.podIP}:8080/`);
      expect(identity(stdout)).toMatchObject({ pod: pod.metadata.name, node: pod.spec.nodeName });
      expect(identity(stdout).client).toMatch(/^10\.0\.0\.1:/);
    }
  });

  it("a pod reaches itself through its Service (hairpin)", async () => {
    const url = `http://${await clusterIp("mysql")}:3306/`;
    const [mysql] = (await pods("app=mysql")).items;
    const line = await lab.ok(
      "exec",
      mysql?.metadata.name ?? "",
      "--",
      "curl",
      "-sS",
      "--max-time",
      "5",
      url,
    );
    expect(identity(line).pod).toBe(mysql?.metadata.name);
    // kube-proxy masquerades it to the bridge's address, or the answer would never leave the pod.
    expect(identity(line).client).toMatch(/^172\.16\.\d+\.1:/);
  });

  it("pods find Services by name", async () => {
    const [pod] = (await pods("app=myweb")).items;
    const exec = (...words: string[]) => lab.ok("exec", pod?.metadata.name ?? "", "--", ...words);
    const line = await exec("curl", "-sS", "--max-time", "5", "http://myweb.default.svc.cluster.local:8080/");
    expect(identity(line).pod).toMatch(/^myweb-/);
    expect(await exec("getent", "hosts", "mysql")).toContain(await clusterIp("mysql"));
    expect((await exec("dig", "+short", "+time=2", "kube-dns.kube-system.svc.cluster.local")).trim()).toBe(
      "10.254.0.10",
    );
    expect(await exec("cat", "/etc/resolv.conf")).toContain("options ndots:5");
  });

  it("pods have their Services in the environment", async () => {
    const [pod] = (await pods("app=myweb")).items;
    const env = await lab.ok("exec", pod?.metadata.name ?? "", "--", "env");
    expect(env).toContain("MYSQL_SERVICE_HOST=mysql");
    expect(env).toContain(`MYSQL_PORT_3306_TCP_ADDR=${await clusterIp("mysql")}`);
    expect((await lab.ok("exec", pod?.metadata.name ?? "", "--", "hostname")).trim()).toBe(
      pod?.metadata.name,
    );
  });

  it("UDP through a NodePort, by every node", async () => {
    await lab.ok("apply", "-f", "topologies/udp-echo.yaml");
    const ask = async (node: string) => {
      const { stdout } = await lab.host("sh", "-c", 'echo hello | nc -u -w1 "$0" 30053', node);
      return stdout;
    };
    await eventually(
      "UDP answer",
      () => ask(NODES[0] ?? ""),
      (text) => text.includes("hello"),
    );
    const seen = new Set<string>();
    for (const node of [...NODES, ...NODES]) {
      const text = await ask(node);
      expect(text).toContain("hello");
      seen.add(identity(text.split("\n")[0] ?? "").pod);
    }
    expect(seen.size).toBe(2);
  });
});

describe("bulk and many", () => {
  const BYTES = 100_000_000;

  it("100 MB down and up through a NodePort to another node arrive with the right SHA-256", async () => {
    // Through each node in turn: most answers come from another node.
    const hash = (
      await lab.curl(`http://${NODES[0]}:30001/sha256/${BYTES}`, "--max-time", "60")
    ).stdout.trim();
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    for (const node of NODES) {
      const down = await lab.host(
        "sh",
        "-c",
        'curl -sS --max-time 60 "$0" | sha256sum',
        `http://${node}:30001/bytes/${BYTES}`,
      );
      expect(down.stdout.split(" ")[0]).toBe(hash);
      const command = 'head -c 100000000 /dev/zero | curl -sS --max-time 60 -X POST --data-binary @- "$0"';
      const up = await lab.host("sh", "-c", command, `http://${node}:30001/upload`);
      const zeros = await exec(["sh", "-c", "head -c 100000000 /dev/zero | sha256sum"]);
      expect(up.stdout.trim()).toBe(`${zeros.stdout.split(" ")[0]} ${BYTES}`);
    }
  });

  it("200 parallel connections are all answered, spread evenly", async () => {
    const urls = Array.from({ length: 200 }, () => `http://${NODES[1]}:30001/`);
    const args = ["--parallel", "--parallel-immediate", "--parallel-max", "200", "--max-time", "20", "-sS"];
    const { code, stdout } = await lab.host("curl", ...args, "-H", "Connection: close", ...urls);
    expect(code).toBe(0);
    const seen = stdout
      .trim()
      .split("\n")
      .map((line) => identity(line).pod);
    expect(seen).toHaveLength(200);
    expect(new Set(seen).size).toBe(5);
  });
});

describe("what the network says", () => {
  it("ping with Don't Fragment shows the path MTU of the overlay: 1472", async () => {
    const items = (await pods("app=myweb")).items;
    const [first] = items;
    const other = items.find((pod) => pod.spec.nodeName !== first?.spec.nodeName);
    const enter = ["exec", first?.metadata.name ?? "", "--", "ping", "-n", "-c", "1", "-W", "2", "-M", "do"];
    expect((await lab.podwire(...enter, "-s", "1444", other?.status.podIP ?? "")).code).toBe(0);
    const big = await lab.podwire(...enter, "-s", "1445", other?.status.podIP ?? "");
    expect(big.code).not.toBe(0);
    expect(`${big.stdout}${big.stderr}`).toMatch(/mtu ?= ?1472/);
    const host = await lab.host(
      "ping",
      "-n",
      "-c",
      "1",
      "-W",
      "2",
      "-M",
      "do",
      "-s",
      "1445",
      other?.status.podIP ?? "",
    );
    expect(`${host.stdout}${host.stderr}`).toMatch(/1472|message too long|Frag needed/);
  });

  it("traceroute shows the nodes as hops", async () => {
    const items = (await pods("app=myweb")).items;
    const [first] = items;
    const other = items.find((pod) => pod.spec.nodeName !== first?.spec.nodeName);
    const traced = await lab.ok(
      "exec",
      first?.metadata.name ?? "",
      "--",
      "traceroute",
      "-n",
      "-q",
      "1",
      "-w",
      "2",
      other?.status.podIP ?? "",
    );
    const hops = traced
      .split("\n")
      .slice(1)
      .flatMap((line) => /^ *\d+ +(\S+)/.exec(line)?.[1] ?? []);
    const subnet = (ip: string | undefined) => ip?.split(".").slice(0, 3).join(".");
    expect(hops).toEqual([
      `${subnet(first?.status.podIP)}.1`,
      `${subnet(other?.status.podIP)}.0`,
      other?.status.podIP,
    ]);
    const fromHost = await lab.host("traceroute", "-n", "-q", "1", "-w", "2", other?.status.podIP ?? "");
    const node = NODES[["k8s-master", "k8s-node-1", "k8s-node-2"].indexOf(other?.spec.nodeName ?? "")];
    expect(fromHost.stdout.split("\n")[1]).toContain(` ${node} `);
  });

  it("pingall reaches every pod from every pod", async () => {
    expect(await lab.ok("pingall")).toMatch(/0% dropped/);
  });

  it("trace follows one packet across nodes by its id", async () => {
    const following = lab.podwire("trace", "--follow", "--service", "myweb", "-o", "json", "--count", "40");
    await new Promise((resolve) => setTimeout(resolve, 1500));
    for (let index = 0; index < 12; index++) await lab.curl(`http://${NODES[1]}:30001/`);
    const lines = (await following).stdout
      .trim()
      .split("\n")
      .map(
        (line) => JSON.parse(line) as { packetId: string; node: string; service?: string; verdict: string },
      );
    const byPacket = new Map<string, Set<string>>();
    for (const line of lines)
      byPacket.set(line.packetId, (byPacket.get(line.packetId) ?? new Set()).add(line.node));
    expect([...byPacket.values()].some((nodes) => nodes.size === 2)).toBe(true);
    expect(lines.some((line) => line.service === "default/myweb")).toBe(true);
  });

  it("status shows leases, Services and the probed underlay paths", async () => {
    const status = await eventually(
      "probes",
      () => lab.ok("status"),
      (text) => (text.match(/ reachable /g) ?? []).length === 6,
    );
    expect(status).toMatch(/k8s-node-1 +running +10\.0\.0\.12 +172\.16\.\d+\.0\/24/);
    expect(status).toMatch(/default\/myweb\S* +TCP +10\.254\.\d+\.\d+:8080 +30001/);
  });

  it("conntrack shows the rewrite", async () => {
    await lab.curl(`http://${NODES[1]}:30001/`);
    const table = await lab.ok("conntrack", "-L", "--node", "k8s-node-1");
    expect(table).toMatch(
      /^tcp {6}6 \d+ \w+ src=10\.0\.0\.1 dst=10\.0\.0\.12 sport=\d+ dport=30001 packets=\d+ bytes=\d+ src=172\.16\.\d+\.\d+ dst=172\.16\.\d+\.[01] sport=8080/m,
    );
  });
});

describe("changes while it runs", () => {
  it("scale to 0 is refused at once, back to 5 works again", async () => {
    await lab.ok("scale", "rc/myweb", "--replicas=0");
    // Refused, not timed out: curl's exit code 7, on every node.
    for (const node of NODES)
      await eventually(
        "no endpoints",
        () => lab.curl(`http://${node}:30001/`),
        ({ code }) => code === 7,
      );
    await lab.ok("scale", "rc/myweb", "--replicas=5");
    await eventually(
      "five pods",
      () => answers(`http://${NODES[0]}:30001/`, 5),
      (seen) => new Set(seen).size === 5,
    );
  });

  it("deleting the Service frees its node port", async () => {
    await lab.ok("delete", "svc/myweb");
    await eventually(
      "port closed",
      () => lab.curl(`http://${NODES[0]}:30001/`),
      ({ code }) => code === 7,
    );
    await lab.ok("apply", "-f", "topologies/myweb/myweb-svc.yaml");
    await eventually(
      "port open",
      () => lab.curl(`http://${NODES[0]}:30001/`),
      ({ code }) => code === 0,
    );
  });

  it("logs and describe tell of a pod", async () => {
    const [pod] = (await pods("app=myweb")).items;
    expect(await lab.ok("logs", pod?.metadata.name ?? "")).toContain("podwire/echo");
    const described = await lab.ok("describe", "pod", pod?.metadata.name ?? "");
    expect(described).toMatch(/Started container myweb/);
    expect(described).toMatch(/Successfully assigned default\/myweb/);
  });
});

describe("down", () => {
  it("leaves nothing behind", async () => {
    await lab.down();
    expect(await lab.footprint()).toEqual(before);
  });
});
