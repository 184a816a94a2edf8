/** Which port a MAC address is behind. */
import { getU16, getU32 } from "../wire/index.js";
import type { Port } from "./ports.js";

/** A learned address is forgotten after this long without a frame from it (IEEE 802.1Q §8.8.3). */
const AGEING_MS = 300_000;
const SLOTS = 2048;
/** What is not learned is flooded, so a full table costs bandwidth, never reachability. */
const MAX_ENTRIES = SLOTS / 2;

/** Open-addressed table of MAC addresses, split in 16 + 32 bits. Addresses given to ports never age or move. */
export class MacTable {
  private readonly high = new Uint16Array(SLOTS);
  private readonly low = new Uint32Array(SLOTS);
  private readonly ports: (Port | undefined)[] = new Array<Port | undefined>(SLOTS).fill(undefined);
  /** When the address was last seen; Infinity for addresses given to ports. */
  private readonly seenMs = new Float64Array(SLOTS);
  private count = 0;

  /** Ties the address to a port for good. */
  assign(mac: Uint8Array, port: Port): void {
    this.put(mac, 0, port, Number.POSITIVE_INFINITY);
  }

  /** Notes that the address in `bytes` is behind the port. */
  learn(bytes: Uint8Array, offset: number, port: Port, nowMs: number): void {
    this.put(bytes, offset, port, nowMs);
  }

  /** The port behind which the address is; undefined when it is not known. */
  lookup(bytes: Uint8Array, offset: number, nowMs: number): Port | undefined {
    const slot = this.find(getU16(bytes, offset), getU32(bytes, offset + 2));
    return nowMs - this.seenMs[slot] < AGEING_MS ? this.ports[slot] : undefined;
  }

  /** Forgets every address behind the port. */
  removePort(port: Port): void {
    this.rebuild((slot) => this.ports[slot] !== port);
  }

  /** Forgets what has not been seen for long. */
  age(nowMs: number): void {
    if (this.seenMs.some((seen, slot) => this.ports[slot] !== undefined && nowMs - seen >= AGEING_MS)) {
      this.rebuild((slot) => nowMs - this.seenMs[slot] < AGEING_MS);
    }
  }

  private put(bytes: Uint8Array, offset: number, port: Port, seenMs: number): void {
    const high = getU16(bytes, offset);
    const low = getU32(bytes, offset + 2);
    const slot = this.find(high, low);
    if (this.ports[slot] === undefined) {
      if (this.count === MAX_ENTRIES) return;
      this.count++;
      this.high[slot] = high;
      this.low[slot] = low;
    } else if (this.seenMs[slot] > seenMs) return;
    this.ports[slot] = port;
    this.seenMs[slot] = seenMs;
  }

  /** The slot of the address, or the free one where it would go. */
  private find(high: number, low: number): number {
    let slot = (Math.imul(low ^ high, 0x9e3779b1) >>> 16) % SLOTS;
    while (this.ports[slot] !== undefined && (this.low[slot] !== low || this.high[slot] !== high)) {
      slot = (slot + 1) % SLOTS;
    }
    return slot;
  }

  private rebuild(keeps: (slot: number) => boolean): void {
    const kept = this.ports.flatMap((port, slot) =>
      port !== undefined && keeps(slot)
        ? [{ port, high: this.high[slot], low: this.low[slot], seen: this.seenMs[slot] }]
        : [],
    );
    this.ports.fill(undefined);
    this.count = kept.length;
    for (const { port, high, low, seen } of kept) {
      const slot = this.find(high, low);
      this.high[slot] = high;
      this.low[slot] = low;
      this.ports[slot] = port;
      this.seenMs[slot] = seen;
    }
  }
}
