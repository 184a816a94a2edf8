/** The kernel's own paths: veth, VXLAN over veth, and nft DNAT to ten endpoints over each. */
import { type Lab, Unusable } from "../lab.js";
import {
  ENDPOINT_COUNT,
  INNER,
  type Pair,
  type Path,
  type PathSet,
  SERVER_PORTS,
  UNDERLAY,
  untilReachable,
  vethPair,
} from "./path.js";

const VIP = "10.96.0.1";
const VXLAN_MTU_BYTES = 1450;

export const kernelDirect: PathSet = {
  names: ["veth", "vxlan"],
  async setUp(lab) {
    const pair = await vethPair(lab, "kernel");
    await addVxlan(lab, pair);
    await untilReachable(lab, pair.client, INNER.server, () => "kernel VXLAN");
    return [
      plain("veth", pair, UNDERLAY.server),
      { ...plain("vxlan", pair, INNER.server), reference: "veth" },
    ];
  },
};

/** Connection tracking slows down all packets of a namespace, so NAT has namespaces of its own. */
export const kernelDnat: PathSet = {
  names: ["veth-dnat"],
  async setUp(lab) {
    const pair = await vethPair(lab, "dnat");
    await addDnat(lab, pair, "veth0", UNDERLAY.server);
    return [{ ...plain("veth-dnat", pair, VIP), pingAddress: UNDERLAY.server, reference: "veth" }];
  },
};

/** What kube-proxy and flannel's vxlan backend do for a NodePort whose endpoint is on another node. */
export const kernelDnatVxlan: PathSet = {
  names: ["vxlan-dnat"],
  async setUp(lab) {
    const pair = await vethPair(lab, "dnatvx");
    await addVxlan(lab, pair);
    await addDnat(lab, pair, "vxlan0", INNER.server);
    await untilReachable(lab, pair.client, INNER.server, () => "kernel VXLAN");
    return [{ ...plain("vxlan-dnat", pair, VIP), pingAddress: INNER.server, reference: "vxlan" }];
  },
};

function plain(name: string, pair: Pair, address: string): Path {
  return { name, ...pair, address, ports: SERVER_PORTS, pingAddress: address, udp: true, pids: [] };
}

async function addVxlan(lab: Lab, { client, server }: Pair): Promise<void> {
  const ends = [
    { netns: client, local: UNDERLAY.client, remote: UNDERLAY.server, inner: INNER.client },
    { netns: server, local: UNDERLAY.server, remote: UNDERLAY.client, inner: INNER.server },
  ];
  for (const { netns, local, remote, inner } of ends) {
    try {
      await lab.ip(netns, [
        `link add vxlan0 type vxlan id 1 local ${local} remote ${remote} dstport 8472 dev veth0`,
      ]);
    } catch (error) {
      throw new Unusable((error as Error).message);
    }
    await lab.ip(netns, [`addr add ${inner}/24 dev vxlan0`, `link set vxlan0 mtu ${VXLAN_MTU_BYTES} up`]);
  }
}

/** Rules in the client's namespace, as a node's own client meets them; endpoints are addresses of the server. */
async function addDnat(lab: Lab, { client, server }: Pair, device: string, base: string): Promise<void> {
  const network = base.slice(0, base.lastIndexOf("."));
  const endpoints = Array.from({ length: ENDPOINT_COUNT }, (_, i) => `${network}.${11 + i}`);
  await lab.ip(
    server,
    endpoints.map((address) => `addr add ${address}/24 dev ${device}`),
  );
  await lab.ip(client, [`route add ${VIP}/32 dev ${device}`]);
  const map = endpoints.map((address, i) => `${i} : ${address}`).join(", ");
  const rules = `table ip pwb {
    chain output {
      type nat hook output priority -100;
      ip daddr ${VIP} meta l4proto { tcp, udp } dnat to numgen inc mod ${ENDPOINT_COUNT} map { ${map} }
    }
    chain postrouting {
      type nat hook postrouting priority 100;
      ct status dnat oifname "vxlan0" masquerade
    }
  }\n`;
  try {
    await lab.run(client, ["nft", "-f", "-"], rules);
  } catch (error) {
    throw new Unusable((error as Error).message);
  }
}
