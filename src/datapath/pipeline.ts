/** The hooks in their order. Stages decide and note how far the packet came; the bytes change only at the end. */
import { IpProtocol, isFragment } from "../wire/index.js";
import type { Conntrack } from "./conntrack/conntrack.js";
import type { Egress } from "./egress.js";
import type { FragmentCache } from "./fragments.js";
import { judgeLocal } from "./local.js";
import type { Nat } from "./nat.js";
import { Hook, type Packet } from "./packet.js";
import type { PolicyGate } from "./policy-gate.js";
import type { Router } from "./router.js";
import { PortKind } from "./types.js";
import { CONTINUE, Verdict } from "./verdicts.js";

export class Pipeline {
  constructor(
    private readonly conntrack: Conntrack,
    private readonly fragments: FragmentCache,
    private readonly nat: Nat,
    private readonly router: Router,
    private readonly policies: PolicyGate,
    private readonly egress: Egress,
    private readonly bridgeNetfilter: boolean,
  ) {}

  /** Carries a packet that came in by a port to its end. Returns the verdict. */
  carry(packet: Packet): number {
    if (packet.isBridged && !this.bridgeNetfilter) return this.switchUntracked(packet);
    packet.hook = Hook.conntrack;
    const placed = packet.isLaterFragment ? this.followFirst(packet) : this.conntrack.track(packet);
    if (placed !== CONTINUE) return placed;
    packet.hook = Hook.prerouting;
    const translated = this.nat.prerouting(packet);
    if (translated !== CONTINUE) return translated;
    packet.hook = Hook.route;
    // A bridged packet that got another destination is routed (br_netfilter hands it to the IP stack).
    if (packet.isBridged && packet.newDst !== packet.dst) packet.isBridged = false;
    const routed = packet.isBridged ? CONTINUE : this.router.route(packet);
    if (routed !== CONTINUE) return routed;
    if (packet.outKind === PortKind.local) return this.deliver(packet);
    packet.hook = Hook.forward;
    const fits = this.checkHop(packet);
    if (fits !== CONTINUE) return fits;
    const allowed = this.policies.judge(packet);
    return allowed === CONTINUE ? this.leave(packet) : allowed;
  }

  /** Sends a packet that the node itself made. Returns the verdict. */
  originate(packet: Packet): number {
    packet.hook = Hook.route;
    const routed = this.router.route(packet);
    if (routed !== CONTINUE) return routed;
    if (packet.outPort === undefined) return Verdict.noRoute;
    if (packet.view.dontFragment !== 0 && packet.wireBytes() > packet.outPort.mtuBytes) {
      return Verdict.fragmentationNeeded;
    }
    packet.hook = Hook.egress;
    return this.egress.transmit(packet);
  }

  private leave(packet: Packet): number {
    packet.hook = Hook.postrouting;
    const translated = this.nat.postrouting(packet);
    if (translated !== CONTINUE) return translated;
    if (isUntranslatable(packet)) return Verdict.sctpFragment;
    const confirmed = this.conntrack.confirm(packet);
    if (confirmed !== CONTINUE) return confirmed;
    this.fragments.remember(packet);
    packet.hook = Hook.egress;
    return this.egress.transmit(packet);
  }

  /** INPUT: to the node's own IP stack where it has one. No address is translated here but by what was decided before. */
  private deliver(packet: Packet): number {
    packet.hook = Hook.local;
    if (packet.outPort !== undefined) return this.handOver(packet);
    const verdict = judgeLocal(packet);
    if (verdict !== Verdict.deliver) return verdict;
    const confirmed = this.conntrack.confirm(packet);
    return confirmed === CONTINUE ? Verdict.deliver : confirmed;
  }

  private handOver(packet: Packet): number {
    const translated = this.nat.input(packet);
    if (translated !== CONTINUE) return translated;
    const confirmed = this.conntrack.confirm(packet);
    if (confirmed !== CONTINUE) return confirmed;
    this.fragments.remember(packet);
    return this.egress.deliver(packet);
  }

  private followFirst(packet: Packet): number {
    return this.fragments.follow(packet) ? CONTINUE : Verdict.fragmentWithoutFirst;
  }

  /** TTL (RFC 1812 §5.3.1) and MTU (RFC 1191 §3, §4) of the next hop. A bridge is no hop and cannot fragment. */
  private checkHop(packet: Packet): number {
    const { view, outPort } = packet;
    if (outPort === undefined) return Verdict.noRoute;
    const isTooLarge = packet.wireBytes() > outPort.mtuBytes;
    if (packet.isBridged) return isTooLarge ? Verdict.bridgeMtu : CONTINUE;
    if (view.ttl <= 1 && !packet.isFromNode()) return Verdict.ttlExceeded;
    // Segments of a super-packet are cut behind this point, where no fragment could be made of them.
    if (!isTooLarge || (view.dontFragment === 0 && packet.segmentBytes === 0)) return CONTINUE;
    packet.mtuBytes = outPort.mtuBytes;
    return Verdict.fragmentationNeeded;
  }

  private switchUntracked(packet: Packet): number {
    packet.hook = Hook.forward;
    const fits = this.checkHop(packet);
    if (fits !== CONTINUE) return fits;
    packet.hook = Hook.egress;
    return this.egress.transmit(packet);
  }
}

/** Whether the packet would get other ports though its checksum, a CRC32c, covers fragments that are not here. */
function isUntranslatable({ protocol, ports, newPorts, view }: Packet): boolean {
  return protocol === IpProtocol.sctp && ports !== newPorts && isFragment(view);
}
