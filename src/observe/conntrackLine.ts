/** Conntrack entries in the format of `conntrack -L` (conntrack-tools), with accounting. */
import type { ConntrackEvent, ConntrackRecord, ConntrackStats, Tuple } from "../datapath/index.js";
import { formatIp, IpProtocol, protocolName } from "../wire/index.js";

const PROTOCOL_WIDTH = 8;
/** Of `[DESTROY]`. */
const EVENT_WIDTH = 9;

/**
 * One line, no newline: protocol by name and number, seconds left, TCP state, the original tuple, `[UNREPLIED]`, the
 * tuple that replies will have, `[ASSURED]`, mark and use. Behind a DNAT the reply's source is the endpoint.
 */
export function formatConntrackLine(record: ConntrackRecord): string {
  return [...formatParts(record, String(record.timeoutSeconds), true), "mark=0 use=1"].join(" ");
}

/** One event, in the format of `conntrack -E`: counters only of what is gone, and time left only of what has any. */
export function formatConntrackEvent({ type, record }: ConntrackEvent): string {
  const isGone = type === "DESTROY";
  const timeout = isGone && record.timeoutSeconds === 0 ? "" : String(record.timeoutSeconds);
  return [`[${type}]`.padStart(EVENT_WIDTH), ...formatParts(record, timeout, isGone)].join(" ");
}

/** Statistics as `conntrack -S` prints them; what cannot happen here is 0. */
export function formatConntrackStats({
  found,
  invalid,
  insert,
  drop,
  earlyDrop,
  error,
}: ConntrackStats): string {
  return `cpu=0   \tfound=${found} invalid=${invalid} insert=${insert} insert_failed=0 drop=${drop} early_drop=${earlyDrop} error=${error} search_restart=0 clash_resolve=0 chaintoolong=0 `;
}

function formatParts(record: ConntrackRecord, timeout: string, isCounted: boolean): string[] {
  const { protocol, original, reply } = record;
  const name = protocolName(protocol);
  const counted = (packets: number, bytes: number) => (isCounted ? `packets=${packets} bytes=${bytes}` : "");
  return [
    `${(name === String(protocol) ? "unknown" : name).padEnd(PROTOCOL_WIDTH)} ${protocol}`,
    timeout,
    record.state ?? "",
    formatDirection(original),
    counted(record.originalPackets, record.originalBytes),
    record.unreplied ? "[UNREPLIED]" : "",
    formatDirection(reply),
    counted(record.replyPackets, record.replyBytes),
    record.assured ? "[ASSURED]" : "",
  ].filter((part) => part !== "");
}

function formatDirection(tuple: Tuple): string {
  return `src=${formatIp(tuple.src)} dst=${formatIp(tuple.dst)}${formatKey(tuple)}`;
}

function formatKey({ protocol, sport, dport }: Tuple): string {
  if (protocol === IpProtocol.icmp || protocol === IpProtocol.icmpv6)
    return ` type=${dport >>> 8} code=${dport & 0xff} id=${sport}`;
  const hasPorts = protocol === IpProtocol.tcp || protocol === IpProtocol.udp || protocol === IpProtocol.sctp;
  return hasPorts ? ` sport=${sport} dport=${dport}` : "";
}
