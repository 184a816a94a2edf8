/**
 * The multi-version key space: every key with its versions since the last compaction, and the events of every
 * revision. One revision for each write transaction; revision 1 is the empty store, as in etcd.
 */
import { ETCD_MESSAGE, GRPC_CODE, StoreRequestError } from "./errors.js";
import { inRange, type KeyRange, NO_END } from "./keys.js";
import { CompactedError, type KeyValue, type StoreEvent } from "./types.js";

const NO_BYTES = new Uint8Array(0);

/** What a write transaction may do; its reads see its own writes. */
export interface Writer {
  put(key: string, value: Uint8Array, lease: string): void;
  /** The values that were there, in key order. */
  delete(range: KeyRange): KeyValue[];
}

/** Everything that a store must keep to come back as it was: the versions in order of revision. */
export interface MvccState {
  readonly revision: number;
  readonly compactRevision: number;
  /** Versions alive at the compaction, then the events of each revision after it. */
  readonly base: readonly KeyValue[];
  readonly log: readonly (readonly StoreEvent[])[];
}

export class Mvcc {
  #revision = 1;
  #compactRevision = 0;
  /** All keys with a version, sorted. */
  #keys: string[] = [];
  readonly #versions = new Map<string, KeyValue[]>();
  /** Events by revision; the first entry is those of `#logStart`. */
  #log: StoreEvent[][] = [];
  #logStart = 2;

  get revision(): number {
    return this.#revision;
  }

  get compactRevision(): number {
    return this.#compactRevision;
  }

  /** The latest version of a key, if it is there. */
  get(key: string): KeyValue | undefined {
    return live(this.#versions.get(key)?.at(-1));
  }

  /** Versions in a range in key order, as of a revision (or now). Throws CompactedError, StoreRequestError (future). */
  range(range: KeyRange, revision = 0): KeyValue[] {
    this.checkRevision(revision);
    const at = revision > 0 ? revision : Number.POSITIVE_INFINITY;
    const found: KeyValue[] = [];
    for (const key of this.#keysIn(range)) {
      const kv = live(this.#versions.get(key)?.findLast((version) => version.modRevision <= at));
      if (kv !== undefined) found.push(kv);
    }
    return found;
  }

  /** Runs one write transaction and returns its events; none: nothing was written and the revision stays. */
  write(body: (writer: Writer) => void): readonly StoreEvent[] {
    const events: StoreEvent[] = [];
    const revision = this.#revision + 1;
    body({
      put: (key, value, lease) => events.push(this.#put(key, value, lease, revision)),
      delete: (range) => {
        const gone = this.range(range);
        for (const prevKv of gone) events.push(this.#bury(prevKv, revision));
        return gone;
      },
    });
    if (events.length > 0) {
      this.#revision = revision;
      this.#log.push(events);
    }
    return events;
  }

  /** Events of one revision; none for one that is not there yet. Throws CompactedError. */
  eventsAt(revision: number): readonly StoreEvent[] {
    if (revision < this.#compactRevision) throw new CompactedError(this.#compactRevision);
    return this.#log[revision - this.#logStart] ?? [];
  }

  /** Forgets what was overwritten or deleted at or before the revision. Throws CompactedError, StoreRequestError. */
  compact(revision: number): void {
    if (revision <= this.#compactRevision) throw new CompactedError(this.#compactRevision);
    if (revision > this.#revision) throw futureRevision();
    this.#compactRevision = revision;
    // The compacted revision itself may still be read and watched, so its events stay.
    const drop = revision - this.#logStart;
    if (drop > 0) {
      this.#log = this.#log.slice(drop);
      this.#logStart = revision;
    }
    this.#keys = this.#keys.filter((key) => this.#compactKey(key, revision));
  }

  state(): MvccState {
    const base =
      this.#compactRevision > 0 ? this.range({ key: "\0", end: NO_END }, this.#compactRevision) : [];
    const log: StoreEvent[][] = [];
    for (let at = Math.max(this.#compactRevision + 1, 2); at <= this.#revision; at++)
      log.push([...this.eventsAt(at)]);
    return { revision: this.#revision, compactRevision: this.#compactRevision, base, log };
  }

  /** Into an empty store: the versions alive at a compaction, before later revisions are written again. */
  restore(compactRevision: number, base: readonly KeyValue[]): void {
    for (const kv of base) this.#append(kv);
    this.#compactRevision = compactRevision;
    this.#revision = Math.max(compactRevision, 1);
    if (compactRevision < 2) return;
    const last = base.filter((kv) => kv.modRevision === compactRevision);
    this.#log = [last.map((kv) => ({ type: "put", kv }))];
    this.#logStart = compactRevision;
  }

  #put(key: string, value: Uint8Array, lease: string, modRevision: number): StoreEvent {
    const prevKv = this.get(key);
    const createRevision = prevKv?.createRevision ?? modRevision;
    const version = (prevKv?.version ?? 0) + 1;
    const kv: KeyValue = { key, value, createRevision, modRevision, version, lease };
    this.#append(kv);
    return prevKv === undefined ? { type: "put", kv } : { type: "put", kv, prevKv };
  }

  #bury(prevKv: KeyValue, modRevision: number): StoreEvent {
    const grave = {
      key: prevKv.key,
      value: NO_BYTES,
      createRevision: 0,
      modRevision,
      version: 0,
      lease: "0",
    };
    this.#append(grave);
    return { type: "delete", kv: grave, prevKv };
  }

  #append(kv: KeyValue): void {
    const versions = this.#versions.get(kv.key);
    if (versions !== undefined) {
      versions.push(kv);
      return;
    }
    this.#versions.set(kv.key, [kv]);
    this.#keys.splice(this.#lowerBound(kv.key), 0, kv.key);
  }

  /** Drops a key's old versions; false when nothing of it is left. */
  #compactKey(key: string, revision: number): boolean {
    const versions = this.#versions.get(key) ?? [];
    const last = versions.findLastIndex((version) => version.modRevision <= revision);
    if (last < 0) return true;
    const keepFrom = live(versions[last]) === undefined ? last + 1 : last;
    if (keepFrom < versions.length) {
      versions.splice(0, keepFrom);
      return true;
    }
    this.#versions.delete(key);
    return false;
  }

  /** Throws CompactedError, or StoreRequestError for a revision that is not there yet; 0 is now. */
  checkRevision(revision: number): void {
    if (revision > this.#revision) throw futureRevision();
    if (revision > 0 && revision < this.#compactRevision) throw new CompactedError(this.#compactRevision);
  }

  #keysIn(range: KeyRange): readonly string[] {
    if (range.end === undefined) return [range.key];
    const from = this.#lowerBound(range.key);
    let to = from;
    while (to < this.#keys.length && inRange(range, this.#keys[to])) to++;
    return this.#keys.slice(from, to);
  }

  /** Index of the first key that is not below the given one. */
  #lowerBound(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keys[middle] < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** A deleted key's last version is a grave: version 0. */
function live(kv: KeyValue | undefined): KeyValue | undefined {
  return kv === undefined || kv.version === 0 ? undefined : kv;
}

function futureRevision(): StoreRequestError {
  return new StoreRequestError(GRPC_CODE.OUT_OF_RANGE, ETCD_MESSAGE.futureRevision);
}
