/** A lab with IPv4 and IPv6 as its user sees it: real sockets, ping and curl over IPv6. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exec, ROOT, TestLab } from "./lab.js";

interface PodStatus {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly nodeName: string };
  readonly status: {
    readonly podIP: string;
    readonly podIPs: readonly { readonly ip: string }[];
    readonly hostIPs: readonly { readonly ip: string }[];
  };
}

const lab = new TestLab("dualstack");
let pods: PodStatus[] = [];

const ipv6Of = (pod: PodStatus) => pod.status.podIPs[1]?.ip ?? "";
const inPod = (pod: PodStatus, ...words: string[]) => lab.podwire("exec", pod.metadata.name, "--", ...words);

beforeAll(async () => {
  await lab.up(`${ROOT}/topologies/dual-stack.yaml`);
  const list = await lab.json<{ items: PodStatus[] }>("get", "pods");
  pods = list.items.sort((a, b) => a.spec.nodeName.localeCompare(b.spec.nodeName));
});
afterAll(() => lab.down());

describe("addresses", () => {
  it("[sig-network] [Feature:IPv6DualStack] should have ipv4 and ipv6 internal node ip", async () => {
    const nodes = await lab.json<{
      items: { status: { addresses: { type: string; address: string }[] }; spec: { podCIDRs: string[] } }[];
    }>("get", "nodes");
    expect(nodes.items).toHaveLength(2);
    for (const { status, spec } of nodes.items) {
      const internal = status.addresses.filter(({ type }) => type === "InternalIP");
      expect(internal.map(({ address }) => address)).toEqual([
        expect.stringMatching(/^10\.0\.0\./),
        expect.stringMatching(/^fd00:10::/),
      ]);
      expect(spec.podCIDRs).toEqual([
        expect.stringMatching(/^172\.16\.\d+\.0\/24$/),
        expect.stringMatching(/^fd00:10:244:[0-9a-f]+::\/64$/),
      ]);
    }
  });

  it("[sig-network] [Feature:IPv6DualStack] should create pod, add ipv6 and ipv4 ip to pod ips", async () => {
    for (const { status } of pods) {
      expect(status.podIPs).toEqual([{ ip: status.podIP }, { ip: expect.stringMatching(/^fd00:10:244:/) }]);
      expect(status.hostIPs.map(({ ip }) => ip)).toEqual([
        expect.stringMatching(/^10\.0\.0\./),
        expect.stringMatching(/^fd00:10::/),
      ]);
    }
    const { stdout } = await inPod(
      pods[0],
      "ip",
      "-6",
      "-j",
      "addr",
      "show",
      "dev",
      "eth0",
      "scope",
      "global",
    );
    expect(JSON.parse(stdout)[0].addr_info[0]).toMatchObject({ local: ipv6Of(pods[0]), prefixlen: 64 });
  });
});

describe("connections over IPv6", () => {
  it("ping goes from pod to pod of another node, to both nodes and to the host", async () => {
    for (const target of [ipv6Of(pods[1]), "fd00:10::2", "fd00:10::3", "fd00:10::1"]) {
      const { code, stdout } = await inPod(pods[0], "ping", "-6", "-c1", "-W3", target);
      expect(code, `${target}: ${stdout}`).toBe(0);
    }
  });

  it("the host reaches pods, by TCP and with datagrams larger than the overlay's MTU", async () => {
    for (const pod of pods) {
      const { stdout } = await lab.curl(`http://[${ipv6Of(pod)}]:8080/`, "-6");
      expect(stdout).toContain(`pod=${pod.metadata.name} `);
      expect(stdout).toContain("client=[fd00:10::1]:");
      // The first is told the MTU and lost; the next ones come in fragments that fit.
      const ping = await lab.host("ping", "-6", "-c3", "-i0.2", "-W3", "-s", "4000", ipv6Of(pod));
      expect(ping.stdout).toContain("Packet too big: mtu=1472");
      expect(ping.code, ping.stdout).toBe(0);
    }
  });

  it("pods talk to each other with their own addresses, in bulk too", async () => {
    const url = `http://[${ipv6Of(pods[1])}]:8080`;
    const { stdout } = await inPod(pods[0], "curl", "-6", "-sS", "-m", "20", `${url}/`);
    expect(stdout).toContain(`client=[${ipv6Of(pods[0])}]:`);
    const size = 20_000_000;
    const [bytes, hash] = [
      await inPod(pods[0], "sh", "-c", `curl -6 -sS -m 20 ${url}/bytes/${size} | sha256sum`),
      await inPod(pods[0], "curl", "-6", "-sS", "-m", "20", `${url}/sha256/${size}`),
    ];
    expect(bytes.stdout.split(" ")[0]).toBe(hash.stdout.trim());
  });

  it("the node's own stack answers and asks over IPv6", async () => {
    const netns = `pwnode-dual-stack.${pods[0].spec.nodeName}`;
    const ping = await exec(["ip", "netns", "exec", netns, "ping", "-6", "-c1", "-W3", ipv6Of(pods[1])]);
    expect(ping.code, ping.stdout).toBe(0);
    const closed = await lab.curl("http://[fd00:10::2]:9/", "-6");
    expect(closed.stderr).toMatch(/refused|Couldn't connect/);
  });

  it("conntrack and traces name IPv6 addresses", async () => {
    await lab.curl(`http://[${ipv6Of(pods[0])}]:8080/`, "-6");
    const lines = await lab.ok("conntrack", "--orig-dst", ipv6Of(pods[0]));
    expect(lines).toMatch(/tcp {6}6 \d+ \w+ src=fd00:10::1 dst=fd00:10:244:/);
  });
});

describe("Services over IPv6", () => {
  it("a cluster IP and a node port lead to both endpoints in turn", async () => {
    const service = await lab.json<{ spec: { clusterIPs: string[] } }>("get", "service", "echo");
    const clusterIp = service.spec.clusterIPs[1];
    expect(clusterIp).toMatch(/^fd00:10:96::/);
    for (const ask of [
      () => inPod(pods[0], "curl", "-6", "-sS", "-m", "5", `http://[${clusterIp}]/hostname`),
      () => lab.curl(`http://[${clusterIp}]/hostname`, "-6"),
      () => lab.curl("http://[fd00:10::3]:30080/hostname", "-6"),
    ]) {
      const answers = [(await ask()).stdout, (await ask()).stdout];
      expect(answers.sort()).toEqual(pods.map(({ metadata }) => metadata.name).sort());
    }
  });
});
