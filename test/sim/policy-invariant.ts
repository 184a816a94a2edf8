/**
 * Nothing leaves a node that NetworkPolicies deny: every frame is held against the slow reading of the policies, by the
 * connection that it belongs to in the node's own conntrack table.
 */
import type { ConntrackRecord, Tuple } from "../../src/datapath/index.js";
import type { PolicyOracle } from "../policy/oracle.js";
import { inPrefix, isIpv6 } from "./address.js";
import type { NodeConfig } from "./node.js";
import { ICMP, ICMPV6, type Packet, parsePacket } from "./packet.js";

const PROTOCOLS: Readonly<Record<number, "TCP" | "UDP" | "SCTP" | "ICMP">> = {
  1: "ICMP",
  6: "TCP",
  17: "UDP",
  58: "ICMP",
  132: "SCTP",
};

/** The ICMP type of the other direction. */
const ANSWERS: Readonly<Record<number, number>> = { 0: 8, 8: 0, 13: 14, 14: 13, 128: 129, 129: 128 };

/**
 * `records` are the node's connections, `ip` is the IP packet as it leaves, `podAt` gives a pod's own address for its
 * link-local one and any other as it is.
 * @throws Error that names the node and the connection
 */
export function checkPolicy(
  node: NodeConfig,
  oracle: PolicyOracle,
  records: readonly ConntrackRecord[],
  ip: Uint8Array,
  podAt: (address: string) => string,
): void {
  const packet = parsePacket(ip);
  const { protocol } = packet;
  const name = PROTOCOLS[protocol];
  if (name === undefined || packet.fragmentOffset !== 0 || !hasConnection(packet)) return;
  const record = records.find(
    ({ original, reply }) =>
      original.protocol === protocol && (isTurned(packet, reply) || isTurned(packet, original)),
  );
  if (record === undefined) return;
  const { original, reply } = record;
  const [src, dst] = [podAt(text(original.src)), podAt(text(reply.src))];
  const networks = isIpv6(src) ? node.ipv6! : node;
  const own = [networks.nodeIp, networks.bridgeIp, networks.overlayIp];
  if (own.includes(src) || own.includes(dst)) return;
  // The machine asks pods by their own addresses as the kubelet does.
  if (src === networks.hostIp && original.dst === reply.src) return;
  const connection = { protocol: name, src, dst, dport: reply.sport };
  // Each node judges its own pods.
  const mayLeave = !inPrefix(src, networks.podSubnet) || oracle.allowsEgress(connection);
  const mayArrive = !inPrefix(dst, networks.podSubnet) || oracle.allowsIngress(connection);
  if (!mayLeave || !mayArrive)
    throw new Error(`${node.name}: ${name} ${src} > ${dst}:${reply.sport} left, which policies deny`);
}

/** Whether a packet that left has this tuple the other way round: it goes where the tuple's packets come from. */
function isTurned({ src, dst, protocol, body }: Packet, tuple: Tuple): boolean {
  if (text(tuple.src) !== dst || text(tuple.dst) !== src) return false;
  const word = (at: number) => body[at] * 256 + body[at + 1];
  // Echo and timestamp: a tuple has the identifier, and the type of its own direction.
  if (protocol === ICMP || protocol === ICMPV6)
    return word(4) === tuple.sport && ANSWERS[body[0]] === tuple.dport >>> 8;
  return word(0) === tuple.dport && word(2) === tuple.sport;
}

/** ICMP errors and the messages of the link have none of their own. */
function hasConnection({ protocol, body }: Packet): boolean {
  return (protocol !== ICMP && protocol !== ICMPV6) || body[0] in ANSWERS;
}

function text(address: Tuple["src"]): string {
  if (typeof address === "string") return address;
  return [address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255].join(".");
}
