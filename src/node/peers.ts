/** What the API says about the other nodes: by which route their own addresses are reached, and who reads whole super-packets. */
import { Informer, type KubeClient, type Node } from "../kube/index.js";
import { parseIpv4, parseIpv6 } from "../wire/index.js";
import type { Dataplane } from "./dataplane.js";
import { PUBLIC_IP_ANNOTATION, SUPER_PACKETS_ANNOTATION } from "./register.js";

const IPV4_BITS = 32;
const IPV6_BITS = 128;

/** Where a node is, and the addresses that are reached there; undefined when it does not say. */
function placeOf({ metadata, status }: Node) {
  const nextHop = parseIpv4(metadata?.annotations?.[PUBLIC_IP_ANNOTATION] ?? "");
  if (nextHop === undefined) return undefined;
  const internal = (status?.addresses ?? []).filter(({ type }) => type === "InternalIP");
  return { nextHop, addresses: internal.map(({ address }) => address) };
}

/**
 * Tells the dataplane of the API's nodes as they come, change and go, all but `own`. A plain flannel peer is in no API, so it gets
 * flannel's packets and nothing else. Every heartbeat asks anew whether a peer is on this machine.
 */
export function followPeers(
  client: KubeClient,
  own: string,
  {
    io,
    nodenetPort: port,
    datapath: { routes, routes6 },
  }: Pick<Dataplane, "io" | "nodenetPort" | "datapath">,
): Informer<Node> {
  const nodes = new Informer<Node>(client, "nodes");
  const put = (node: Node) => {
    const place = placeOf(node);
    if (node.metadata?.name === own || place === undefined) return;
    const { nextHop } = place;
    for (const text of place.addresses) {
      const [ip, ip6] = [parseIpv4(text), parseIpv6(text)];
      if (ip !== undefined) routes.put({ prefix: { address: ip, length: IPV4_BITS }, port, nextHop });
      if (ip6 !== undefined) routes6?.put({ prefix: { address: ip6, length: IPV6_BITS }, port, nextHop });
    }
    io.sendWhole(nextHop, node.metadata?.annotations?.[SUPER_PACKETS_ANNOTATION] === "whole");
  };
  const remove = (node: Node) => {
    const place = placeOf(node);
    if (node.metadata?.name === own || place === undefined) return;
    for (const text of place.addresses) {
      const [ip, ip6] = [parseIpv4(text), parseIpv6(text)];
      if (ip !== undefined) routes.delete({ address: ip, length: IPV4_BITS });
      if (ip6 !== undefined) routes6?.delete({ address: ip6, length: IPV6_BITS });
    }
    io.sendWhole(place.nextHop, false);
  };
  const update = (node: Node, before: Node) => {
    const hasMoved = JSON.stringify(placeOf(node)) !== JSON.stringify(placeOf(before));
    if (hasMoved) remove(before);
    put(node);
  };
  nodes.start({ onAdd: put, onUpdate: update, onDelete: remove });
  return nodes;
}
