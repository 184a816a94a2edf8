/** SCTP through the whole network, under upstream's names (test/e2e/network/service.go, networking.go). */
import { describe, expect, it } from "vitest";
import { formatConntrackLine, formatObservation } from "../../src/observe/index.js";
import { type Answer, type AskProtocol, ask } from "./ask.js";
import { Cluster } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { askSctp } from "./sctp.js";

const VIP = "10.254.0.10";
const NODE_1 = "10.0.0.11";
const NODE_2 = "10.0.0.12";
const PORT = { port: 9999, targetPort: 8080, nodePort: 30999, protocol: "SCTP" } as const;

function setUp(options: { trace?: boolean } = {}) {
  const cluster = new Cluster({ nodes: 2, ...options });
  const client = cluster.addPod("client", 1);
  const [near, far] = [cluster.addPod("near", 1), cluster.addPod("far", 2)];
  for (const pod of [near, far]) serveEcho(pod);
  const go = (dst: string, port: number, from = client): Answer => ask(cluster, from, dst, port, "SCTP");
  return { cluster, client, near, far, go };
}

describe("[sig-network] SCTP [LinuxOnly]", () => {
  it("should allow creating a basic SCTP service with pod and endpoints", () => {
    const { cluster, far, go } = setUp();
    cluster.expose("sctp-endpoint-test", VIP, [], PORT);
    expect(go(VIP, 9999).outcome).toBe("refused");
    cluster.expose("sctp-endpoint-test", VIP, [far], PORT);
    expect(go(VIP, 9999)).toEqual({ outcome: "answered", pod: "far", seenAs: "172.16.1.2", replyFrom: VIP });
    cluster.expose("sctp-endpoint-test", VIP, [], PORT);
    expect(go(VIP, 9999).outcome).toBe("refused");
  });
});

describe("[sig-network] Networking", () => {
  it("Granular Checks: Services should function for pod-Service: sctp", () => {
    const { cluster, near, far, go } = setUp();
    cluster.expose("s", VIP, [near, far], PORT);
    const asked = [go(VIP, 9999), go(VIP, 9999), go(NODE_1, 30999), go(NODE_2, 30999)];
    expect(asked.map(({ outcome }) => outcome)).toEqual(Array(4).fill("answered"));
    expect(new Set(asked.map(({ pod }) => pod))).toEqual(new Set(["near", "far"]));
  });

  it("Granular Checks: Services should function for node-Service: sctp", () => {
    const { cluster, near, far, go } = setUp();
    cluster.expose("s", VIP, [near, far], PORT);
    for (const [dst, port] of [
      [VIP, 9999],
      [NODE_1, 30999],
      [NODE_2, 30999],
    ] as const) {
      const pods = [go(dst, port, cluster.host), go(dst, port, cluster.host)].map(({ pod }) => pod);
      expect(new Set(pods)).toEqual(new Set(["near", "far"]));
    }
  });

  it("Granular Checks: Services should function for endpoint-Service: sctp", () => {
    const { cluster, near, far, go } = setUp();
    cluster.expose("s", VIP, [near, far], PORT);
    for (const from of [near, far]) {
      for (const [dst, port] of [
        [VIP, 9999],
        [NODE_1, 30999],
      ] as const) {
        const pods = [go(dst, port, from), go(dst, port, from)].map(({ pod }) => pod);
        expect(new Set(pods)).toEqual(new Set(["near", "far"]));
      }
    }
  });

  it("Granular Checks: Pods should function for intra-pod communication: sctp", () => {
    const { near, far, go } = setUp();
    const asked = [near, far].map((to) => go(to.ip, 8080));
    expect(asked.map(({ pod, seenAs }) => [pod, seenAs])).toEqual([
      ["near", "172.16.1.2"],
      ["far", "172.16.1.2"],
    ]);
  });

  it("Granular Checks: Pods should function for node-pod communication: sctp", () => {
    const { cluster, near, far, go } = setUp();
    expect([near, far].map((to) => go(to.ip, 8080, cluster.host).pod)).toEqual(["near", "far"]);
  });
});

describe("SCTP Services", () => {
  it("share one port number with TCP and UDP", () => {
    const { cluster, client, near } = setUp();
    const protocols = ["TCP", "UDP", "SCTP"] as const;
    const name = (protocol: AskProtocol) => protocol.toLowerCase();
    const ports = protocols.map((protocol) => ({ name: name(protocol), port: 9999, protocol }));
    cluster.applyService("all", { clusterIP: VIP, ports });
    cluster.applyEndpoints(
      "all",
      [near],
      ports.map((port) => ({ ...port, port: 8080 })),
    );
    cluster.sync();
    expect(protocols.map((protocol) => ask(cluster, client, VIP, 9999, protocol).pod)).toEqual(
      Array(3).fill("near"),
    );
  });

  it("leave one trace and one connection on each node", async () => {
    const { cluster, client, far } = setUp({ trace: true });
    cluster.expose("s", VIP, [far], PORT);
    askSctp(client, VIP, 9999);
    cluster.run(5000);
    const lines = cluster.observations.map((seen) => formatObservation(seen));
    const connections = cluster.nodes.flatMap((node, index) =>
      node.datapath.conntrackRecords().map((record) => `# node-${index + 1}: ${formatConntrackLine(record)}`),
    );
    const story = ["# default/client -> Service 10.254.0.10:9999/SCTP -> default/far on node-2", ...lines];
    await expect(`${[...story, ...connections].join("\n")}\n`).toMatchFileSnapshot("golden/sctp.txt");
  });
});
