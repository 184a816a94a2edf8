/** Keeps a measurement of the underlay path to every peer, repeated at jittered intervals, one path at a time. */

import type { Clock } from "../store/index.js";
import { formatIpv4 } from "../wire/index.js";
import { type EchoSocket, measurePath, type PathReport } from "./path-mtu.js";
import type { Log } from "./types.js";

export const DEFAULT_PROBE_INTERVAL_MS = 30_000;
const ECHO_TIMEOUT_MS = 1000;
/** Share of the interval by which each repetition moves, so that nodes do not probe in step. */
const JITTER = 0.2;

/** The last measurement of one path, as `status` shows it. */
export interface ProbeResult extends Omit<PathReport, "reachable"> {
  /** Underlay address of the peer. */
  readonly peer: string;
  /** Missing: not known, because probing is unavailable; `error` says why. */
  readonly reachable?: boolean;
  /** Milliseconds since the Unix epoch. */
  readonly checkedAt: number;
}

export interface PathMonitorOptions {
  /** Opens the socket when the first peer appears; rejects with the reason when probing is unavailable. */
  readonly open: () => Promise<EchoSocket>;
  /** The underlay's own MTU. */
  readonly underlayMtuBytes: number;
  readonly intervalMs: number;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Log;
}

/** Probes the paths to a changing set of peers. */
export class PathMonitor {
  readonly #results = new Map<number, ProbeResult>();
  readonly #timers = new Map<number, () => void>();
  #socket: Promise<EchoSocket | string> | undefined;
  #queue: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(private readonly options: PathMonitorOptions) {}

  /** The set of peers from now on (underlay addresses); new ones are probed at once. */
  setPeers(peers: readonly number[]): void {
    if (this.#stopped) return;
    const wanted = new Set(peers);
    for (const [peer, cancel] of this.#timers) {
      if (wanted.has(peer)) continue;
      cancel();
      this.#timers.delete(peer);
      this.#results.delete(peer);
    }
    for (const peer of wanted) if (!this.#timers.has(peer)) this.#probeAfter(peer, 0);
  }

  /** The last measurement; undefined before the first one is done. */
  result(peer: number): ProbeResult | undefined {
    return this.#results.get(peer);
  }

  /** Ends all probing and closes the socket. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    const socket = await this.#socket;
    if (socket !== undefined && typeof socket !== "string") socket.close();
    await this.#queue;
  }

  #probeAfter(peer: number, delayMs: number): void {
    const cancel = this.options.clock.schedule(delayMs, () => {
      this.#queue = this.#queue.then(() => this.#probe(peer));
    });
    this.#timers.set(peer, cancel);
  }

  async #probe(peer: number): Promise<void> {
    if (!this.#timers.has(peer)) return;
    const report = await this.#measure(peer);
    if (!this.#timers.has(peer)) return;
    this.#logChange(peer, report);
    this.#results.set(peer, { ...report, peer: formatIpv4(peer), checkedAt: this.options.clock.now() });
    const { intervalMs, random } = this.options;
    this.#probeAfter(peer, intervalMs * (1 - JITTER / 2 + JITTER * random()));
  }

  async #measure(peer: number): Promise<Omit<ProbeResult, "peer" | "checkedAt">> {
    this.#socket ??= this.#open();
    const socket = await this.#socket;
    if (typeof socket === "string") return { error: `unavailable: ${socket}` };
    const lastPathMtuBytes = this.#results.get(peer)?.pathMtuBytes;
    return measurePath(socket, {
      peer,
      ceilingBytes: this.options.underlayMtuBytes,
      timeoutMs: ECHO_TIMEOUT_MS,
      ...(lastPathMtuBytes === undefined ? {} : { lastPathMtuBytes }),
    });
  }

  /** The socket, or why there is none. */
  async #open(): Promise<EchoSocket | string> {
    try {
      return await this.options.open();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.options.log("warn", `paths to peers are not probed: ${reason}`);
      return reason;
    }
  }

  #logChange(
    peer: number,
    { reachable, pathMtuBytes, error }: Omit<ProbeResult, "peer" | "checkedAt">,
  ): void {
    const { log, underlayMtuBytes } = this.options;
    const before = this.#results.get(peer);
    const name = formatIpv4(peer);
    if (reachable === false && before?.reachable !== false) {
      log("warn", `node ${name} does not answer on the underlay: ${error}`);
    }
    if (reachable && before?.reachable === false) log("info", `node ${name} answers on the underlay again`);
    if (
      pathMtuBytes === undefined ||
      pathMtuBytes >= underlayMtuBytes ||
      pathMtuBytes === before?.pathMtuBytes
    )
      return;
    const less = `less than the underlay's ${underlayMtuBytes}: larger packets are lost`;
    log("warn", `the path to node ${name} carries ${pathMtuBytes} bytes, ${less}`);
  }
}
