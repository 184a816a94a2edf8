/** Routes to the other nodes' own addresses, over the emulated node network. */
import type { Datapath } from "../datapath/index.js";
import { Informer, type KubeClient, type Node } from "../kube/index.js";
import { parseIpv4, parseIpv6 } from "../wire/index.js";
import { PUBLIC_IP_ANNOTATION } from "./register.js";

const IPV4_BITS = 32;
const IPV6_BITS = 128;

/** Keeps the routes as the API's nodes come and go, all but `own`; `port` is the datapath's to the node network. */
export function followPeers(
  client: KubeClient,
  own: string,
  { routes, routes6 }: Datapath,
  port: number,
): Informer<Node> {
  const nodes = new Informer<Node>(client, "nodes");
  const each = (node: Node, act: (address: string, nextHop: number) => void) => {
    const nextHop = parseIpv4(node.metadata?.annotations?.[PUBLIC_IP_ANNOTATION] ?? "");
    if (node.metadata?.name === own || nextHop === undefined) return;
    for (const { type, address } of node.status?.addresses ?? [])
      if (type === "InternalIP") act(address, nextHop);
  };
  const put = (node: Node) =>
    each(node, (text, nextHop) => {
      const [ip, ip6] = [parseIpv4(text), parseIpv6(text)];
      if (ip !== undefined) routes.put({ prefix: { address: ip, length: IPV4_BITS }, port, nextHop });
      if (ip6 !== undefined) routes6?.put({ prefix: { address: ip6, length: IPV6_BITS }, port, nextHop });
    });
  const remove = (node: Node) =>
    each(node, (text) => {
      const [ip, ip6] = [parseIpv4(text), parseIpv6(text)];
      if (ip !== undefined) routes.delete({ address: ip, length: IPV4_BITS });
      if (ip6 !== undefined) routes6?.delete({ address: ip6, length: IPV6_BITS });
    });
  nodes.start({ onAdd: put, onUpdate: put, onDelete: remove });
  return nodes;
}
