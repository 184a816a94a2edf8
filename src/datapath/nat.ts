/** Which addresses a connection's first packet gets: service DNAT before routing, masquerading after. */

import { IpProtocol } from "../wire/index.js";
import type { Addresses } from "./addresses.js";
import type { Conntrack } from "./conntrack/conntrack.js";
import { invertPorts } from "./conntrack/invert.js";
import { State } from "./conntrack/state.js";
import { isIpv6Handle } from "./ipv6/address-book.js";
import type { Packet } from "./packet.js";
import {
  PortKind,
  ServiceAction,
  type ServiceDecision,
  type ServiceQuery,
  type ServiceResolver,
} from "./types.js";
import { CONTINUE, Verdict } from "./verdicts.js";

/** Tries of Linux' nf_nat_l4proto_unique_tuple: 128 ports in a row from a random one, then half as many, down to 16. */
const MAX_ATTEMPTS = 128;
const MIN_ATTEMPTS = 16;

export class Nat {
  private readonly query: ServiceQuery = {
    protocol: 0,
    src: 0,
    dst: 0,
    sport: 0,
    dport: 0,
    inKind: PortKind.local,
    dstIsLocal: false,
    nowMs: 0,
  };
  private readonly decision: ServiceDecision = {
    action: ServiceAction.drop,
    ip: 0,
    port: 0,
    masquerade: false,
    service: "",
    endpoint: "",
    reason: "",
  };

  constructor(
    private readonly addresses: Addresses,
    private readonly conntrack: Conntrack,
    private readonly services: ServiceResolver,
    private readonly random: () => number,
    private readonly ipMasq: boolean,
  ) {}

  /** PREROUTING and OUTPUT: asks the proxy about the first packet of a connection. Returns CONTINUE or a verdict. */
  prerouting(packet: Packet): number {
    if (packet.initialState === State.none) return CONTINUE;
    const { query, decision } = this;
    query.protocol = packet.protocol;
    query.src = packet.src;
    query.dst = packet.dst;
    query.sport = packet.ports >>> 16;
    query.dport = packet.ports & 0xffff;
    query.inKind = packet.isFromNode() ? PortKind.local : packet.inPort!.kind;
    query.dstIsLocal = this.addresses.isOwn(packet.dst);
    query.nowMs = packet.nowMs;
    if (!this.services.resolve(query, decision)) return CONTINUE;
    packet.service = decision.service;
    if (decision.action !== ServiceAction.dnat) {
      packet.reason = decision.reason;
      return decision.action === ServiceAction.reject ? Verdict.serviceReject : Verdict.serviceDrop;
    }
    // No rule may lead from one family to the other: a packet has room for its own addresses only.
    if (isIpv6Handle(decision.ip) !== packet.isIpv6) return Verdict.serviceDrop;
    packet.endpoint = decision.endpoint;
    packet.masquerade = decision.masquerade;
    packet.newDst = decision.ip;
    if (hasPorts(packet.protocol)) packet.newPorts = (packet.ports & 0xffff0000) | decision.port;
    return CONTINUE;
  }

  /**
   * POSTROUTING: masquerades the first packet where the proxy or flannel wants it, and sees to it that the reply tuple is
   * nobody else's, if need be by another source port (as Linux' null binding does). Returns CONTINUE or a verdict.
   */
  postrouting(packet: Packet): number {
    if (packet.initialState === State.none) return CONTINUE;
    if (this.wantsMasquerade(packet)) {
      packet.masquerade = true;
      packet.newSrc = packet.sourceIp;
    }
    return this.replyIsFree(packet) || this.choosePort(packet) ? CONTINUE : Verdict.snatNoPorts;
  }

  /**
   * INPUT: what goes to the node keeps its source, whatever the proxy marked, for only POSTROUTING masquerades. Returns
   * CONTINUE or a verdict.
   */
  input(packet: Packet): number {
    if (packet.initialState === State.none) return CONTINUE;
    return this.replyIsFree(packet) || this.choosePort(packet) ? CONTINUE : Verdict.snatNoPorts;
  }

  private wantsMasquerade(packet: Packet): boolean {
    const { src, dst, newDst } = packet;
    if (packet.masquerade) return true;
    // Hairpin: a pod that reaches itself through a Service would answer itself directly.
    if (newDst === src && newDst !== dst) return true;
    return this.ipMasq && !packet.isBridged && this.flannelMasquerades(src, newDst);
  }

  /** flannel's rules (pkg/trafficmngr, --ip-masq): pods to the outside, and the outside to pods of other nodes. */
  private flannelMasquerades(src: number, dst: number): boolean {
    const { addresses } = this;
    if (addresses.inPodNetwork(src)) return !addresses.inPodNetwork(dst) && !addresses.isGroup(dst);
    return addresses.inPodNetwork(dst) && !addresses.inPodSubnet(dst);
  }

  private replyIsFree({ protocol, newSrc, newDst, newPorts }: Packet): boolean {
    return this.conntrack.isFree(protocol, newDst | 0, newSrc | 0, invertPorts(protocol, newPorts));
  }

  /** Looks for a source port (or ICMP identifier) of the same class that makes the reply tuple unique. */
  private choosePort(packet: Packet): boolean {
    const isIcmp = packet.protocol === IpProtocol.icmp || packet.protocol === IpProtocol.icmpv6;
    if (!isIcmp && !hasPorts(packet.protocol)) return false;
    const port = packet.ports >>> 16;
    const least = isIcmp ? 0 : port < 512 ? 1 : port < 1024 ? 600 : 1024;
    const most = isIcmp ? 0xffff : port < 512 ? 511 : port < 1024 ? 1023 : 0xffff;
    const size = most - least + 1;
    for (let attempts = Math.min(size, MAX_ATTEMPTS); attempts >= MIN_ATTEMPTS; attempts >>>= 1) {
      const start = Math.floor(this.random() * size);
      for (let i = 0; i < attempts; i++) {
        packet.newPorts = ((least + ((start + i) % size)) << 16) | (packet.newPorts & 0xffff);
        if (this.replyIsFree(packet)) return true;
      }
    }
    return false;
  }
}

function hasPorts(protocol: number): boolean {
  return protocol === IpProtocol.tcp || protocol === IpProtocol.udp || protocol === IpProtocol.sctp;
}
