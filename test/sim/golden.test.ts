/**
 * Traces as people read them, kept as text under golden/. After an intended change: `npx vitest run --project sim
 * test/sim/golden.test.ts -u`, and read the difference.
 */
import { describe, expect, it } from "vitest";
import { formatObservation } from "../../src/observe/index.js";
import { type Answer, ask } from "./ask.js";
import { Cluster } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { asText, text } from "./packet.js";
import type { Station } from "./station.js";

const VIP = "10.254.0.10";
const WEB = { port: 80, targetPort: 8080, nodePort: 30080 } as const;

function setUp(): { cluster: Cluster; client: Station; web: Station } {
  const cluster = new Cluster({ trace: true });
  const client = cluster.addPod("client", 1);
  const web = cluster.addPod("web-1", 2);
  serveEcho(web);
  return { cluster, client, web };
}

/** The whole trace, with every stage, under a headline and the mistake that it may cure. */
function story(cluster: Cluster, headline: string, mistake: string): string {
  const lines = cluster.observations.map((observation) => formatObservation(observation, { wide: true }));
  return `# ${headline}\n# Often wrong: ${mistake}\n${lines.join("\n")}\n`;
}

describe("golden traces", () => {
  it("NodePort with the endpoint on another node", async () => {
    const { cluster, web } = setUp();
    cluster.expose("web", VIP, [web], WEB);
    const answer = ask(cluster, cluster.host, "10.0.0.11", 30080, "TCP");
    expect(answer).toEqual<Answer>({
      outcome: "answered",
      pod: "web-1",
      seenAs: "172.16.1.0",
      replyFrom: "10.0.0.11",
    });
    const ids = (node: string) =>
      cluster.observations.filter((seen) => seen.node === node).map((seen) => seen.packetId);
    expect(ids("node-1").length).toBeGreaterThan(6);
    expect(new Set(ids("node-1"))).toEqual(new Set(ids("node-2")));
    const headline =
      "host (10.0.0.1) -> NodePort 10.0.0.11:30080 of node-1 -> default/web-1 on node-2, and back";
    const mistake =
      "that the pod sees the client: it sees the node that took the connection in, or the reply would not come back through it";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/nodeport.txt");
  });

  it("hairpin", async () => {
    const { cluster, web } = setUp();
    cluster.expose("web", VIP, [web], WEB);
    const answer = ask(cluster, web, VIP, 80, "TCP");
    expect(answer).toEqual<Answer>({
      outcome: "answered",
      pod: "web-1",
      seenAs: "172.16.2.1",
      replyFrom: VIP,
    });
    const headline =
      "default/web-1 on node-2 -> its own Service 10.254.0.10:80 -> itself, seen as the bridge, and back";
    const mistake =
      "leaving the source alone: the pod would see a packet from itself, and drop it or answer itself without the way back through NAT";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/hairpin.txt");
  });

  it("no endpoints", async () => {
    const { cluster, client } = setUp();
    cluster.expose("web", VIP, [], WEB);
    expect(ask(cluster, client, VIP, 80, "TCP").outcome).toBe("refused");
    const headline = "default/client -> Service 10.254.0.10:80 without endpoints: ICMP port unreachable";
    const mistake =
      "dropping it: a client that is refused knows at once, a client that is not waits for its timeout";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/no-endpoints.txt");
  });

  it("ICMP error inside NAT", async () => {
    const { cluster, web } = setUp();
    cluster.expose("shut", VIP, [web], { port: 53, targetPort: 9, nodePort: 30053, protocol: "UDP" });
    cluster.host.sendUdp("10.0.0.11", 30053, text("anybody there?"));
    cluster.run();
    expect(cluster.host.errors).toMatchObject([
      { from: "10.0.0.11", type: 3, code: 3, quoted: { dport: 30053 } },
    ]);
    const headline =
      "host -> NodePort 10.0.0.11:30053/udp -> closed port of default/web-1: its refusal finds the way back";
    const mistake =
      "translating the outer header only: the quoted one must name what the client sent, or its kernel finds no socket for it";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/icmp-error-in-nat.txt");
  });

  it("NodePort with externalTrafficPolicy Local", async () => {
    const { cluster, web } = setUp();
    cluster.expose("web", VIP, [web], { ...WEB, spec: { externalTrafficPolicy: "Local" } });
    const answer = ask(cluster, cluster.host, "10.0.0.12", 30080, "TCP");
    expect(answer).toMatchObject({ outcome: "answered", pod: "web-1", seenAs: "10.0.0.1" });
    cluster.host.connect("10.0.0.11", 30080);
    cluster.run(100);
    const headline =
      "host (10.0.0.1) -> NodePort of node-2, policy Local, default/web-1 there sees the host; " +
      "then of node-1, which has no endpoint: dropped";
    const mistake =
      "refusing where there is no local endpoint: REJECT would tell a load balancer's client; kube-proxy DROPs, and the health check says so";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/nodeport-local.txt");
  });

  it("source range drop", async () => {
    const { cluster, client, web } = setUp();
    const spec = { type: "LoadBalancer", loadBalancerSourceRanges: ["10.0.0.0/24"] };
    cluster.routeHost("203.0.113.9/32", 1);
    cluster.expose("web", VIP, [web], { port: 80, targetPort: 8080, spec, ingress: [{ ip: "203.0.113.9" }] });
    expect(ask(cluster, cluster.host, "203.0.113.9", 80, "TCP").outcome).toBe("answered");
    const end = client.connect("203.0.113.9", 80);
    cluster.run(100);
    expect(end.state).toBe("syn-sent");
    const headline =
      "host -> load balancer 203.0.113.9:80 of source ranges 10.0.0.0/24, which hold it; then default/client, which is in none: dropped";
    const mistake =
      "applying the ranges to the cluster IP and node port too, or refusing: only the load balancer's address is guarded, and silently";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/source-range-drop.txt");
  });

  it("endpoint removal with an open connection", async () => {
    const { cluster, client, web } = setUp();
    const other = cluster.addPod("web-2", 1);
    serveEcho(other);
    cluster.expose("web", VIP, [web], WEB);
    const open = client.connect(VIP, 80);
    open.write("before");
    cluster.run(100);
    cluster.expose("web", VIP, [other], WEB);
    open.write("after");
    cluster.run(100);
    expect(open.input.match(/pod=web-1/g)).toHaveLength(2);
    const next = client.connect(VIP, 80);
    next.write("new");
    cluster.run(100);
    expect(next.input).toContain("pod=web-2");
    const headline =
      "default/client -> Service 10.254.0.10:80 -> default/web-1; at 0.1 s web-1 is removed and web-2 added: " +
      "the open connection goes on with web-1, at 0.2 s a new one goes to web-2";
    const mistake =
      "that removing an endpoint ends its connections: TCP drains, conntrack knows where it went";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/endpoint-removal.txt");
  });

  it("UDP stale entry", async () => {
    const { cluster, client, web } = setUp();
    const other = cluster.addPod("web-2", 1);
    serveEcho(other);
    const dns = { port: 53, targetPort: 8080, protocol: "UDP" } as const;
    const send = () => {
      client.sendUdp(VIP, 53, text("name?"), { sport: 45_353 });
      cluster.run(100);
    };
    cluster.expose("dns", VIP, [web], dns);
    send();
    cluster.expose("dns", VIP, [other], dns);
    send();
    expect(client.datagrams.map(({ from, payload }) => `${from} ${asText(payload).slice(0, 9)}`)).toEqual([
      `${VIP} pod=web-1`,
      `${VIP} pod=web-2`,
    ]);
    expect(cluster.node(1).proxier.metrics().staleFlowsDeletedTotal).toBe(1);
    const headline =
      "default/client, one UDP socket -> Service 10.254.0.10:53 -> default/web-1; at 0.1 s web-1 is replaced by web-2: " +
      "the conntrack entry is deleted, the next datagram of the same socket is NEW and goes to web-2";
    const mistake =
      "treating UDP like TCP: a busy socket never lets its entry expire and would talk to the dead pod for ever";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/udp-stale-entry.txt");
  });

  it("affinity expiry", async () => {
    const { cluster, client, web } = setUp();
    const other = cluster.addPod("web-2", 1);
    serveEcho(other);
    const timeout = { sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } };
    const spec = { sessionAffinity: "ClientIP", ...timeout };
    cluster.expose("web", VIP, [web, other], { port: 80, targetPort: 8080, protocol: "UDP", spec });
    const pods = [0, 50, 50, 61].map((pauseSeconds) => {
      cluster.run(pauseSeconds * 1000);
      return ask(cluster, client, VIP, 80, "UDP").pod;
    });
    expect(pods).toEqual([pods[0], pods[0], pods[0], expect.not.stringMatching(pods[0])]);
    const headline =
      "default/client -> Service 10.254.0.10:80/udp with affinity of 60 s: new flows after 55 s go to the same endpoint, " +
      "each renewing it; one after 66 s goes to the next";
    const mistake = "counting from the first connection: every new one renews it";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/affinity-expiry.txt");
  });

  it("fragments of a NATed datagram", async () => {
    const { cluster, client, web } = setUp();
    cluster.expose("dns", VIP, [web], { port: 53, targetPort: 8080, protocol: "UDP" });
    client.sendUdp(VIP, 53, text("x".repeat(3000)), { sport: 45_353 });
    cluster.run();
    expect(client.datagrams.map(({ from, sport }) => `${from}:${sport}`)).toEqual([`${VIP}:53`]);
    const headline =
      "default/client -> Service 10.254.0.10:53/udp, 3000 bytes in three fragments -> default/web-1, which answers";
    const mistake =
      "looking for ports in every fragment: only the first has them, the others follow it by address and IP id";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/fragments.txt");
  });

  it("bridge without netfilter", async () => {
    const cluster = new Cluster({ trace: true, bridgeNetfilter: false, nodes: 1 });
    const client = cluster.addPod("client", 1);
    const web = cluster.addPod("web-1", 1);
    serveEcho(web);
    cluster.expose("web", VIP, [web], WEB);
    const end = client.connect(VIP, 80);
    cluster.run(100);
    expect(end.state).toBe("syn-sent");
    expect(client.received.map(({ src }) => src)).toContain(web.ip);
    const headline =
      "default/client -> Service 10.254.0.10:80 -> default/web-1 on the same bridge, with bridge-nf-call-iptables=0";
    const mistake =
      "that the reply passes the node's NAT because the request did: web-1 knows the client by its MAC, the bridge switches " +
      "the reply as it is, and the client resets what comes from an address it never asked";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot(
      "golden/bridge-without-netfilter.txt",
    );
  });

  it("policy deny", async () => {
    const cluster = new Cluster({ trace: true });
    const [web, db, guest] = [
      cluster.addPod("shop/web", 1, { labels: { app: "web" } }),
      cluster.addPod("shop/db", 2, { labels: { app: "db" } }),
      cluster.addPod("guests/visitor", 1),
    ];
    serveEcho(db);
    cluster.expose("shop/db", VIP, [db], WEB);
    cluster.applyPolicy("shop/default-deny", {});
    const fromWeb = { from: [{ podSelector: { matchLabels: { app: "web" } } }], ports: [{ port: 8080 }] };
    cluster.applyPolicy("shop/db", { podSelector: { matchLabels: { app: "db" } }, ingress: [fromWeb] });
    const open = web.connect(VIP, 80);
    open.write("before");
    guest.connect(VIP, 80);
    cluster.run(100);
    expect(open.input).toContain("pod=shop/db");
    cluster.deletePolicy("shop/db");
    open.write("after");
    cluster.run(100);
    expect(open.input.match(/pod=/g)).toHaveLength(1);
    const headline =
      "shop/web -> Service 10.254.0.10:80 -> shop/db, which a policy allows to it alone, so guests/visitor is denied; " +
      "at 0.1 s the policy is deleted, shop/default-deny stays, and the open connection is denied as well";
    const mistake =
      "that the client's node denies, or that a policy names Services: ingress is judged on the server's node, by pod and " +
      "by target port, after DNAT";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/policy-deny.txt");
  });
});
