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
  const texts = (status?.addresses ?? []).flatMap(({ type, address }) =>
    type === "InternalIP" ? [address] : [],
  );
  return {
    nextHop,
    texts,
    ipv4: texts
      .map(parseIpv4)
      .flatMap((address) => (address === undefined ? [] : [{ address, length: IPV4_BITS }])),
    ipv6: texts
      .map(parseIpv6)
      .flatMap((address) => (address === undefined ? [] : [{ address, length: IPV6_BITS }])),
  };
}

/**
 * Tells the dataplane of the API's nodes as they come, change and go, all but `own`. A plain flannel peer is in no API, so it gets
 * flannel's packets and nothing else. Every heartbeat asks anew whether a peer is on this machine.
 */
export function followPeers(client: KubeClient, own: string, dataplane: Dataplane): Informer<Node> {
  const nodes = new Informer<Node>(client, "nodes");
  const { io, nodenetPort: port } = dataplane;
  const { routes, routes6 } = dataplane.datapath;
  const placeOfPeer = (node: Node) => (node.metadata?.name === own ? undefined : placeOf(node));
  const put = (node: Node) => {
    const place = placeOfPeer(node);
    if (place === undefined) return;
    const { nextHop } = place;
    for (const prefix of place.ipv4) routes.put({ prefix, port, nextHop });
    for (const prefix of place.ipv6) routes6?.put({ prefix, port, nextHop });
    io.sendWhole(nextHop, node.metadata?.annotations?.[SUPER_PACKETS_ANNOTATION] === "whole");
  };
  const remove = (node: Node) => {
    const place = placeOfPeer(node);
    if (place === undefined) return;
    for (const prefix of place.ipv4) routes.delete(prefix);
    for (const prefix of place.ipv6) routes6?.delete(prefix);
    io.sendWhole(place.nextHop, false);
  };
  const update = (node: Node, before: Node) => {
    const [now, then] = [placeOf(node), placeOf(before)];
    if (now?.nextHop !== then?.nextHop || `${now?.texts}` !== `${then?.texts}`) remove(before);
    put(node);
  };
  nodes.start({ onAdd: put, onUpdate: update, onDelete: remove });
  return nodes;
}
