/** Lines of observations read back: what the CLI gets from the node processes. */
import { createRequire } from "node:module";
import type { ZodType } from "zod";
import type { Observation, Tuple } from "../datapath/index.js";
import { IpProtocol, parseIp, parseIpv4 } from "../wire/index.js";

const PROTOCOLS: Readonly<Record<string, number | undefined>> = IpProtocol;
let known: ZodType<Observation> | undefined;

/** The observation of a line that `observationToJson` made; undefined for any other text. */
export function observationFromJson(line: string): Observation | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  known ??= observationSchema();
  return known.safeParse(value).data;
}

/** Made when it is first needed: a node process, which only writes such lines, would carry 5 MB of zod about. */
function observationSchema(): ZodType<Observation> {
  const { z } = createRequire(import.meta.url)("zod") as typeof import("zod");
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
  return z.object({
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
}
