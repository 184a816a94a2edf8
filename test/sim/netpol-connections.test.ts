/** NetworkPolicies and the life of connections: Services, nodes, masquerading, changes under open connections. */
import type { NetworkPolicyPeer } from "kubernetes-types/networking/v1.d.ts";
import { describe, expect, it } from "vitest";
import { type AskProtocol, ask } from "./ask.js";
import { seededRandom } from "./clock.js";
import { Cluster, HOST_IP } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { ip } from "./node.js";
import { text } from "./packet.js";
import type { Station } from "./station.js";

const VIP = "10.254.0.10";
const NODE_1 = "10.0.0.11";
const DENIED = "drop:policy-denied";

/** A client and a web pod on either node; `web-1` and `web-2` behind a NodePort Service. */
function setUp() {
  const cluster = new Cluster({ nodes: 2 });
  const [client1, client2] = [cluster.addPod("client-1", 1), cluster.addPod("client-2", 2)];
  const [web1, web2] = [1, 2].map((node) => cluster.addPod(`web-${node}`, node, { labels: { app: "web" } }));
  for (const web of [web1!, web2!]) serveEcho(web);
  return { cluster, client1, client2, web1: web1!, web2: web2! };
}

const outcome = (cluster: Cluster, from: Station, dst: string, port: number, how: AskProtocol = "TCP") =>
  ask(cluster, from, dst, port, how).outcome;
const allowFrom = (cluster: Cluster, ...from: NetworkPolicyPeer[]) =>
  cluster.applyPolicy("web", { podSelector: { matchLabels: { app: "web" } }, ingress: [{ from }] });
const block = (cidr: string) => ({ ipBlock: { cidr } });

describe("what counts as source and destination", () => {
  it("a pod behind a Service is judged by its own address and target port", () => {
    const { cluster, client1, web2 } = setUp();
    cluster.expose("web", VIP, [web2], { port: 80, targetPort: 8080 });
    const ports = (port: number) =>
      cluster.applyPolicy("out", {
        podSelector: {},
        policyTypes: ["Egress"],
        egress: [{ to: [block(`${web2.ip}/32`)], ports: [{ port }] }],
      });
    ports(8080);
    expect(outcome(cluster, client1, VIP, 80)).toBe("answered");
    ports(80);
    expect(outcome(cluster, client1, VIP, 80)).toBe("silence");
  });

  it("a client from outside bears its own address on the node it came in by, that node's on others", () => {
    const { cluster, web1, web2 } = setUp();
    for (const web of [web1, web2]) {
      cluster.expose("web", VIP, [web], { port: 80, targetPort: 8080, nodePort: 30080 });
      allowFrom(cluster, block(`${HOST_IP}/32`));
      expect(outcome(cluster, cluster.host, NODE_1, 30080)).toBe(web === web1 ? "answered" : "silence");
      allowFrom(cluster, block("172.16.1.0/32"));
      expect(outcome(cluster, cluster.host, NODE_1, 30080)).toBe(web === web1 ? "silence" : "answered");
    }
  });

  it("a pod that comes by a node port bears its own address on its own node, that node's on others", () => {
    const { cluster, client1, web1, web2 } = setUp();
    for (const web of [web1, web2]) {
      cluster.expose("web", VIP, [web], { port: 80, targetPort: 8080, nodePort: 30080 });
      allowFrom(cluster, block(`${client1.ip}/32`));
      expect(outcome(cluster, client1, NODE_1, 30080)).toBe(web === web1 ? "answered" : "silence");
    }
  });

  it("a pod that asks itself through a Service is let through, whatever isolates it", () => {
    const { cluster, web1 } = setUp();
    cluster.expose("web", VIP, [web1], { port: 80, targetPort: 8080 });
    cluster.applyPolicy("deny", { policyTypes: ["Ingress", "Egress"] });
    expect(outcome(cluster, web1, VIP, 80)).toBe("answered");
  });
});

describe("a pod's own node", () => {
  it("reaches it and is reached, whatever isolates the pod; other nodes do not", () => {
    const { cluster, web1, web2 } = setUp();
    const node = cluster.addNodeStack(1);
    serveEcho(node, 9000);
    cluster.applyPolicy("deny", { policyTypes: ["Ingress", "Egress"] });
    expect(outcome(cluster, node, web1.ip, 8080)).toBe("answered");
    expect(outcome(cluster, web1, NODE_1, 9000)).toBe("answered");
    expect(outcome(cluster, node, web2.ip, 8080)).toBe("silence");
    expect(outcome(cluster, web2, NODE_1, 9000)).toBe("silence");
  });

  it("the machine asks pods by their addresses as the kubelet does, and by a Service as a client from outside", () => {
    const { cluster, web1 } = setUp();
    cluster.expose("web", VIP, [web1], { port: 80, targetPort: 8080, nodePort: 30080 });
    cluster.applyPolicy("deny", { policyTypes: ["Ingress", "Egress"] });
    expect(outcome(cluster, cluster.host, web1.ip, 8080)).toBe("answered");
    expect(outcome(cluster, cluster.host, NODE_1, 30080)).toBe("silence");
    web1.ping(HOST_IP);
    cluster.run();
    expect(web1.echoReplies).toEqual([]);
  });
});

describe("ICMP", () => {
  it("is allowed by rules without ports only", () => {
    const { cluster, client1, web2 } = setUp();
    const ports = (...list: { port: number }[]) => cluster.applyPolicy("web", { ingress: [{ ports: list }] });
    ports({ port: 8080 });
    expect(outcome(cluster, client1, web2.ip, 0, "ICMP")).toBe("silence");
    expect(outcome(cluster, client1, web2.ip, 8080)).toBe("answered");
    ports();
    expect(outcome(cluster, client1, web2.ip, 0, "ICMP")).toBe("answered");
  });

  it("an error about an allowed connection passes", () => {
    const { cluster, client1, web2 } = setUp();
    cluster.applyPolicy("deny", { podSelector: { matchLabels: { app: "none" } } });
    cluster.labelPod(client1, { app: "none" });
    client1.sendUdp(web2.ip, 9, text("closed"));
    cluster.run();
    expect(client1.errors).toMatchObject([{ from: web2.ip, type: 3, code: 3 }]);
  });
});

describe("replies", () => {
  it("come in to a pod that lets nothing in, for as long as the connection is known", () => {
    const { cluster, client1, web2 } = setUp();
    cluster.applyPolicy("deny", {});
    allowFrom(cluster, { podSelector: {} });
    cluster.labelPod(client1, { app: "shut" });
    expect(outcome(cluster, client1, web2.ip, 8080)).toBe("answered");
    expect(outcome(cluster, client1, web2.ip, 8080, "UDP")).toBe("answered");
    expect(outcome(cluster, web2, client1.ip, 8080)).toBe("silence");
  });
});

describe("a change of policies under open connections", () => {
  const denied = (cluster: Cluster) =>
    cluster.nodes.reduce((sum, { datapath }) => sum + (datapath.counters.export()[DENIED] ?? 0), 0);

  it("stalls those that are denied now, leaves the others, and a stalled one goes on when it may again", () => {
    const { cluster, client1, client2, web2 } = setUp();
    const [one, two] = [client1.connect(web2.ip, 8080), client2.connect(web2.ip, 8080)];
    const say = (word: string) => {
      for (const end of [one, two]) end.write(word);
      cluster.run(100);
    };
    say("a");
    allowFrom(cluster, block(`${client2.ip}/32`));
    say("b");
    expect([one, two].map(({ input }) => input.match(/ [ab]+/g)?.join(""))).toEqual([" a", " a b"]);
    expect(denied(cluster)).toBeGreaterThan(0);
    cluster.deletePolicy("web");
    cluster.run(5000);
    expect(one.input).toMatch(/ a.* b/);
    expect([one.state, two.state]).toEqual(["established", "established"]);
  });

  it("counts for labels as for policies, and for UDP as for TCP", () => {
    const { cluster, client1, web2 } = setUp();
    allowFrom(cluster, { podSelector: { matchLabels: { role: "friend" } } });
    const send = () => {
      const before = client1.datagrams.length;
      client1.sendUdp(web2.ip, 8080, text("hello"), { sport: 45_000 });
      cluster.run(100);
      return client1.datagrams.length - before;
    };
    expect(send()).toBe(0);
    cluster.labelPod(client1, { role: "friend" });
    expect(send()).toBe(1);
    cluster.labelPod(client1, {});
    expect(send()).toBe(0);
  });
});

/** The invariant of test/sim/policy-invariant.ts holds for every frame; here also that what is allowed works. */
describe("random policies", () => {
  it.each([1, 2])("seed %i: new connections work exactly when the policies allow them", (seed) => {
    const random = seededRandom(seed);
    const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!;
    const cluster = new Cluster({ nodes: 3, seed });
    const labels = () => ({ app: pick(["a", "b"]), tier: pick(["1", "2"]) });
    const pods = ["x/1", "x/2", "x/3", "y/1", "y/2", "y/3"].map((name, i) =>
      cluster.addPod(name, 1 + (i % 3), { labels: labels() }),
    );
    for (const pod of pods) serveEcho(pod);
    const selector = () => ({
      matchLabels: pick<Record<string, string>>([{}, { app: "a" }, { app: "b" }, { tier: "1" }]),
    });
    const peers = (): NetworkPolicyPeer[] =>
      pick([
        [],
        [{ podSelector: selector() }],
        [{ namespaceSelector: {}, podSelector: selector() }],
        [block(pick(["172.16.1.0/24", "172.16.2.0/23"]))],
      ]);
    const ports = () => pick([[], [{ port: 8080 }], [{ protocol: "UDP" }]]);
    const open = pods.map((pod, i) => pod.connect(pods[(i + 1) % pods.length]!.ip, 8080));
    const answers = { answered: 0, silence: 0 };
    for (let step = 0; step < 150; step++) {
      const key = `${pick(["x", "y"])}/${pick(["p", "q"])}`;
      const change = random();
      if (change < 0.5)
        cluster.applyPolicy(key, {
          podSelector: selector(),
          policyTypes: pick([["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
          ingress: [{ from: peers(), ports: ports() }],
          egress: [{ to: peers(), ports: ports() }],
        });
      else if (change < 0.7) cluster.deletePolicy(key);
      else cluster.labelPod(pick(pods), labels());
      for (const end of open) end.write("on");
      const [from, to] = [pick(pods), pick(pods)];
      if (from === to) continue;
      const protocol = pick(["TCP", "UDP"] as const);
      const connection = { protocol, src: from.ip, dst: to.ip, dport: 8080 };
      const expected = cluster.oracle.allows(connection) ? "answered" : "silence";
      expect(outcome(cluster, from, to.ip, 8080, protocol), JSON.stringify(connection)).toBe(expected);
      answers[expected]++;
    }
    expect(Math.min(answers.answered, answers.silence)).toBeGreaterThan(20);
    const first = { src: ip(pods[0]!.ip) };
    expect(cluster.node(1).datapath.conntrackRecords(first).length).toBeGreaterThan(0);
  });
});
