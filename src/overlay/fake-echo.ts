/** An underlay in memory for tests: each path has an MTU, a delay and may be down. */
import type { EchoOutcome, EchoSocket } from "./path-mtu.js";

export interface FakePath {
  up: boolean;
  mtuBytes: number;
  rttMs: number;
  /** Whether packets that are too big are answered with the MTU, or vanish (a PMTU black hole). */
  tellsMtu: boolean;
}

/** The EchoSocket of an emulated underlay; counts what was sent. */
export class FakeEcho implements EchoSocket {
  /** Paths by the peer's address; change them at any time. */
  readonly paths = new Map<number, FakePath>();
  sent = 0;
  closed = false;

  async echo(peer: number, sizeBytes: number): Promise<EchoOutcome> {
    if (this.closed) return { type: "unreachable", reason: "the socket is closed" };
    this.sent++;
    const path = this.paths.get(peer);
    if (path?.up !== true) return { type: "timeout" };
    if (sizeBytes <= path.mtuBytes) return { type: "reply", rttMs: path.rttMs };
    return path.tellsMtu ? { type: "too-big", mtuBytes: path.mtuBytes } : { type: "timeout" };
  }

  close(): void {
    this.closed = true;
  }
}
