/** One question by a client to an echo server somewhere in the cluster, and what came of it. */
import type { Cluster } from "./cluster.js";
import { isPortUnreachable } from "./icmp-family.js";
import { asText, text } from "./packet.js";
import { askSctp } from "./sctp.js";
import type { Station } from "./station.js";

export interface Answer {
  readonly outcome: "answered" | "refused" | "unreachable" | "silence";
  /** Name of the pod that answered. */
  readonly pod: string;
  /** The client's address as the pod saw it. */
  readonly seenAs: string;
  /** Whether the reply came from the very address that was asked. */
  readonly replyFrom: string;
}

export type AskProtocol = "TCP" | "UDP" | "SCTP" | "ICMP";

const PATIENCE_MS = 20_000;

/** Asks, waits as long as it takes, and tells. */
export function ask(
  cluster: Cluster,
  from: Station,
  dst: string,
  port: number,
  protocol: AskProtocol,
): Answer {
  if (protocol === "TCP") return askTcp(cluster, from, dst, port);
  if (protocol === "SCTP") return askOverSctp(cluster, from, dst, port);
  return protocol === "UDP" ? askUdp(cluster, from, dst, port) : askIcmp(cluster, from, dst);
}

function askTcp(cluster: Cluster, from: Station, dst: string, port: number): Answer {
  const end = from.connect(dst, port);
  end.write("hello");
  cluster.run(100);
  if (end.input === "" && end.state === "syn-sent") cluster.run(PATIENCE_MS);
  if (end.input === "") {
    if (end.state !== "refused") return failed("silence");
    // A reset, or port unreachable; anything else is about the way there.
    return failed(
      end.reason === "" || end.reason.startsWith(dst.includes(":") ? "icmp 1/4" : "icmp 3/3")
        ? "refused"
        : "unreachable",
    );
  }
  end.close();
  cluster.run(100);
  if (!end.peerClosed || !end.idle)
    throw new Error(`connection to ${dst}:${port} was not closed in good order`);
  return answered(end.input, dst);
}

function askUdp(cluster: Cluster, from: Station, dst: string, port: number): Answer {
  const [before, errors] = [from.datagrams.length, from.errors.length];
  const sport = from.sendUdp(dst, port, text("hello"));
  cluster.run(5000);
  const reply = from.datagrams.slice(before).find((datagram) => datagram.dport === sport);
  if (reply !== undefined)
    return answered(asText(reply.payload), `${reply.from}${reply.sport === port ? "" : `:${reply.sport}`}`);
  const error = from.errors
    .slice(errors)
    .find(({ quoted }) => quoted.dst === dst && quoted.sport === sport && quoted.dport === port);
  if (error === undefined) return failed("silence");
  return failed(isPortUnreachable(error) ? "refused" : "unreachable");
}

/** Source ports of SCTP questions, one each. */
let nextSctpPort = 50_000;

function askOverSctp(cluster: Cluster, from: Station, dst: string, port: number): Answer {
  const errors = from.errors.length;
  const sport = nextSctpPort++;
  const end = askSctp(from, dst, port, sport);
  cluster.run(5000);
  if (end.input !== "") {
    end.close();
    cluster.run(100);
    if (end.state !== "closed")
      throw new Error(`association with ${dst}:${port} was not closed in good order`);
    return answered(end.input, end.heardFrom);
  }
  const error = from.errors.slice(errors).find(({ quoted }) => quoted.dst === dst && quoted.sport === sport);
  if (error === undefined) return failed("silence");
  return failed(isPortUnreachable(error) ? "refused" : "unreachable");
}

function askIcmp(cluster: Cluster, from: Station, dst: string): Answer {
  const before = from.echoReplies.length;
  from.ping(dst);
  cluster.run(5000);
  const reply = from.echoReplies[before];
  const pod = [...cluster.pods.values()].find(({ addresses }) => addresses.includes(dst));
  if (reply === undefined) return failed("silence");
  const seenAs = pod?.received.at(-1)?.src ?? "";
  return { outcome: "answered", pod: pod?.name ?? "node", seenAs, replyFrom: reply.from };
}

function failed(outcome: Answer["outcome"]): Answer {
  return { outcome, pod: "", seenAs: "", replyFrom: "" };
}

/** Reads the echo server's line. */
function answered(line: string, replyFrom: string): Answer {
  const found = /^pod=(\S+) client=(\S+):\d+/.exec(line);
  if (found === null) throw new Error(`unexpected reply: ${line}`);
  return { outcome: "answered", pod: found[1], seenAs: found[2], replyFrom };
}
