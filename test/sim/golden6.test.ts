/** Traces over IPv6 as people read them; see golden.test.ts. */
import { describe, expect, it } from "vitest";
import { formatObservation } from "../../src/observe/index.js";
import { type Answer, ask } from "./ask.js";
import { Cluster, networks6Of, sixOf } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { text } from "./packet.js";
import type { Station } from "./station.js";

const VIP = sixOf("10.254.0.10");
const { nodeIp } = networks6Of(1);

function setUp(): { cluster: Cluster; web: Station } {
  const cluster = new Cluster({ trace: true, dualStack: true });
  const web = cluster.addPod("web-1", 2);
  serveEcho(web);
  return { cluster, web };
}

/** The whole trace, with every stage, under a headline and the mistake that it may cure. */
function story(cluster: Cluster, headline: string, mistake: string): string {
  const lines = cluster.observations.map((observation) => formatObservation(observation, { wide: true }));
  return `# ${headline}\n# Often wrong: ${mistake}\n${lines.join("\n")}\n`;
}

describe("golden traces over IPv6", () => {
  it("NodePort with the endpoint on another node", async () => {
    const { cluster, web } = setUp();
    cluster.expose("web", VIP, [web], { port: 80, targetPort: 8080, nodePort: 30080 });
    const answer = ask(cluster, cluster.host, nodeIp, 30080, "TCP");
    const expected: Answer = {
      outcome: "answered",
      pod: "web-1",
      seenAs: "fd00:10:244:1::",
      replyFrom: nodeIp,
    };
    expect(answer).toEqual(expected);
    const headline =
      "host (fd00:10::1) -> NodePort [fd00:10::11]:30080 of node-1 -> default/web-1 on node-2, and back";
    const mistake =
      "taking IPv6 for a family without NAT: Services rewrite it like IPv4, and only the neighbour questions before it differ";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/nodeport6.txt");
  });

  it("packet too big inside NAT", async () => {
    const { cluster, web } = setUp();
    cluster.expose("web", VIP, [web], { port: 53, targetPort: 8080, nodePort: 30053, protocol: "UDP" });
    const big = text("x".repeat(1440));
    cluster.host.sendUdp(nodeIp, 30053, big, { sport: 40_000 });
    cluster.run();
    expect(cluster.host.errors).toMatchObject([
      {
        from: nodeIp,
        type: 2,
        code: 0,
        mtuBytes: 1472,
        quoted: { dst: nodeIp, sport: 40_000, dport: 30053 },
      },
    ]);
    cluster.host.sendUdp(nodeIp, 30053, big, { sport: 40_000 });
    cluster.run();
    expect(cluster.host.datagrams.map(({ from }) => from)).toEqual([nodeIp]);
    const headline =
      "host -> NodePort [fd00:10::11]:30053/udp with more than the overlay takes: told the MTU, it sends fragments, and is answered";
    const mistake =
      "filtering ICMPv6: no router cuts IPv6, so the sender has to hear of the MTU, in the words of the packet that it sent";
    await expect(story(cluster, headline, mistake)).toMatchFileSnapshot("golden/packet-too-big.txt");
  });
});
