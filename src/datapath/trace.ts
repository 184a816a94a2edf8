/**
 * Observations: what a packet's fields say about its way through the stages, put together once it has ended. The stages
 * themselves only note how far the packet came, so that tracing costs them nothing.
 */
import {
  formatFingerprint,
  formatIpv6,
  formatSctpChunks,
  formatTcpFlags,
  hasIcmpId,
  hasIcmpv6Id,
  IPV6_DST,
  IPV6_SRC,
  type IpAddress,
  IpProtocol,
  icmpName,
  icmpv6Name,
  packetFingerprint,
  readIpv6Address,
} from "../wire/index.js";
import { NO_HANDLE } from "./ipv6/address-book.js";
import type { UnderlayEnds } from "./options.js";
import { CtState, Hook, type Packet } from "./packet.js";
import type { Port } from "./ports.js";
import { type Observation, PortKind, type Stage, type Tuple } from "./types.js";
import { VERDICTS } from "./verdicts.js";

const CT_NAMES = ["UNTRACKED", "NEW", "ESTABLISHED", "RELATED", "INVALID"] as const;
const HOOKS = Object.keys(Hook) as (keyof typeof Hook)[];
/** What a stage says of a packet that it lets on unchanged. */
const ACCEPT = "accept";
/** Name of the node itself as a port. */
const LOCAL = "local";

/**
 * The packet's id; taken before its bytes are rewritten, though no rewrite changes it, because an answer may be
 * written over them.
 */
export function packetId({ bytes, view }: Packet): string {
  return formatFingerprint(packetFingerprint(bytes, view));
}

/** Everything there is to say about a packet that ended with `verdict`. */
export function observe(
  packet: Packet,
  verdict: number,
  node: string,
  underlay: UnderlayEnds | undefined,
  id: string,
): Observation {
  const { view, inPort } = packet;
  const { outcome, reason } = VERDICTS[verdict];
  const isLeaving = outcome === "forward";
  const isTranslated = isLeaving || (outcome === "deliver" && packet.outPort !== undefined);
  const before = tuple(packet, packet.src, packet.dst, packet.ports);
  const why = packet.reason || reason;
  return {
    timeMs: packet.nowMs,
    node,
    packetId: id,
    inPort: inPort?.name ?? LOCAL,
    outPort: isTranslated ? packet.outPort?.name : undefined,
    verdict: outcome,
    reason: why || undefined,
    before,
    after: isTranslated ? tuple(packet, packet.newSrc, packet.newDst, packet.newPorts) : before,
    service: packet.service || undefined,
    endpoint: packet.endpoint || undefined,
    policy: packet.policy || undefined,
    outer: outerOf(packet, isLeaving, underlay),
    ctState: CT_NAMES[packet.ctState],
    reply: (packet.flow & 1) === 1,
    lengthBytes: view.l3Length,
    ttl: leavesWithTtl(packet, isLeaving),
    info: describe(packet),
    stages: stagesOf(packet, outcome, why),
  };
}

function leavesWithTtl(packet: Packet, isLeaving: boolean): number {
  const { view, isBridged, hook } = packet;
  const isRouted = isLeaving && !packet.isFromNode() && !isBridged && hook === Hook.egress;
  return isRouted && view.ttl > 0 ? view.ttl - 1 : view.ttl;
}

function tuple(packet: Packet, src: number, dst: number, ports: number): Tuple {
  const { protocol, view } = packet;
  return {
    protocol,
    src: addressOf(packet, src, view.l3Offset + IPV6_SRC),
    dst: addressOf(packet, dst, view.l3Offset + IPV6_DST),
    sport: ports >>> 16,
    dport: ports & 0xffff,
  };
}

/** An IPv6 packet that was refused at once has no handles, but its bytes are as they came. */
function addressOf({ isIpv6, bytes, book }: Packet, address: number, offset: number): IpAddress {
  if (!isIpv6) return address;
  return address === NO_HANDLE || book === undefined
    ? formatIpv6(readIpv6Address(bytes, offset))
    : book.name(address);
}

/** The underlay ends: of the way out when the packet left by a tunnel, else of the way in. */
function outerOf(
  packet: Packet,
  isLeaving: boolean,
  underlay: UnderlayEnds | undefined,
): Observation["outer"] {
  if (underlay === undefined) return undefined;
  const outPort = isLeaving ? tunnelPort(packet.outPort, underlay) : 0;
  if (outPort !== 0) return { src: underlay.address, dst: packet.nextHop, sport: outPort, dport: outPort };
  const inPort = tunnelPort(packet.inPort, underlay);
  return inPort === 0 ? undefined : { src: packet.peer, dst: underlay.address, sport: inPort, dport: inPort };
}

function tunnelPort(port: Port | undefined, underlay: UnderlayEnds): number {
  if (port?.kind === PortKind.overlay) return underlay.overlayPort;
  return port?.kind === PortKind.nodenet ? underlay.nodenetPort : 0;
}

/** Such as `S`, `F.`, `COOKIE ACK, DATA`, `echo request seq 3`; empty for UDP. */
function describe({ bytes, view }: Packet): string {
  if (view.fragmentOffset !== 0) return `fragment at ${view.fragmentOffset}`;
  if (view.protocol === IpProtocol.tcp) return formatTcpFlags(view.tcpFlags);
  if (view.protocol === IpProtocol.sctp)
    return formatSctpChunks(bytes, view.l4Offset, view.l4Offset + view.l4Length);
  if (view.protocol === IpProtocol.icmpv6) {
    const name = icmpv6Name(view.icmpType, view.icmpCode);
    return hasIcmpv6Id(view.icmpType) ? `${name} seq ${view.icmpSeq}` : name;
  }
  if (view.protocol !== IpProtocol.icmp) return "";
  const name = icmpName(view.icmpType, view.icmpCode);
  return hasIcmpId(view.icmpType) ? `${name} seq ${view.icmpSeq}` : name;
}

function stagesOf(packet: Packet, outcome: string, why: string): Stage[] {
  const stages: Stage[] = [];
  for (let hook: number = Hook.ingress; hook < packet.hook; hook++) {
    if (passes(packet, hook)) stages.push(passedStage(packet, hook));
  }
  const last: Stage = { hook: hookName(packet, packet.hook), verdict: outcome };
  stages.push(why === "" ? last : { ...last, reason: why });
  return stages;
}

/** Whether a packet's way leads through a stage that it is beyond. */
function passes(packet: Packet, hook: number): boolean {
  const { isBridged, ctState } = packet;
  if (hook === Hook.local) return false;
  if (hook === Hook.route) return !isBridged;
  if (hook === Hook.ingress || hook === Hook.forward) return !packet.isFromNode();
  return ctState !== CtState.untracked;
}

/** What the node itself sends passes OUTPUT where others pass PREROUTING. */
function hookName(packet: Packet, hook: number): string {
  return hook === Hook.prerouting && packet.isFromNode() ? "output" : HOOKS[hook];
}

function passedStage(packet: Packet, hook: number): Stage {
  const { src, dst, ports, newSrc, newDst, newPorts } = packet;
  const name = hookName(packet, hook);
  if (hook === Hook.conntrack) return { hook: name, verdict: ACCEPT, reason: CT_NAMES[packet.ctState] };
  if (hook === Hook.route) return { hook: name, verdict: ACCEPT, reason: packet.outPort?.name ?? LOCAL };
  // DNAT before routing changes the destination, SNAT after it the source.
  const midPorts = (ports & 0xffff0000) | (newPorts & 0xffff);
  if (hook === Hook.prerouting && (dst !== newDst || midPorts !== ports)) {
    return rewritten(name, "dnat", tuple(packet, src, dst, ports), tuple(packet, src, newDst, midPorts));
  }
  if (hook === Hook.postrouting && (src !== newSrc || midPorts !== newPorts)) {
    const verdict = packet.masquerade ? "masquerade" : "snat";
    const before = tuple(packet, src, newDst, midPorts);
    return rewritten(name, verdict, before, tuple(packet, newSrc, newDst, newPorts));
  }
  return { hook: name, verdict: ACCEPT };
}

function rewritten(hook: string, verdict: string, before: Tuple, after: Tuple): Stage {
  return { hook, verdict, before, after };
}
