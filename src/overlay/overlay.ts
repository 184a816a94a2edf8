/** One node's part in the network: takes a subnet, keeps it, follows the peers and probes the paths to them. */
import type { Clock, Store } from "../store/index.js";
import {
  formatIpv4,
  formatIpv6Prefix,
  formatPrefix,
  type Ipv6Prefix,
  type Prefix,
  parseIpv4,
} from "../wire/index.js";
import { acquireLease } from "./acquire.js";
import { type Backend, createBackend } from "./backend.js";
import { DEFAULT_PREFIX, type NetworkConfig, readNetworkConfig } from "./config.js";
import { LeaseTable } from "./lease-table.js";
import type { EchoSocket } from "./path-mtu.js";
import { DEFAULT_PROBE_INTERVAL_MS, PathMonitor, type ProbeResult } from "./probe.js";
import { openRawEcho } from "./raw-echo.js";
import { NO_LEASE, SubnetRegistry } from "./registry.js";
import { LeaseKeeper } from "./renew.js";
import { formatSubnets } from "./subnet.js";
import { readSubnetEnv, writeSubnetEnv } from "./subnet-env.js";
import type { LeaseEvent, Log, RouteSink } from "./types.js";
import { StoppedError, Waiter } from "./wait.js";
import { watchLeases } from "./watch.js";

/** flannel's lease time, and how long before its end it renews. */
export const DEFAULT_LEASE_TTL_SECONDS = 24 * 3600;
export const DEFAULT_RENEW_MARGIN_SECONDS = 3600;

export interface OverlayOptions {
  readonly store: Store;
  /** Keys are under this; flannel's `/coreos.com/network` when missing. */
  readonly prefix?: string;
  /** This node's underlay IPv4 address, the PublicIP of its lease. */
  readonly publicIp: string;
  readonly underlayMtuBytes: number;
  /** Path of subnet.env; not read nor written when missing. */
  readonly subnetFile?: string;
  /** What subnet.env says about masquerading. */
  readonly ipMasq?: boolean;
  readonly leaseTtlSeconds?: number;
  /** Less than the TTL; an hour, or half of a TTL that is under two hours, when missing. */
  readonly renewMarginSeconds?: number;
  readonly probeIntervalMs?: number;
  /** Opens the socket for probes; raw-socket's when missing. */
  readonly openEcho?: () => Promise<EchoSocket>;
  /** `now` is in milliseconds since the Unix epoch: `status` shows it. */
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** Another node holds our subnet: the node has to start again with a new one. Called at most once. */
  readonly onLost: (reason: string) => void;
}

/** What a node has to know to set up its datapath. */
export interface OverlayNetwork {
  readonly config: NetworkConfig;
  /** This node's subnet. */
  readonly subnet: Prefix;
  /** The same in IPv6, when the network has it. */
  readonly subnet6?: Ipv6Prefix;
  readonly publicIp: number;
  /** Largest inner packet. */
  readonly mtuBytes: number;
  /** UDP port of the overlay socket. */
  readonly port: number;
}

/** For `podwire status`. */
export interface OverlayStatus {
  readonly state: "waiting" | "running" | "lost" | "stopped";
  readonly publicIp: string;
  readonly network?: string;
  readonly subnet?: string;
  /** In a dual-stack network. */
  readonly network6?: string;
  readonly subnet6?: string;
  readonly backendType?: string;
  readonly port?: number;
  readonly mtuBytes?: number;
  /** `expiresAt` in milliseconds since the Unix epoch; null for a reservation. */
  readonly lease?: { readonly id: string; readonly expiresAt: number | null };
  readonly lostReason?: string;
  readonly peers: readonly PeerStatus[];
}

export interface PeerStatus {
  readonly publicIp: string;
  readonly subnet: string;
  readonly subnet6?: string;
  /** Missing until the first probe is done. */
  readonly probe?: ProbeResult;
}

/** flannel's part of a node. `acquire` first, then `start` with the routes of the datapath that was built from it. */
export class Overlay {
  readonly #options: OverlayOptions;
  readonly #prefix: string;
  readonly #publicIp: number;
  readonly #ttlSeconds: number;
  readonly #renewMarginMs: number;
  readonly #wait: Waiter;
  readonly #abort = new AbortController();
  readonly #monitor: PathMonitor;
  #network: OverlayNetwork | undefined;
  #backend: Backend | undefined;
  #keeper: LeaseKeeper | undefined;
  #watching: Promise<void> = Promise.resolve();
  #lostReason: string | undefined;

  /** @throws Error when an option cannot be used */
  constructor(options: OverlayOptions) {
    const { clock, random, log, underlayMtuBytes } = options;
    this.#options = options;
    this.#prefix = options.prefix ?? DEFAULT_PREFIX;
    this.#publicIp =
      parseIpv4(options.publicIp) ?? fail(`underlay address ${options.publicIp} is not an IPv4 address`);
    this.#ttlSeconds = options.leaseTtlSeconds ?? DEFAULT_LEASE_TTL_SECONDS;
    this.#renewMarginMs = renewMarginMs(this.#ttlSeconds, options.renewMarginSeconds);
    this.#wait = new Waiter(clock, log);
    const intervalMs = options.probeIntervalMs ?? DEFAULT_PROBE_INTERVAL_MS;
    const open = options.openEcho ?? openRawEcho;
    this.#monitor = new PathMonitor({ open, underlayMtuBytes, intervalMs, clock, random, log });
  }

  /**
   * Waits for the network configuration, takes a subnet and keeps it from then on; waits while the store is away.
   * @throws NetworkConfigError, NetworkFullError, StoppedError
   */
  async acquire(): Promise<OverlayNetwork> {
    const { store, clock, random, log, underlayMtuBytes, subnetFile } = this.#options;
    const config = await readNetworkConfig(store, this.#prefix, this.#wait, log);
    const publicIp = this.#publicIp;
    const backend = createBackend({ config, publicIp, underlayMtuBytes, log });
    const registry = new SubnetRegistry(store, this.#prefix, log);
    const { attributes, mtuBytes } = backend;
    const previous = subnetFile === undefined ? undefined : await readSubnetEnv(subnetFile);
    const timing = { ttlSeconds: this.#ttlSeconds, clock, log };
    const acquireOptions = { attributes, random, ...timing, ...(previous && { previous }) };
    const lease = await this.#wait.untilAvailable("take a subnet", () =>
      acquireLease(registry, config, acquireOptions),
    );
    if (this.#wait.stopped) throw new StoppedError();
    const { subnet, subnet6 } = lease;
    const subnets = formatSubnets(lease);
    log("info", `this node's subnet is ${subnets} of ${formatPrefix(config.network)}, MTU ${mtuBytes}`);
    const renewing = { renewMarginMs: this.#renewMarginMs, onLost: (reason: string) => this.#lose(reason) };
    this.#keeper = new LeaseKeeper(lease, { registry, attributes, ...timing, ...renewing });
    this.#backend = backend;
    this.#network = { config, subnet, ...(subnet6 && { subnet6 }), publicIp, mtuBytes, port: config.port };
    if (subnetFile !== undefined) {
      const { network, ipv6 } = config;
      const second = ipv6 && subnet6 && { network6: ipv6.network, subnet6 };
      const ipMasq = this.#options.ipMasq ?? false;
      await writeSubnetEnv(subnetFile, { network, subnet, ...second, mtuBytes, ipMasq });
    }
    return this.#network;
  }

  /**
   * Follows the peers from now on: their subnets become routes, the paths to them are probed. Resolves when those of the
   * first list have become routes; never, when stopped before.
   */
  start(routes: RouteSink): Promise<void> {
    const { store, log } = this.#options;
    const network = this.#network ?? fail("Overlay.start needs a subnet; call acquire first");
    const { config } = network;
    const prefix = this.#prefix;
    const table = new LeaseTable({
      prefix,
      network: config.network,
      ...(config.ipv6 && { network6: config.ipv6.network }),
      own: network,
      ownPublicIp: this.#publicIp,
      log,
    });
    return new Promise((onListed) => {
      this.#watching = watchLeases({
        store,
        prefix,
        own: network,
        table,
        wait: this.#wait,
        signal: this.#abort.signal,
        log,
        onEvents: (events) => this.#handle(events, routes),
        onListed,
        onOwn: (revision, content) => this.#keeper?.observe(revision, content),
      }).catch((error: unknown) => {
        if (error instanceof StoppedError) return;
        log(
          "error",
          `the leases are no longer followed: ${error instanceof Error ? error.message : String(error)}`,
        );
      });
    });
  }

  /** Ends all activity. The lease stays in the store, so that the next run finds its subnet again. */
  async stop(): Promise<void> {
    this.#abort.abort();
    this.#wait.stop();
    this.#keeper?.stop();
    await this.#monitor.stop();
    await this.#watching;
  }

  status(): OverlayStatus {
    const base = { state: this.#state, publicIp: formatIpv4(this.#publicIp), peers: this.#peers() };
    if (this.#network === undefined || this.#keeper === undefined) return base;
    const { config, subnet, subnet6, mtuBytes, port } = this.#network;
    const { leaseId, expiresAtMs } = this.#keeper.lease;
    return {
      ...base,
      network: formatPrefix(config.network),
      subnet: formatPrefix(subnet),
      ...(config.ipv6 && { network6: formatIpv6Prefix(config.ipv6.network) }),
      ...(subnet6 && { subnet6: formatIpv6Prefix(subnet6) }),
      backendType: config.backendType,
      port,
      mtuBytes,
      lease: { id: leaseId, expiresAt: leaseId === NO_LEASE ? null : expiresAtMs },
      ...(this.#lostReason === undefined ? {} : { lostReason: this.#lostReason }),
    };
  }

  get #state(): OverlayStatus["state"] {
    if (this.#wait.stopped) return "stopped";
    if (this.#lostReason !== undefined) return "lost";
    return this.#network === undefined ? "waiting" : "running";
  }

  #peers(): PeerStatus[] {
    return (this.#backend?.peers() ?? []).map(({ publicIp, subnet, subnet6 }) => {
      const probe = this.#monitor.result(publicIp);
      return {
        publicIp: formatIpv4(publicIp),
        subnet: formatPrefix(subnet),
        ...(subnet6 && { subnet6: formatIpv6Prefix(subnet6) }),
        ...(probe && { probe }),
      };
    });
  }

  #handle(events: readonly LeaseEvent[], routes: RouteSink): void {
    const backend = this.#backend;
    if (backend === undefined) return;
    backend.handle(events, routes);
    this.#monitor.setPeers(backend.peers().map((lease) => lease.publicIp));
  }

  #lose(reason: string): void {
    this.#lostReason = reason;
    this.#options.log("error", reason);
    this.#options.onLost(reason);
  }
}

/** @throws Error when the times cannot be used */
function renewMarginMs(ttlSeconds: number, marginSeconds?: number): number {
  if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1) {
    fail(`lease TTL ${ttlSeconds} cannot be used; give a whole number of seconds, at least 1`);
  }
  const margin = marginSeconds ?? Math.min(DEFAULT_RENEW_MARGIN_SECONDS, ttlSeconds / 2);
  if (!(margin > 0 && margin < ttlSeconds)) {
    fail(
      `lease renewal ${margin} s before the end cannot be used; give less than the TTL of ${ttlSeconds} s`,
    );
  }
  return margin * 1000;
}

function fail(message: string): never {
  throw new Error(message);
}
