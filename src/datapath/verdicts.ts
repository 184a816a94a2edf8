/**
 * Every way a packet can end at a node, in one table: what traces call it, what the counters call it, Hubble's name for it
 * (flow.proto `DropReason`) where there is one, and the ICMP error it causes.
 */
import { IcmpType, TimeExceededCode, UnreachableCode } from "../wire/index.js";

/** What happened to the packet as a whole. `reject` is a drop that tells the sender at once. */
export type Outcome = "forward" | "deliver" | "drop" | "reject";

export interface VerdictInfo {
  readonly outcome: Outcome;
  /** Empty for a plain `forward` or `deliver`. */
  readonly reason: string;
  /** One sentence for people. */
  readonly meaning: string;
  /** Hubble's drop reason. */
  readonly hubble?: string;
  /** ICMP error for the sender. */
  readonly icmpType: number;
  readonly icmpCode: number;
}

/** No ICMP error belongs to the verdict. */
export const NO_ICMP = -1;

function row(outcome: Outcome, reason: string, meaning: string, hubble?: string): VerdictInfo {
  return { outcome, reason, meaning, hubble, icmpType: NO_ICMP, icmpCode: 0 };
}

function error(info: VerdictInfo, icmpType: number, icmpCode: number): VerdictInfo {
  return { ...info, icmpType, icmpCode };
}

function unreachable(info: VerdictInfo, code: number): VerdictInfo {
  return error(info, IcmpType.destinationUnreachable, code);
}

const ROWS = {
  forward: row("forward", "", "Left through a port."),
  bridged: row("forward", "bridged", "Switched between pods of the node by MAC address."),
  flooded: row("forward", "flooded", "Broadcast, multicast or unknown MAC: copied to every other pod port."),
  pending: row("forward", "neighbour-pending", "Kept until the machine on the host port answers ARP."),
  deliver: row("deliver", "", "Handled by the node itself."),

  unknownPort: row("drop", "unknown-port", "The port was removed while the frame was on its way."),
  malformed: row(
    "drop",
    "malformed",
    "Truncated, or a length or checksum in the headers is wrong.",
    "INVALID_PACKET_DROPPED",
  ),
  unsupportedL3: row(
    "drop",
    "unsupported-l3-protocol",
    "Neither ARP nor IP that the node speaks.",
    "UNSUPPORTED_L3_PROTOCOL",
  ),
  otherMac: row(
    "drop",
    "invalid-destination-mac",
    "Addressed to another station.",
    "INVALID_DESTINATION_MAC",
  ),
  spoofedMac: row(
    "drop",
    "invalid-source-mac",
    "The pod does not own this MAC address.",
    "INVALID_SOURCE_MAC",
  ),
  spoofedIp: row(
    "drop",
    "invalid-source-ip",
    "The source address does not belong to this port or peer.",
    "INVALID_SOURCE_IP",
  ),
  martian: row("drop", "martian", "An address that no packet on a wire may have.", "INVALID_SOURCE_IP"),
  rogueRouter: row("drop", "rogue-router-advertisement", "A pod may not act as a router (RFC 6105)."),
  addressesFull: row("drop", "address-table-full", "Too many IPv6 addresses are in use."),
  unknownPeer: row("drop", "unknown-peer", "The sending node holds no lease.", "UNKNOWN_SENDER"),

  ctInvalid: row(
    "drop",
    "ct-invalid",
    "Conntrack cannot place the packet in any connection.",
    "CT_TRUNCATED_OR_INVALID_HEADER",
  ),
  badChecksum: row("drop", "invalid-checksum", "The transport checksum is wrong.", "INVALID_PACKET_DROPPED"),
  ctFull: row(
    "drop",
    "ct-full",
    "The conntrack table is full of assured connections.",
    "CT_MAP_INSERTION_FAILED",
  ),
  snatNoPorts: row(
    "drop",
    "snat-no-ports",
    "No source port is free for masquerading.",
    "NO_MAPPING_FOR_NAT_MASQUERADE",
  ),
  fragmentWithoutFirst: row(
    "drop",
    "fragment-without-first",
    "The datagram's first fragment was not seen before this one.",
    "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND",
  ),
  sctpFragment: row(
    "drop",
    "sctp-fragment-nat",
    "The ports of a fragmented SCTP packet cannot be rewritten: its checksum covers all fragments.",
    "IP_FRAGMENTATION_NOT_SUPPORTED",
  ),
  fragmentForNode: row(
    "drop",
    "fragment-for-node",
    "The node itself does not reassemble.",
    "IP_FRAGMENTATION_NOT_SUPPORTED",
  ),

  serviceDrop: row("drop", "service", "kube-proxy's rules drop it.", "SERVICE_BACKEND_NOT_FOUND"),
  serviceReject: unreachable(
    row("reject", "service", "kube-proxy's rules refuse it.", "SERVICE_BACKEND_NOT_FOUND"),
    UnreachableCode.port,
  ),
  unknownService: unreachable(
    row(
      "reject",
      "unknown-service",
      "No Service has this address of the service network.",
      "SERVICE_BACKEND_NOT_FOUND",
    ),
    UnreachableCode.host,
  ),

  policyDenied: row(
    "drop",
    "policy-denied",
    "NetworkPolicies isolate the pod, and none of them allows this.",
    "POLICY_DENIED",
  ),

  ttlExceeded: error(
    row("drop", "ttl-exceeded", "The TTL ran out here.", "TTL_EXCEEDED"),
    IcmpType.timeExceeded,
    TimeExceededCode.ttl,
  ),
  noRoute: unreachable(
    row("drop", "no-route", "No route leads there.", "FIB_LOOKUP_FAILED"),
    UnreachableCode.network,
  ),
  hostUnreachable: unreachable(
    row("drop", "host-unreachable", "No pod of this node has the address.", "UNKNOWN_L3_TARGET_ADDRESS"),
    UnreachableCode.host,
  ),
  multicast: row("drop", "multicast", "Multicast and broadcast are not routed."),
  fragmentationNeeded: unreachable(
    row("drop", "fragmentation-needed", "Larger than the next link's MTU, and may not be fragmented."),
    UnreachableCode.fragmentationNeeded,
  ),
  bridgeMtu: row("drop", "mtu-exceeded", "Larger than the pod's MTU; a bridge cannot tell the sender."),
  protocolUnreachable: unreachable(
    row("reject", "protocol-unreachable", "The node does not speak this protocol.", "UNKNOWN_L4_PROTOCOL"),
    UnreachableCode.protocol,
  ),
  portUnreachable: unreachable(
    row("reject", "port-unreachable", "Nothing on the node listens on this UDP port."),
    UnreachableCode.port,
  ),
  tcpReset: row("reject", "tcp-reset", "Nothing on the node listens on this TCP port."),

  neighbourQueueFull: row("drop", "neighbour-queue-full", "Too many packets wait for the host's ARP answer."),
  neighbourUnresolved: row(
    "drop",
    "neighbour-unresolved",
    "The machine on the host port did not answer ARP.",
  ),
  noScratch: row("drop", "no-scratch-space", "No room in this batch for a packet of the node's own."),
  icmpRateLimited: row(
    "drop",
    "icmp-rate-limited",
    "An ICMP error was not sent: too many in the last second.",
  ),
} as const satisfies Readonly<Record<string, VerdictInfo>>;

type VerdictName = keyof typeof ROWS;

/** The table; a verdict is an index into it. */
export const VERDICTS: readonly VerdictInfo[] = Object.values(ROWS);

/** Verdicts by name. */
export const Verdict = Object.fromEntries(Object.keys(ROWS).map((name, index) => [name, index])) as Readonly<
  Record<VerdictName, number>
>;

/** Not a verdict: the next stage decides. */
export const CONTINUE = -1;
