/** What the API says about the other nodes: by which route their own addresses are reached, and who reads whole super-packets. */
import { Informer, type KubeClient, type Node } from "../kube/index.js";
import { parseIpv4, parseIpv6 } from "../wire/index.js";
import type { Dataplane } from "./dataplane.js";
import { PUBLIC_IP_ANNOTATION, SUPER_PACKETS_ANNOTATION } from "./register.js";

const IPV4_BITS = 32;
const IPV6_BITS = 128;

/**
 * Tells the dataplane of the API's nodes as they come and go, all but `own`. A plain flannel peer is in no API, so it gets
 * flannel's packets and nothing else. Every heartbeat asks anew whether a peer is on this machine.
 */
export function followPeers(client: KubeClient, own: string, dataplane: Dataplane): Informer<Node> {
  const nodes = new Informer<Node>(client, "nodes");
  const { io, nodenetPort: port } = dataplane;
  const { routes, routes6 } = dataplane.datapath;
  const each = (node: Node, act: (underlay: number, addresses: readonly string[]) => void) => {
    const { metadata, status } = node;
    const underlay = parseIpv4(metadata?.annotations?.[PUBLIC_IP_ANNOTATION] ?? "");
    if (metadata?.name === own || underlay === undefined) return;
    const internal = (status?.addresses ?? []).filter(({ type }) => type === "InternalIP");
    act(
      underlay,
      internal.map(({ address }) => address),
    );
  };
  const put = (node: Node) =>
    each(node, (nextHop, addresses) => {
      for (const text of addresses) {
        const [ip, ip6] = [parseIpv4(text), parseIpv6(text)];
        if (ip !== undefined) routes.put({ prefix: { address: ip, length: IPV4_BITS }, port, nextHop });
        if (ip6 !== undefined) routes6?.put({ prefix: { address: ip6, length: IPV6_BITS }, port, nextHop });
      }
      io.sendWhole(nextHop, node.metadata?.annotations?.[SUPER_PACKETS_ANNOTATION] === "whole");
    });
  const remove = (node: Node) =>
    each(node, (nextHop, addresses) => {
      for (const text of addresses) {
        const [ip, ip6] = [parseIpv4(text), parseIpv6(text)];
        if (ip !== undefined) routes.delete({ address: ip, length: IPV4_BITS });
        if (ip6 !== undefined) routes6?.delete({ address: ip6, length: IPV6_BITS });
      }
      io.sendWhole(nextHop, false);
    });
  nodes.start({ onAdd: put, onUpdate: put, onDelete: remove });
  return nodes;
}
