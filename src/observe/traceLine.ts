/** One packet at one node as one line of text. */
import pc from "picocolors";
import type { Observation, Stage } from "../datapath/index.js";
import { formatIpv4, protocolName } from "../wire/index.js";
import { formatTuple, type NameOf, tuplesEqual } from "./tupleText.js";

export interface TraceLineOptions {
  /** ANSI colours; off unless asked for. Each packet id has its own, so that the eye can follow a packet. */
  readonly colour?: boolean;
  /** Adds an indented line for each stage of the pipeline. */
  readonly wide?: boolean;
  readonly nameOf?: NameOf;
}

const NODE_WIDTH = 10;
const VERDICT_WIDTH = 8;
const HOOK_WIDTH = 12;
const STAGE_VERDICT_WIDTH = 16;
const plain = pc.createColors(false);
const coloured = pc.createColors(true);
type Colours = typeof plain;

/**
 * A line with these columns, always in this order and separated by spaces; those in brackets only when they apply:
 *
 *     TIME ID NODE VERDICT[:REASON] IN -> OUT PROTOCOL SRC > DST [=> SRC > DST] [INFO]
 *       len= ttl= ct=STATE[,reply] [svc=] [ep=] [policy=] [outer=SRC>DST]
 *
 * TIME is UTC with microseconds. ID is the packet's fingerprint: `grep` for it to see the packet on every node. IN and
 * OUT are ports of the node; OUT is `-` when the packet did not leave. The addresses behind `=>` are those it left with,
 * when they are not those it came with. INFO stands in square brackets: TCP flags as tcpdump writes them, or the ICMP
 * message. `svc` and `ep` are the Service and the endpoint chosen for the connection, `policy` the direction and the
 * NetworkPolicies that isolate the pod when they deny the packet, `outer` the addresses around the packet on the way
 * between nodes. No newline at the end.
 */
export function formatObservation(observation: Observation, options: TraceLineOptions = {}): string {
  const colours = options.colour === true ? coloured : plain;
  const columns = [
    colours.dim(formatTime(observation.timeMs)),
    idColour(colours, observation.packetId)(observation.packetId),
    observation.node.padEnd(NODE_WIDTH),
    formatVerdict(observation, VERDICT_WIDTH, colours),
    `${observation.inPort} -> ${observation.outPort ?? "-"}`,
    protocolName(observation.before.protocol),
    formatRewrite(observation, colours, options.nameOf),
    observation.info === "" ? "" : `[${observation.info}]`,
    ...details(observation).map(([key, value]) => `${colours.dim(`${key}=`)}${value}`),
  ];
  const line = columns.filter((column) => column !== "").join(" ");
  if (options.wide !== true) return line;
  return [line, ...observation.stages.map((stage) => formatStage(stage, colours, options.nameOf))].join("\n");
}

/** `HH:MM:SS.uuuuuu`, UTC. */
function formatTime(timeMs: number): string {
  const micros = Math.round(timeMs * 1000);
  const clock = new Date(Math.floor(micros / 1000)).toISOString().slice(11, 23);
  return `${clock}${String(micros % 1000).padStart(3, "0")}`;
}

function details(observation: Observation): [string, string | number][] {
  const { lengthBytes, ttl, ctState, reply, service, endpoint, policy, outer } = observation;
  const list: [string, string | number][] = [
    ["len", lengthBytes],
    ["ttl", ttl],
    ["ct", reply ? `${ctState},reply` : ctState],
  ];
  if (service !== undefined) list.push(["svc", service.replace(/:$/, "")]);
  if (endpoint !== undefined) list.push(["ep", endpoint]);
  if (policy !== undefined) list.push(["policy", policy]);
  if (outer !== undefined) {
    const end = (address: number, port: number) => `${formatIpv4(address)}${port === 0 ? "" : `:${port}`}`;
    list.push(["outer", `${end(outer.src, outer.sport)}>${end(outer.dst, outer.dport)}`]);
  }
  return list;
}

function formatStage(stage: Stage, colours: Colours, nameOf?: NameOf): string {
  const { before, after = before } = stage;
  const rewrite =
    before === undefined || after === undefined ? "" : formatRewrite({ before, after }, colours, nameOf);
  const verdict = formatVerdict(stage, rewrite === "" ? 0 : STAGE_VERDICT_WIDTH, colours);
  return `    ${stage.hook.padEnd(HOOK_WIDTH)} ${verdict}${rewrite === "" ? "" : ` ${rewrite}`}`;
}

function formatRewrite(
  { before, after }: Pick<Observation, "before" | "after">,
  colours: Colours,
  nameOf?: NameOf,
): string {
  const came = formatTuple(before, nameOf);
  return tuplesEqual(before, after) ? came : `${came} => ${colours.yellow(formatTuple(after, nameOf))}`;
}

function formatVerdict(
  { verdict, reason }: Pick<Stage, "verdict" | "reason">,
  width: number,
  colours: Colours,
): string {
  const text = (reason === undefined || reason === "" ? verdict : `${verdict}:${reason}`).padEnd(width);
  return verdict === "drop" || verdict === "reject" ? colours.red(text) : colours.green(text);
}

function idColour(colours: Colours, packetId: string): (text: string) => string {
  const palette = [colours.cyan, colours.magenta, colours.blue, colours.yellow, colours.green, colours.white];
  return palette[Number.parseInt(packetId.slice(-4), 16) % palette.length] ?? colours.white;
}
