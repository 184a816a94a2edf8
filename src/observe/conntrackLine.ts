/** Conntrack entries in the format of `conntrack -L` (conntrack-tools), with accounting. */
import type { ConntrackRecord, Tuple } from "../datapath/index.js";
import { formatIp, IpProtocol, protocolName } from "../wire/index.js";

const PROTOCOL_WIDTH = 8;

/**
 * One line, no newline: protocol by name and number, seconds left, TCP state, the original tuple, `[UNREPLIED]`, the
 * tuple that replies will have, `[ASSURED]`, mark and use. Behind a DNAT the reply's source is the endpoint.
 */
export function formatConntrackLine(record: ConntrackRecord): string {
  const { protocol, original, reply } = record;
  const name = protocolName(protocol);
  const parts = [
    `${(name === String(protocol) ? "unknown" : name).padEnd(PROTOCOL_WIDTH)} ${protocol}`,
    String(record.timeoutSeconds),
    record.state ?? "",
    formatDirection(original, record.originalPackets, record.originalBytes),
    record.unreplied ? "[UNREPLIED]" : "",
    formatDirection(reply, record.replyPackets, record.replyBytes),
    record.assured ? "[ASSURED]" : "",
    "mark=0 use=1",
  ];
  return parts.filter((part) => part !== "").join(" ");
}

function formatDirection(tuple: Tuple, packets: number, bytes: number): string {
  return `src=${formatIp(tuple.src)} dst=${formatIp(tuple.dst)} ${formatKey(tuple)}packets=${packets} bytes=${bytes}`;
}

function formatKey({ protocol, sport, dport }: Tuple): string {
  if (protocol === IpProtocol.icmp || protocol === IpProtocol.icmpv6)
    return `type=${dport >>> 8} code=${dport & 0xff} id=${sport} `;
  const hasPorts = protocol === IpProtocol.tcp || protocol === IpProtocol.udp || protocol === IpProtocol.sctp;
  return hasPorts ? `sport=${sport} dport=${dport} ` : "";
}
