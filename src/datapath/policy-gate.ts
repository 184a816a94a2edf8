/**
 * FORWARD: network policies. A connection is judged by its first packet, and judged again by its next packet when the
 * rules have changed since; in between it costs one comparison, and nothing at all while no pod of the node is isolated.
 */
import type { Addresses } from "./addresses.js";
import type { Conntrack } from "./conntrack/conntrack.js";
import { NO_HANDLE } from "./ipv6/address-book.js";
import type { Packet } from "./packet.js";
import type { Port } from "./ports.js";
import { type PolicyDecision, type PolicyQuery, type PolicyResolver, PortKind } from "./types.js";
import { CONTINUE, Verdict } from "./verdicts.js";

const NO_POLICIES: PolicyResolver = { active: false, generation: 0, allows: () => true };

export class PolicyGate {
  /**
   * Generation under which each entry of the flow table was last allowed. An entry that is used anew keeps the old
   * number, which does no harm: its own first packet was judged under that generation or a later one.
   */
  private stamps = new Int32Array(0);
  private readonly query: PolicyQuery = { protocol: 0, src: 0, dst: 0, dport: 0 };
  private readonly decision: PolicyDecision = { isolation: "" };

  constructor(
    private readonly addresses: Addresses,
    private readonly conntrack: Conntrack,
    private readonly policies: PolicyResolver = NO_POLICIES,
  ) {}

  /** Whether a connection, by its reference in the flow table, was allowed under the rules as they are. */
  isSettled(reference: number): boolean {
    const { policies } = this;
    return !policies.active || this.stamps[reference >>> 1] === policies.generation;
  }

  /** Returns CONTINUE or a verdict. Later fragments follow their first, and ICMP errors belong to a connection. */
  judge(packet: Packet): number {
    if (packet.isLaterFragment || packet.isIcmpError || this.isSettled(packet.flow)) return CONTINUE;
    const isReply = (packet.flow & 1) === 1;
    if (!(isReply ? this.allowsReply(packet) : this.allowsOriginal(packet))) {
      packet.policy = this.decision.isolation;
      return Verdict.policyDenied;
    }
    if (packet.flow !== 0) this.settle(packet.flow >>> 1);
    return CONTINUE;
  }

  /** Whether a frame for several may be copied to a pod: judged for each, for no connection can be entered for it. */
  mayReach({ protocol, src, ports, inPort, isIpv6 }: Packet, { ip, ip6 }: Port): boolean {
    if (!this.policies.active) return true;
    return this.allows(protocol, this.podAt(src, inPort), isIpv6 ? ip6 : ip, ports & 0xffff);
  }

  private allowsOriginal(packet: Packet): boolean {
    const { protocol, inPort, outPort, src, dst, newDst, newPorts, isBridged } = packet;
    // A switched frame reaches the pod of its MAC, which takes it for broadcasts too.
    if (isBridged && outPort !== undefined && this.addresses.isGroup(dst))
      return this.mayReach(packet, outPort);
    // The machine asks pods by their own addresses as the node's kubelet does; by a Service it is a client from outside.
    const isProbe = inPort?.kind === PortKind.host && this.addresses.isHost(src) && dst === newDst;
    const [from, to] = [this.podAt(src, inPort), this.podAt(newDst, outPort)];
    return isProbe || this.allows(protocol, from, to, newPorts & 0xffff);
  }

  private allowsReply({ protocol, inPort, outPort, src, newSrc, newDst, ports }: Packet): boolean {
    const isProbe = outPort?.kind === PortKind.host && this.addresses.isHost(newDst) && src === newSrc;
    const [from, to] = [this.podAt(newDst, outPort), this.podAt(src, inPort)];
    return isProbe || this.allows(protocol, from, to, ports >>> 16);
  }

  /** Policies know pods by their own addresses; a link-local one is that of the pod behind the port. */
  private podAt(address: number, port: Port | undefined): number {
    if (port === undefined || port.ip6 === NO_HANDLE || !this.addresses.isLinkLocal(address)) return address;
    return port.ip6;
  }

  /** A pod's own node is always let through, in both directions (networking/v1 NetworkPolicySpec.ingress). */
  private allows(protocol: number, src: number, dst: number, dport: number): boolean {
    const { query, addresses } = this;
    if (addresses.isOwn(src) || addresses.isOwn(dst)) return true;
    query.protocol = protocol;
    query.src = src;
    query.dst = dst;
    query.dport = dport;
    return this.policies.allows(query, this.decision);
  }

  private settle(entry: number): void {
    if (this.stamps.length === 0) this.stamps = new Int32Array(this.conntrack.max + 1);
    this.stamps[entry] = this.policies.generation;
  }
}
