/**
 * Keeping the subnet: renewal before the lease ends, taking the same subnet again when the lease was lost meanwhile,
 * and saying so when another node holds it by then (flannel's CompleteLease shuts down in that case).
 */
import { type Clock, LeaseNotFoundError } from "../store/index.js";
import { formatIpv4 } from "../wire/index.js";
import { createLease, grantLease, type OwnLease, takeOver } from "./acquire.js";
import { NO_LEASE, type SubnetRegistry } from "./registry.js";
import { formatSubnets } from "./subnet.js";
import type { LeaseAttributes, Log, SubnetLease } from "./types.js";

/** flannel tries a failed renewal again after a minute; short leases need it sooner. */
const MAX_RETRY_MS = 60_000;
const MIN_RETRY_MS = 200;

export interface LeaseKeeperOptions {
  readonly registry: SubnetRegistry;
  readonly attributes: LeaseAttributes;
  readonly ttlSeconds: number;
  /** How long before its end the lease is renewed. */
  readonly renewMarginMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Another node holds our subnet. Called at most once; nothing is renewed any more. */
  readonly onLost: (reason: string) => void;
}

/** Renews one lease until stopped or lost. */
export class LeaseKeeper {
  #lease: OwnLease;
  #ended = false;
  #cancelTimer: () => void = () => undefined;
  /** Store calls one after the other, so that a renewal and a watch event cannot cross. */
  #queue: Promise<void> = Promise.resolve();

  constructor(
    lease: OwnLease,
    private readonly options: LeaseKeeperOptions,
  ) {
    this.#lease = lease;
    this.#arm();
  }

  get lease(): OwnLease {
    return this.#lease;
  }

  /**
   * Tells what the watch saw of our own key: its new content, or undefined when it was deleted or expired.
   * Changes up to our own last write are old news.
   */
  observe(revision: number, content: SubnetLease | undefined): void {
    this.#enqueue(async () => {
      if (revision <= this.#lease.modRevision) return;
      if (content === undefined) await this.#retake("our lease is gone from the store");
      else this.#adopt(content);
    });
  }

  stop(): void {
    this.#ended = true;
    this.#cancelTimer();
  }

  #enqueue(task: () => Promise<void>): void {
    this.#queue = this.#queue.then(async () => {
      if (this.#ended) return;
      try {
        await task();
      } catch (error) {
        this.#retryLater(error);
      }
    });
  }

  #arm(): void {
    this.#cancelTimer();
    if (this.#ended || this.#lease.leaseId === NO_LEASE) return;
    const delayMs = this.#lease.expiresAtMs - this.options.renewMarginMs - this.options.clock.now();
    this.#startTimer(Math.max(delayMs, MIN_RETRY_MS));
  }

  #startTimer(delayMs: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.options.clock.schedule(delayMs, () => this.#enqueue(() => this.#renew()));
  }

  #retryLater(error: unknown): void {
    const delayMs = Math.max(MIN_RETRY_MS, Math.min(MAX_RETRY_MS, this.options.renewMarginMs / 5));
    const reason = error instanceof Error ? error.message : String(error);
    this.options.log(
      "warn",
      `cannot renew subnet ${this.#name}, trying again in ${Math.ceil(delayMs / 1000)} s: ${reason}`,
    );
    if (!this.#ended) this.#startTimer(delayMs);
  }

  async #renew(): Promise<void> {
    const { clock, registry, log } = this.options;
    const askedAtMs = clock.now();
    try {
      const ttlSeconds = await registry.store.leases.keepAlive(this.#lease.leaseId);
      this.#lease = { ...this.#lease, expiresAtMs: askedAtMs + ttlSeconds * 1000 };
      log("info", `renewed subnet ${this.#name} for ${ttlSeconds} s`);
      this.#arm();
    } catch (error) {
      if (!(error instanceof LeaseNotFoundError)) throw error;
      await this.#retake("our lease has expired");
    }
  }

  /** Takes the same subnet again, unless another node has it. */
  async #retake(why: string): Promise<void> {
    const { registry, attributes, log } = this.options;
    const state = await registry.get(this.#lease);
    if (state.type === "malformed") return this.#lose(`${why}, and ${state.problem}`);
    if (state.type === "held" && state.lease.publicIp !== attributes.publicIp)
      return this.#adopt(state.lease);
    log("warn", `${why}: taking subnet ${this.#name} again`);
    const grant = await grantLease(registry, this.options);
    const lease =
      state.type === "held"
        ? await takeOver(registry, state.lease, attributes, grant)
        : await createLease(registry, this.#lease, attributes, grant);
    if (lease?.leaseId !== grant.leaseId)
      await registry.store.leases.revoke(grant.leaseId).catch(() => undefined);
    if (lease === undefined) return this.#startTimer(MIN_RETRY_MS);
    this.#lease = lease;
    this.#arm();
  }

  /** Someone wrote our key: under our PublicIP it is still ours, with or without a lease (a reservation). */
  #adopt(content: SubnetLease): void {
    if (content.publicIp !== this.options.attributes.publicIp) {
      this.#lose(`node ${formatIpv4(content.publicIp)} holds it now`);
      return;
    }
    const { leaseId, modRevision } = content;
    const reserved = leaseId === NO_LEASE;
    // The end of a lease that is not ours is unknown: one renewal at once tells.
    const expiresAtMs = reserved ? Number.POSITIVE_INFINITY : this.options.clock.now();
    if (leaseId !== this.#lease.leaseId) this.#lease = { ...this.#lease, leaseId, expiresAtMs };
    this.#lease = { ...this.#lease, modRevision };
    this.#arm();
  }

  #lose(reason: string): void {
    this.stop();
    this.options.onLost(`subnet ${this.#name} is lost: ${reason}`);
  }

  get #name(): string {
    return formatSubnets(this.#lease);
  }
}
