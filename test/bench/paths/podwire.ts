/** Podwire's paths: two nodes in one host namespace, as on one VM, a client pod and a server pod on each side. */
import { mkdirSync } from "node:fs";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { type Lab, lastLine, type Running } from "../lab.js";
import type { NodePlan, PodPlan, ServicePlan } from "../plan.js";
import { type Path, type PathSet, SERVER_PORTS, startServers, untilReachable } from "./path.js";

/** MTU of the udp backend on an underlay of 1500 bytes. */
const POD_MTU_BYTES = 1472;
const HOST_IP = "10.0.0.1";
const NODE_PORTS = { bulk: 31201, rr: 31700, connect: 31080, udp: 31900 } as const;
/** The same extension as this file: the runner starts the way the bench was started. */
const RUNNER = fileURLToPath(new URL(`../node${extname(import.meta.url)}`, import.meta.url));

const peer = (i: number) => ({
  name: `n${i}`,
  nodeIp: `10.0.0.${10 + i}`,
  subnet: `172.16.${i}.0/24`,
  underlay: `127.1.0.${10 + i}`,
});

/** Nodes on one machine. @param profile directory for CPU profiles of the nodes */
export function podwire(profile?: string): PathSet {
  return {
    names: ["podwire-pod", "podwire-clusterip", "podwire-nodes", "podwire-nodeport"],
    setUp: (lab) => setUp(lab, "", profile),
  };
}

/** The same two nodes as if a network lay between: super-packets are cut and merged. */
export const podwireCut: PathSet = {
  names: ["podwire-cut"],
  async setUp(lab) {
    const paths = await setUp(lab, "cut-", undefined);
    return paths.flatMap((path) => (path.name === "podwire-nodes" ? { ...path, name: "podwire-cut" } : []));
  },
};

/** @param role before the names of the namespaces; empty: super-packets go whole */
async function setUp(lab: Lab, role: string, profile: string | undefined): Promise<Path[]> {
  const host = await lab.netns(`${role}host`);
  const client = await makePod(lab, `${role}client`, "172.16.1.2");
  const near = await makePod(lab, `${role}near`, "172.16.1.3");
  const far = await makePod(lab, `${role}far`, "172.16.2.2");
  const services: ServicePlan[] = [
    { name: "near", clusterIp: "10.254.0.5", endpoint: near.ip, nodeName: "n1" },
    { name: "far", clusterIp: "10.254.0.6", endpoint: far.ip, nodeName: "n2", nodePorts: NODE_PORTS },
  ];
  const plan = (i: number, pods: PodPlan[]): NodePlan => ({
    ...peer(i),
    hostIp: HOST_IP,
    pods,
    peers: [peer(3 - i)],
    services,
    whole: role === "",
  });
  const nodes = [
    await startNode(lab, host, plan(1, [client, near]), profile),
    await startNode(lab, host, plan(2, [far]), profile),
  ];
  for (const pod of [near, far]) await startServers(lab, pod.netns);
  const words = () => nodes.map((node) => lastLine(node.output())).join("; ");
  for (const { ip } of [near, far]) await untilReachable(lab, client.netns, ip, words);
  await untilReachable(lab, host, far.ip, words);
  return paths(
    host,
    client,
    near,
    far,
    nodes.map(({ pid }) => pid),
  );
}

function paths(host: string, client: PodPlan, near: PodPlan, far: PodPlan, pids: number[]): Path[] {
  const common = { ports: SERVER_PORTS, udp: true, pids };
  const fromPod = { ...common, client: client.netns };
  return [
    {
      ...fromPod,
      name: "podwire-pod",
      server: near.netns,
      address: near.ip,
      pingAddress: near.ip,
      reference: "veth",
    },
    // Services answer no ping; the pod behind is the same way without NAT.
    {
      ...fromPod,
      name: "podwire-clusterip",
      server: near.netns,
      address: "10.254.0.5",
      pingAddress: near.ip,
      reference: "podwire-pod",
    },
    {
      ...fromPod,
      name: "podwire-nodes",
      server: far.netns,
      address: far.ip,
      pingAddress: far.ip,
      reference: "vxlan",
    },
    {
      ...common,
      name: "podwire-nodeport",
      client: host,
      server: far.netns,
      address: peer(1).nodeIp,
      ports: NODE_PORTS,
      pingAddress: far.ip,
      reference: "vxlan-dnat",
    },
  ];
}

async function makePod(lab: Lab, name: string, ip: string): Promise<PodPlan> {
  return { name, ip, netns: await lab.netns(name) };
}

async function startNode(
  lab: Lab,
  host: string,
  plan: NodePlan,
  profile: string | undefined,
): Promise<Running> {
  if (profile !== undefined) mkdirSync(profile, { recursive: true });
  const profiling =
    profile === undefined
      ? []
      : ["--cpu-prof", `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${plan.name}.cpuprofile`];
  const words = [process.execPath, ...process.execArgv, ...profiling, RUNNER, JSON.stringify(plan)];
  const node = await lab.startReady(host, words, "ready");
  const gateway = `${plan.subnet.slice(0, plan.subnet.lastIndexOf("."))}.1`;
  for (const { netns, ip } of plan.pods) {
    const mac = new RegExp(`^mac ${netns} (\\S+)$`, "m").exec(node.output())?.[1] ?? "";
    await lab.ip(netns, [
      `link set eth0 address ${mac} mtu ${POD_MTU_BYTES}`,
      `addr add ${ip}/24 dev eth0`,
      "link set eth0 up",
      `route add default via ${gateway}`,
    ]);
  }
  return node;
}
