/** Leases: a time to live, and the keys that go when it ends. Pure: time is an argument. */
import { ETCD_MESSAGE, GRPC_CODE, StoreRequestError } from "./errors.js";
import { type LeaseInfo, LeaseNotFoundError, type StoreEvent } from "./types.js";

/** etcd's bound (lease.MaxLeaseTTL). */
const MAX_TTL_SECONDS = 9_000_000_000;

interface Lease {
  readonly ttlSeconds: number;
  expiresAtMs: number;
  readonly keys: Set<string>;
}

export class LeaseTable {
  readonly #leases = new Map<string, Lease>();
  #chosen = 0;

  /** `idSpace` tells this store's leases from another's: ids that it chooses are idSpace × 2^32 + n. */
  constructor(private readonly idSpace: number) {}

  has = (id: string): boolean => this.#leases.has(id);

  ids(): string[] {
    return [...this.#leases.keys()];
  }

  /** Every lease as granted, for a snapshot. */
  all(): { id: string; ttlSeconds: number }[] {
    return [...this.#leases].map(([id, { ttlSeconds }]) => ({ id, ttlSeconds }));
  }

  /** @throws StoreRequestError when the id is taken or the TTL out of bounds; a TTL under a second becomes one. */
  grant(id: string, ttlSeconds: number, nowMs: number): LeaseInfo {
    if (ttlSeconds > MAX_TTL_SECONDS) {
      throw new StoreRequestError(GRPC_CODE.OUT_OF_RANGE, ETCD_MESSAGE.leaseTtlTooLarge);
    }
    if (this.has(id)) throw new StoreRequestError(GRPC_CODE.FAILED_PRECONDITION, ETCD_MESSAGE.leaseExists);
    const granted = id === "0" ? this.#choose() : id;
    const ttl = Math.max(1, ttlSeconds);
    this.#leases.set(granted, { ttlSeconds: ttl, expiresAtMs: nowMs + ttl * 1000, keys: new Set() });
    this.#keepChosenAbove(granted);
    return { id: granted, grantedTtlSeconds: ttl, ttlSeconds: ttl, keys: [] };
  }

  /** The new TTL in seconds. @throws LeaseNotFoundError */
  keepAlive(id: string, nowMs: number): number {
    const lease = this.#leases.get(id);
    // A lease that is due but not yet swept is gone: its keys must not come back to life.
    if (lease === undefined || lease.expiresAtMs <= nowMs) throw new LeaseNotFoundError(id);
    lease.expiresAtMs = nowMs + lease.ttlSeconds * 1000;
    return lease.ttlSeconds;
  }

  /** Takes the lease away; its keys, sorted. @throws LeaseNotFoundError */
  remove(id: string): string[] {
    const lease = this.#leases.get(id);
    if (lease === undefined) throw new LeaseNotFoundError(id);
    this.#leases.delete(id);
    return [...lease.keys].sort();
  }

  /** TTL -1 when there is no such lease, as etcd answers. */
  info(id: string, nowMs: number): LeaseInfo {
    const lease = this.#leases.get(id);
    if (lease === undefined) return { id, grantedTtlSeconds: 0, ttlSeconds: -1, keys: [] };
    const ttlSeconds = Math.max(0, Math.floor((lease.expiresAtMs - nowMs) / 1000));
    return { id, grantedTtlSeconds: lease.ttlSeconds, ttlSeconds, keys: [...lease.keys].sort() };
  }

  /** Moves keys between leases as the events say. */
  attach(events: readonly StoreEvent[]): void {
    for (const { kv, prevKv } of events) {
      if (prevKv !== undefined) this.#leases.get(prevKv.lease)?.keys.delete(kv.key);
      this.#leases.get(kv.lease)?.keys.add(kv.key);
    }
  }

  /** Ids whose time is over, oldest first. */
  due(nowMs: number): string[] {
    const due = [...this.#leases].filter(([, lease]) => lease.expiresAtMs <= nowMs);
    return due.sort(([, a], [, b]) => a.expiresAtMs - b.expiresAtMs).map(([id]) => id);
  }

  /** When the next lease ends; undefined without leases. */
  nextExpiryMs(): number | undefined {
    let next: number | undefined;
    for (const { expiresAtMs } of this.#leases.values()) {
      if (next === undefined || expiresAtMs < next) next = expiresAtMs;
    }
    return next;
  }

  #choose(): string {
    for (;;) {
      const id = ((BigInt(this.idSpace) << 32n) | BigInt(++this.#chosen)).toString();
      if (!this.has(id)) return id;
    }
  }

  /** After a restart, ids go on where the leases of the log ended. */
  #keepChosenAbove(id: string): void {
    const number = BigInt(id);
    if (number >> 32n === BigInt(this.idSpace))
      this.#chosen = Math.max(this.#chosen, Number(number & 0xffffffffn));
  }
}
