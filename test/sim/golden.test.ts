/**
 * Traces as people read them, kept as text under golden/. After an intended change: `npx vitest run --project sim
 * test/sim/golden.test.ts -u`, and read the difference.
 */
import { describe, expect, it } from "vitest";
import { formatObservation } from "../../src/observe/index.js";
import { type Answer, ask } from "./ask.js";
import { Cluster } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { text } from "./packet.js";
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

/** The whole trace, with every stage, under a headline. */
function story(cluster: Cluster, headline: string): string {
  const lines = cluster.observations.map((observation) => formatObservation(observation, { wide: true }));
  return `# ${headline}\n${lines.join("\n")}\n`;
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
    await expect(story(cluster, headline)).toMatchFileSnapshot("golden/nodeport.txt");
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
    await expect(story(cluster, headline)).toMatchFileSnapshot("golden/hairpin.txt");
  });

  it("no endpoints", async () => {
    const { cluster, client } = setUp();
    cluster.expose("web", VIP, [], WEB);
    expect(ask(cluster, client, VIP, 80, "TCP").outcome).toBe("refused");
    const headline = "default/client -> Service 10.254.0.10:80 without endpoints: ICMP port unreachable";
    await expect(story(cluster, headline)).toMatchFileSnapshot("golden/no-endpoints.txt");
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
    await expect(story(cluster, headline)).toMatchFileSnapshot("golden/icmp-error-in-nat.txt");
  });
});
