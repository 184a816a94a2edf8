/** A token bucket over time that is passed in. */
export class TokenBucket {
  private tokens: number;
  private filledMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
  ) {
    this.tokens = burst;
  }

  /** Takes a token if there is one. */
  take(nowMs: number): boolean {
    if (nowMs > this.filledMs) {
      const gained = ((nowMs - this.filledMs) * this.perSecond) / 1000;
      this.tokens = Math.min(this.burst, this.tokens + gained);
      this.filledMs = nowMs;
    }
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
