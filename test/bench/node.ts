/**
 * One Podwire node for the bench: the dataplane of a node process with routes, pods and Services given by hand, so that
 * what is measured is the product's path of each packet and nothing depends on an API server.
 * Arguments: one JSON text, a {@link NodePlan}. Prints `ready`; ends with SIGTERM or with its standard input.
 */

import { type NodePlan, type PodPlan, SERVICE_NETWORK, serviceObjects, sliceObjects } from "./plan.js";
import { nodeParts, proxy, wire } from "./product.js";

const { Dataplane, openUnderlay, configureHostLink, podMac, TraceHub } = await nodeParts();
const OVERLAY_PORT = 8285;
const NODENET_PORT = 8286;
const POD_NETWORK = "172.16.0.0/16";

const plan = JSON.parse(process.argv[2] ?? "") as NodePlan;
const config = {
  lab: "bench",
  name: plan.name,
  dir: "",
  nodeIp: plan.nodeIp,
  hostIp: plan.hostIp,
  hostTap: `pw-${plan.name}`,
  hostTapAlias: "podwire:bench",
  labels: {},
  underlay: { address: plan.underlay, mtuBytes: 1500 },
  nodenetPort: NODENET_PORT,
  serviceNetwork: SERVICE_NETWORK,
  nodePorts: "30000-32767",
  flannelPrefix: "",
  lease: { ttlSeconds: 0, renewMarginSeconds: 0 },
  store: [],
  api: {},
  images: {},
  options: { ipMasq: true, bridgeNetfilter: true },
};

function ip(text: string): number {
  const address = wire.parseIpv4(text);
  if (address === undefined) throw new Error(`${text} is not an IPv4 address`);
  return address;
}

function prefix(text: string) {
  const parsed = wire.parsePrefix(text);
  if (parsed === undefined) throw new Error(`${text} is not a prefix`);
  return parsed;
}

const podSubnet = prefix(plan.subnet);
const addresses = {
  nodeIp: ip(plan.nodeIp),
  hostIp: ip(plan.hostIp),
  podSubnet,
  bridgeIp: podSubnet.address + 1,
  overlayIp: podSubnet.address,
  podNetwork: prefix(POD_NETWORK),
  serviceNetwork: prefix(SERVICE_NETWORK),
};
const services = new proxy.Proxier({
  nodeName: plan.name,
  podNetwork: addresses.podNetwork,
  serviceNetwork: addresses.serviceNetwork,
  conntrack: { deleteByOriginalDst: () => 0, deleteByNat: () => 0 },
});
const dataplane = new Dataplane({
  config,
  addresses,
  bridgeIp: wire.formatIpv4(addresses.bridgeIp),
  overlayPort: OVERLAY_PORT,
  overlaySocket: openUnderlay(config, OVERLAY_PORT),
  nodenetSocket: openUnderlay(config, NODENET_PORT),
  services,
  trace: new TraceHub(),
  log: (level, message) => console.error(`${level}: ${message}`),
});

dataplane.attachHost();
await configureHostLink({
  name: config.hostTap,
  alias: config.hostTapAlias,
  nodeIp: plan.nodeIp,
  hostIp: plan.hostIp,
  podSubnet,
});
const { routes } = dataplane.datapath;
for (const peer of plan.peers) {
  const nextHop = ip(peer.underlay);
  routes.put({ prefix: prefix(peer.subnet), port: dataplane.overlayPort, nextHop });
  routes.put({ prefix: { address: ip(peer.nodeIp), length: 32 }, port: dataplane.nodenetPort, nextHop });
  if (plan.whole) dataplane.io.sendWhole(nextHop, true);
}
for (const pod of plan.pods) attach(pod);
for (const object of serviceObjects(plan.services)) services.onServiceUpsert(object);
for (const object of sliceObjects(plan.services)) services.onEndpointSliceUpsert(object);
services.onServicesSynced();
services.onEndpointSlicesSynced();
services.sync(Date.now());

/** The namespace exists; its addresses are set by who started this, as soon as `ready` is there. */
function attach(pod: PodPlan): void {
  const mac = podMac(pod.ip);
  dataplane.attach({ uid: pod.netns, namespace: "bench", name: pod.name, netns: pod.netns, ip: pod.ip, mac });
  console.log(`mac ${pod.netns} ${mac}`);
}

function stop(): void {
  console.log(
    JSON.stringify({ counters: dataplane.datapath.counters.export(), ports: dataplane.portStats() }),
  );
  dataplane.close();
  process.exit(0);
}
process.on("SIGTERM", stop);
process.stdin.on("end", stop).resume();
dataplane.resume();
console.log("ready");
