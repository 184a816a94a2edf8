/** Observations as JSON lines: what node processes stream and `-o json` prints. */
import type { Observation, Stage, Tuple } from "../datapath/index.js";
import { formatIp, formatIpv4, IpProtocol, protocolName } from "../wire/index.js";

/**
 * One line of JSON, no newline: the fields of `Observation` with `time` (ISO 8601) in front of `timeMs`, addresses as
 * text, protocols by name, and for ICMP `id`, `type` and `code` in place of ports.
 */
export function observationToJson(observation: Observation): string {
  const { timeMs, before, after, outer, stages, ...rest } = observation;
  return JSON.stringify({
    time: new Date(timeMs).toISOString(),
    timeMs,
    ...rest,
    before: tupleToJson(before),
    after: tupleToJson(after),
    outer: outer && { ...outer, src: formatIpv4(outer.src), dst: formatIpv4(outer.dst) },
    stages: stages.map(stageToJson),
  });
}

function stageToJson({ before, after, ...rest }: Stage): object {
  return { ...rest, before: before && tupleToJson(before), after: after && tupleToJson(after) };
}

function tupleToJson({ protocol, src, dst, sport, dport }: Tuple): object {
  const ends = { protocol: protocolName(protocol), src: formatIp(src), dst: formatIp(dst) };
  if (protocol === IpProtocol.icmp || protocol === IpProtocol.icmpv6)
    return { ...ends, id: sport, type: dport >>> 8, code: dport & 0xff };
  return { ...ends, sport, dport };
}
