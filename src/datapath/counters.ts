/** Packets by verdict. */
import { type Outcome, VERDICTS } from "./verdicts.js";

function counterName(outcome: Outcome, reason: string): string {
  return reason === "" ? outcome : `${outcome}:${reason}`;
}

/** Counts packets by verdict, and what is refused for the proxy's or the caller's reasons by those reasons. */
export class Counters {
  private readonly byVerdict = new Float64Array(VERDICTS.length);
  private readonly byReason = new Map<string, number>();

  count(verdict: number): void {
    this.byVerdict[verdict]++;
  }

  /** Counts under a reason from outside this folder, such as `no-endpoints`. */
  countReason(outcome: Outcome, reason: string): void {
    const name = counterName(outcome, reason);
    this.byReason.set(name, (this.byReason.get(name) ?? 0) + 1);
  }

  /** The count of one verdict. */
  of(verdict: number): number {
    return this.byVerdict[verdict];
  }

  /** All counters that are not 0, by name: `forward`, `drop:ttl-exceeded`, `reject:no-endpoints`. */
  export(): Record<string, number> {
    const all: Record<string, number> = {};
    VERDICTS.forEach((info, verdict) => {
      if (this.byVerdict[verdict] > 0) all[counterName(info.outcome, info.reason)] = this.byVerdict[verdict];
    });
    for (const [name, count] of this.byReason) all[name] = (all[name] ?? 0) + count;
    return all;
  }
}
