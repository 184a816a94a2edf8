/** Pods at the edges of their node: ports of the node that are taken, and a world outside that sees who they are. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Pod } from "../../src/kube/index.js";
import { CrashLab } from "./crash-lab.js";
import { eventually, exec } from "./lab.js";

const echo = (name: string, nodeName: string, ports: object[] = []) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name },
  spec: { nodeName, containers: [{ name: "echo", image: "podwire/echo", ports }] },
});
const hostPort = (port: number, more: object = {}) => ({ containerPort: 8080, hostPort: port, ...more });

const lab = new CrashLab("podnet", {
  network: { nodes: "10.0.0.0/24", pods: { network: "172.16.0.0/16" }, services: "10.254.0.0/16" },
  nodes: [
    { name: "n1", ip: "10.0.0.11" },
    { name: "n2", ip: "10.0.0.12" },
  ],
  options: { ipMasq: false },
  manifests: [echo("first", "n1", [hostPort(8081)]), echo("other-node", "n2", [hostPort(8081)])],
});
/** Plays a machine beyond the one that the lab is on. */
const outside = `pwt-podnet-out-${process.pid}`;
const [HOST_SIDE, OUTSIDE] = ["192.0.2.1", "192.0.2.2"];

const inOutside = (...words: string[]) => exec(["ip", "netns", "exec", outside, ...words]);

beforeAll(async () => {
  await lab.up(lab.topology);
  await exec(["ip", "netns", "add", outside]);
  const link = ["link", "add", "out0", "netns", lab.netns, "type", "veth", "peer", "name", "eth0", "netns"];
  await exec(["ip", ...link, outside]);
  await lab.host("ip", "addr", "add", `${HOST_SIDE}/24`, "dev", "out0");
  await lab.host("ip", "link", "set", "out0", "up");
  await lab.host("sysctl", "-qw", "net.ipv4.ip_forward=1");
  await inOutside("ip", "addr", "add", `${OUTSIDE}/24`, "dev", "eth0");
  await inOutside("ip", "link", "set", "eth0", "up");
  await inOutside("ip", "route", "add", "172.16.0.0/16", "via", HOST_SIDE);
});
afterAll(async () => {
  await lab.close();
  await exec(["ip", "netns", "del", outside]);
});

const pod = (name: string) => lab.client.get<Pod>("pods", "default", name);

describe("without ipMasq", () => {
  it("a pod's packet to the outside keeps its source", async () => {
    const seen = exec(["ip", "netns", "exec", outside, "timeout", "20", process.execPath, "-e", SERVER], {
      timeoutMs: 25_000,
    });
    const { status } = await pod("first");
    await eventually(
      "an answer from outside",
      () => lab.podwire("exec", "first", "--", "curl", "-sS", "--max-time", "2", `http://${OUTSIDE}:8000/`),
      ({ code, stdout }) => code === 0 && stdout === `${status?.podIP}\n`,
    );
    expect((await seen).stdout.trim().split("\n").at(-1)).toBe(status?.podIP);
  });
});

describe("a host port that is taken", () => {
  it("fails a pod that is bound to the node past the scheduler, as the kubelet's admission does", async () => {
    await lab.client.create("pods", echo("second", "n1", [hostPort(8081)]) as Pod);
    const refused = await eventually(
      "the refusal",
      () => pod("second"),
      ({ status }) => status?.phase === "Failed",
    );
    expect(refused.status).toMatchObject({
      reason: "NodePorts",
      message: "Pod was rejected: Predicate NodePorts failed",
    });
    expect(refused.status?.podIP).toBeUndefined();
    const answer = await lab.curl("http://10.0.0.11:8081/");
    expect(answer.stdout).toContain("pod=first");
  });

  it("is another one for another protocol, and free again with its pod", async () => {
    await lab.client.create("pods", echo("udp", "n1", [hostPort(8081, { protocol: "UDP" })]) as Pod);
    await eventually(
      "the UDP pod",
      () => pod("udp"),
      ({ status }) => status?.phase === "Running",
    );
    await lab.ok("delete", "pod/first");
    await lab.client.create("pods", echo("third", "n1", [hostPort(8081)]) as Pod);
    await eventually(
      "the third pod's answer",
      () => lab.curl("http://10.0.0.11:8081/"),
      ({ stdout }) => stdout.includes("pod=third"),
    );
  });
});

/** Answers with the client's address, and prints it; ends after the first. */
const SERVER = `
require("node:http").createServer((request, response) => {
  const ip = request.socket.remoteAddress.replace("::ffff:", "");
  console.log(ip);
  response.end(ip + "\\n", () => process.exit(0));
}).listen(8000)`;
