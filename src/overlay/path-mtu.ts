/**
 * Measuring the underlay path to one peer with echo requests that may not be fragmented: is it reachable, how far away,
 * and what is the largest packet that gets through (RFC 1191 in spirit; a search where routers stay silent).
 */

/** What became of one echo request. */
export type EchoOutcome =
  | { readonly type: "reply"; readonly rttMs: number }
  /** The packet does not fit; a router, or this machine, may have said what would. */
  | { readonly type: "too-big"; readonly mtuBytes?: number }
  | { readonly type: "unreachable"; readonly reason: string }
  | { readonly type: "timeout" };

/** Sends ICMP echo requests with DF set. */
export interface EchoSocket {
  /**
   * Sends one request whose IPv4 packet has this size and waits for what comes back. Never rejects.
   * @param peer underlay IPv4 address
   */
  echo(peer: number, sizeBytes: number, timeoutMs: number): Promise<EchoOutcome>;
  close(): void;
}

/** What is known about the path to one peer. */
export interface PathReport {
  readonly reachable: boolean;
  readonly rttMs?: number;
  readonly pathMtuBytes?: number;
  readonly error?: string;
}

export interface PathQuestion {
  readonly peer: number;
  /** The underlay's own MTU: nothing larger is tried. */
  readonly ceilingBytes: number;
  /** Path MTU of the last measurement, confirmed before anything else is tried. */
  readonly lastPathMtuBytes?: number;
  readonly timeoutMs: number;
}

/** The smallest size that the search tries: every IPv4 host takes packets of this size (RFC 791 §3.1). */
export const MIN_PATH_MTU_BYTES = 576;
/** Size of an ordinary ping. */
const REACH_BYTES = 84;
/** A lost packet is not a packet that was too big, so silence is asked about once more. */
const TRIES = 2;

/** Measures one path: two packets when nothing has changed, at most about twenty when the search has to run in silence. */
export async function measurePath(socket: EchoSocket, question: PathQuestion): Promise<PathReport> {
  const { peer, ceilingBytes, lastPathMtuBytes, timeoutMs } = question;
  const first = await ask(socket, peer, REACH_BYTES, timeoutMs);
  if (first.type !== "reply") return { reachable: false, error: describe(first, timeoutMs) };
  const reached = { reachable: true, rttMs: first.rttMs };
  if (lastPathMtuBytes !== undefined && lastPathMtuBytes < ceilingBytes) {
    const known = await ask(socket, peer, lastPathMtuBytes, timeoutMs);
    const pathMtuBytes =
      known.type === "reply" ? await raised(socket, question, lastPathMtuBytes) : undefined;
    if (pathMtuBytes !== undefined) return { ...reached, pathMtuBytes };
  }
  const pathMtuBytes = await search(socket, question);
  if (pathMtuBytes !== undefined) return { ...reached, pathMtuBytes };
  return { ...reached, error: `packets of ${MIN_PATH_MTU_BYTES} bytes do not get through` };
}

/** The known path MTU, or the ceiling if the path has become wider up to there. */
async function raised(socket: EchoSocket, { peer, ceilingBytes, timeoutMs }: PathQuestion, known: number) {
  const outcome = await socket.echo(peer, ceilingBytes, timeoutMs);
  if (outcome.type === "reply") return ceilingBytes;
  const hint = outcome.type === "too-big" ? (outcome.mtuBytes ?? known) : known;
  return hint > known ? undefined : known;
}

/** The largest size that gets an answer; undefined when not even the smallest does. */
async function search(
  socket: EchoSocket,
  { peer, ceilingBytes, timeoutMs }: PathQuestion,
): Promise<number | undefined> {
  let fits: number | undefined;
  let tooBig = ceilingBytes + 1;
  let size = ceilingBytes;
  let told: number | undefined;
  for (;;) {
    const outcome = await ask(socket, peer, size, timeoutMs);
    if (outcome.type === "reply") fits = size;
    else tooBig = size;
    const low = fits ?? MIN_PATH_MTU_BYTES - 1;
    if (tooBig - low <= 1 || (fits !== undefined && fits === told)) return fits;
    told = outcome.type === "too-big" ? outcome.mtuBytes : undefined;
    if (told === undefined || told <= low || told >= tooBig) told = undefined;
    size = told ?? low + Math.floor((tooBig - low) / 2);
  }
}

/** One question, repeated when there was no answer at all. */
async function ask(
  socket: EchoSocket,
  peer: number,
  sizeBytes: number,
  timeoutMs: number,
): Promise<EchoOutcome> {
  let outcome = await socket.echo(peer, sizeBytes, timeoutMs);
  for (let tries = 1; outcome.type === "timeout" && tries < TRIES; tries++) {
    outcome = await socket.echo(peer, sizeBytes, timeoutMs);
  }
  return outcome;
}

function describe(outcome: Exclude<EchoOutcome, { type: "reply" }>, timeoutMs: number): string {
  if (outcome.type === "unreachable") return outcome.reason;
  if (outcome.type === "too-big") return `even ${REACH_BYTES} bytes are too big for the path`;
  return `no answer within ${timeoutMs} ms`;
}
