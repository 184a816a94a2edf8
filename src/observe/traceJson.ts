/** Observations as JSON lines, and back: what node processes stream and `-o json` prints. */
import { z } from "zod";
import type { Observation, Stage, Tuple } from "../datapath/index.js";
import { formatIp, formatIpv4, IpProtocol, parseIp, parseIpv4, protocolName } from "../wire/index.js";

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

/** The observation of a line that {@link observationToJson} made; undefined for any other text. */
export function observationFromJson(line: string): Observation | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  return observationSchema.safeParse(value).data;
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

const PROTOCOLS: Readonly<Record<string, number | undefined>> = IpProtocol;
const u8 = z.int().min(0).max(0xff);
const u16 = z.int().min(0).max(0xffff);
const address = z.string().transform((text, context) => {
  const parsed = parseIp(text);
  if (parsed === undefined) context.addIssue("not an IP address");
  return parsed ?? 0;
});
const underlayAddress = z.string().transform((text, context) => {
  const parsed = parseIpv4(text);
  if (parsed === undefined) context.addIssue("not an IPv4 address");
  return parsed ?? 0;
});
const protocol = z.string().transform((text, context) => {
  const parsed = u8.safeParse(PROTOCOLS[text] ?? (/^\d+$/.test(text) ? Number(text) : undefined));
  if (!parsed.success) context.addIssue("not a protocol");
  return parsed.data ?? 0;
});
const ends = { protocol, src: address, dst: address };
const tuple = z.union([
  z
    .object({ ...ends, id: u16, type: u8, code: u8 })
    .transform(({ id, type, code, ...rest }): Tuple => ({ ...rest, sport: id, dport: (type << 8) | code })),
  z.object({ ...ends, sport: u16, dport: u16 }),
]);
const stage = z.object({
  hook: z.string(),
  verdict: z.string(),
  reason: z.string().optional(),
  before: tuple.optional(),
  after: tuple.optional(),
});
const observationSchema = z.object({
  timeMs: z.number(),
  node: z.string(),
  packetId: z.string().regex(/^[0-9a-f]{8}$/),
  inPort: z.string(),
  outPort: z.string().optional(),
  verdict: z.string(),
  reason: z.string().optional(),
  before: tuple,
  after: tuple,
  service: z.string().optional(),
  endpoint: z.string().optional(),
  policy: z.string().optional(),
  outer: z.object({ src: underlayAddress, dst: underlayAddress, sport: u16, dport: u16 }).optional(),
  ctState: z.string(),
  reply: z.boolean(),
  lengthBytes: z.int().min(0),
  ttl: u8,
  info: z.string(),
  stages: z.array(stage),
});
