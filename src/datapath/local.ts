/** The node as a destination where it has no IP stack of its own: it answers echo requests and refuses everything else, as a host without servers does. */
import { IcmpType, Icmpv6Type, IpProtocol, isFragment, TcpFlag } from "../wire/index.js";
import type { Packet } from "./packet.js";
import { Verdict } from "./verdicts.js";

/** What the node does with a packet to one of its addresses (RFC 1122 §3.2.2.1, RFC 9293 §3.10.7.1). */
export function judgeLocal({ view }: Packet): number {
  if (isFragment(view)) return Verdict.fragmentForNode;
  if (view.protocol === IpProtocol.icmp || view.protocol === IpProtocol.icmpv6) return Verdict.deliver;
  if (view.protocol === IpProtocol.udp) return Verdict.portUnreachable;
  if (view.protocol !== IpProtocol.tcp) return Verdict.protocolUnreachable;
  return (view.tcpFlags & TcpFlag.rst) !== 0 ? Verdict.deliver : Verdict.tcpReset;
}

export function isEchoRequest({ view, protocol }: Packet): boolean {
  if (protocol === IpProtocol.icmpv6) return view.icmpType === Icmpv6Type.echoRequest;
  return protocol === IpProtocol.icmp && view.icmpType === IcmpType.echoRequest;
}

export function isEchoReply({ view, protocol }: Packet): boolean {
  if (protocol === IpProtocol.icmpv6) return view.icmpType === Icmpv6Type.echoReply;
  return protocol === IpProtocol.icmp && view.icmpType === IcmpType.echoReply;
}
