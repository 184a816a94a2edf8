import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Node, Pod } from "../../src/kube/index.js";
import { identity } from "./lab.js";
import { NODES, ServiceLab } from "./service-lab.js";

/** Upstream's granular checks of Services over the second family of the cluster (test/e2e/network/dual_stack.go). */
const lab = new ServiceLab("svc6");
const NETWORK =
  "network: { nodesIPv6: fd00:177::/64, pods: { networkIPv6: fd00:10:244::/56 }, servicesIPv6: fd00:10:96::/112 }";
const SERVERS = ["web-1", "web-2", "web-3"];
const HOST_SERVERS = ["host-1", "host-2", "host-3"];
const WEB = { app: "web" };
const PORTS = [
  { name: "http", port: 80, targetPort: 8080 },
  { name: "udp", port: 90, targetPort: 8080, protocol: "UDP" },
];
const distinct = (answers: readonly string[]) => [...new Set(answers)].sort();
const url = (ip: string, port: number, path = "hostname") => `http://[${ip}]:${port}/${path}`;
const SCTP_STATION = [
  // A pod's directory is /, from where packages are not found by their names.
  ...[process.execPath, "--import", import.meta.resolve("tsx")],
  fileURLToPath(new URL("sctp-station.ts", import.meta.url)),
];
type How = "http" | "udp";
const HOWS = ["http", "udp"] as const;
let nodeIps: string[] = [];

beforeAll(async () => {
  await lab.up(NETWORK);
  await Promise.all([
    ...NODES.flatMap((node, index) => [
      lab.pod(SERVERS[index] ?? "", { node, labels: WEB }),
      lab.pod(HOST_SERVERS[index] ?? "", { node, labels: { app: "host" }, hostNetwork: true }),
    ]),
    lab.pod("client", { node: NODES[0] }),
  ]);
  await lab.ready(...SERVERS, ...HOST_SERVERS, "client");
  const { items } = await lab.client.list<Node>("nodes");
  nodeIps = items.map(
    ({ status }) => status?.addresses?.filter(({ type }) => type === "InternalIP")[1]?.address ?? "",
  );
  for (const ip of nodeIps) expect(ip).toMatch(/^fd00:177::/);
});
afterAll(() => lab.down());

interface Reached {
  /** The second of the cluster IPs. */
  readonly ip: string;
  readonly port: Readonly<Record<How, number>>;
  readonly nodePort: Readonly<Record<How, number>>;
}

/** A Service of both families for the time of a test. */
async function withService(spec: object, test: (service: Reached) => Promise<void>): Promise<void> {
  const families = { ipFamilyPolicy: "RequireDualStack", ipFamilies: ["IPv4", "IPv6"] };
  const made = await lab.service("tried", {
    ...{ type: "NodePort", selector: WEB, ports: PORTS, ...families },
    ...spec,
  });
  const [http = 0, udp = 0] = (made.spec?.ports ?? []).map(
    ({ nodePort = 0 }: { nodePort?: number }) => nodePort,
  );
  const ip = made.spec?.clusterIPs?.[1] ?? "";
  expect(ip).toMatch(/^fd00:10:96::/);
  try {
    await lab.becomes("client", url(ip, 80), /^(web|host)-/);
    await test({ ip, port: { http: 80, udp: 90 }, nodePort: { http, udp } });
  } finally {
    await lab.remove("services", "tried");
    await lab.becomes("client", url(ip, 80), "timeout");
  }
}

const ask = (how: How, place: string, ip: string, port: number, count = 6): Promise<string[]> =>
  how === "http" ? lab.ask(place, url(ip, port), count) : lab.udp(place, ip, port, { count });

/** All of the servers answer there. */
async function all(how: How, place: string, ip: string, port: number, servers = SERVERS): Promise<void> {
  await lab.until(
    `${servers} over ${how} at ${ip}:${port} from ${place}`,
    async () => distinct(await ask(how, place, ip, port)).join() === servers.join(),
  );
}

const HTTP_MESSAGE = "42".repeat(1000);
const UDP_MESSAGE = `n${"o".repeat(1999)}`;
/** Sends a datagram, and prints what comes back. */
const UDP_ECHO = `
const [ip, port, message] = process.argv.slice(1);
const socket = require("node:dgram").createSocket("udp6");
const timer = setTimeout(() => { console.log("timeout"); socket.close(); }, 3000);
socket.on("message", (answer) => { clearTimeout(timer); console.log(String(answer)); socket.close(); });
socket.connect(Number(port), ip, () => socket.send(message));`;

/** A message that no packet holds goes there whole, and for UDP back, too. */
async function large(how: How, place: string, ip: string, port: number): Promise<void> {
  if (how === "http") {
    const { stdout } = await lab.run(
      place,
      "curl",
      "-sS",
      "--max-time",
      "5",
      "--data",
      HTTP_MESSAGE,
      url(ip, port),
    );
    expect(stdout.trim()).toBe(`${createHash("sha256").update(HTTP_MESSAGE).digest("hex")} 2000`);
    return;
  }
  const { stdout } = await lab.run(place, process.execPath, "-e", UDP_ECHO, ip, String(port), UDP_MESSAGE);
  const [who = "", message = ""] = stdout.split("\n");
  expect(identity(who).pod).toMatch(/^(web|host)-/);
  expect(message).toBe(UDP_MESSAGE);
}

describe("[sig-network] [Feature:IPv6DualStack] Granular Checks: Services Secondary IP Family [LinuxOnly]", () => {
  const kinds = (["pod", "node", "endpoint"] as const).flatMap((from) =>
    HOWS.map((how) => [from, how] as const),
  );
  const places = { pod: "client", node: NODES[0], endpoint: "web-1" } as const;

  it.each(kinds)("should function for %s-Service: %s", (from, how) =>
    withService({}, async ({ ip, port, nodePort }) => {
      await all(how, places[from], ip, port[how]);
      for (const node of nodeIps) await all(how, places[from], node, nodePort[how]);
    }),
  );

  it.each(HOWS)("should function for client IP based session affinity: %s [LinuxOnly]", (how) =>
    withService({ sessionAffinity: "ClientIP" }, async ({ ip, port }) => {
      await lab.until("an answer", async () =>
        /^web-/.test((await ask(how, "client", ip, port[how], 1))[0] ?? ""),
      );
      expect(distinct(await ask(how, "client", ip, port[how], 9))).toEqual([expect.stringMatching(/^web-/)]);
      // Another client may be led elsewhere, but it stays there as well.
      expect(distinct(await ask(how, "web-2", ip, port[how], 9))).toHaveLength(1);
    }),
  );

  it.each(HOWS)("should be able to handle large requests: %s", (how) =>
    withService({}, async ({ ip, port, nodePort }) => {
      for (let times = 0; times < SERVERS.length; times++) await large(how, "client", ip, port[how]);
      await large(how, "client", nodeIps[1] ?? "", nodePort[how]);
    }),
  );

  it.each(HOWS)("should update endpoints: %s", (how) =>
    withService({}, async ({ ip, port }) => {
      const relabel = (app: string) =>
        lab.edit<Pod>("pods", "web-3", ({ metadata }) => Object.assign(metadata?.labels ?? {}, { app }));
      await all(how, "client", ip, port[how]);
      await relabel("gone");
      await all(how, "client", ip, port[how], ["web-1", "web-2"]);
      await relabel("web");
      await all(how, "client", ip, port[how]);
    }),
  );

  it("should function for pod-Service: sctp [Feature:SCTPConnectivity]", async () => {
    const ports = [{ name: "sctp", port: 95, targetPort: 9999, protocol: "SCTP" }];
    const families = { ipFamilyPolicy: "RequireDualStack", ipFamilies: ["IPv4", "IPv6"] };
    const { spec } = await lab.service("sctp", { type: "NodePort", selector: WEB, ports, ...families });
    const servers = await Promise.all(
      SERVERS.map((name) => lab.spawn(name, ...SCTP_STATION, "serve", "9999", name)),
    );
    try {
      for (const server of servers) await server.says("serves");
      for (const [ip, port] of [
        [spec?.clusterIPs?.[1] ?? "", 95],
        [nodeIps[0] ?? "", spec?.ports?.[0]?.nodePort ?? 0],
        [nodeIps[1] ?? "", spec?.ports?.[0]?.nodePort ?? 0],
      ] as const) {
        const { stdout } = await lab.run("client", ...SCTP_STATION, "ask", ip, String(port), "6");
        const answers = stdout.trim().split("\n");
        expect(answers, `${ip} ${port}`).toHaveLength(6);
        expect(distinct(answers)).toEqual(SERVERS);
      }
    } finally {
      for (const server of servers) server.kill();
      await lab.remove("services", "sctp");
    }
  });

  it("should function for service endpoints using hostNetwork", () =>
    withService({ selector: { app: "host" } }, async ({ ip, port, nodePort }) => {
      for (const place of ["client", NODES[0]] as const)
        for (const how of HOWS) {
          await all(how, place, ip, port[how], HOST_SERVERS);
          await all(how, place, nodeIps[1] ?? "", nodePort[how], HOST_SERVERS);
          await large(how, place, ip, port[how]);
        }
    }));
});

describe("[sig-network] [Feature:IPv6DualStack]", () => {
  it("should be able to reach pod on ipv4 and ipv6 ip", async () => {
    // On each node one of both, for which upstream has Deployments with anti-affinity.
    const names = (kind: string) => NODES.map((_node, index) => `dualstack-${kind}-${index + 1}`);
    const [serverNames, clientNames] = [names("server"), names("client")];
    for (const kind of [serverNames, clientNames])
      await Promise.all(kind.map((name, index) => lab.pod(name, { node: NODES[index] ?? "" })));
    const servers = await lab.ready(...serverNames);
    const clients = await lab.ready(...clientNames);
    for (const { metadata: client } of clients)
      for (const { metadata, status } of servers) {
        const [ipv4 = "", ipv6 = "", ...more] = (status?.podIPs ?? []).map(({ ip }) => ip ?? "");
        expect([ipv4.includes("."), ipv6.includes(":"), more]).toEqual([true, true, []]);
        for (const address of [`http://${ipv4}:8080/hostname`, url(ipv6, 8080)])
          expect(await lab.ask(client?.name ?? "", address)).toEqual([metadata?.name]);
      }
    await lab.remove("pods", ...serverNames, ...clientNames);
  });
});
