/** What a way of carrying packets between nodes has to decide; the I/O itself belongs to the node process. */
import type { NetworkConfig } from "./config.js";
import type { LeaseAttributes, LeaseEvent, Log, RouteSink, SubnetLease } from "./types.js";
import { UdpBackend } from "./udp.js";

export interface BackendOptions {
  readonly config: NetworkConfig;
  /** This node's underlay IPv4 address. */
  readonly publicIp: number;
  readonly underlayMtuBytes: number;
  readonly log: Log;
}

export interface Backend {
  /** Largest inner packet. */
  readonly mtuBytes: number;
  /** What this node's lease says about it. */
  readonly attributes: LeaseAttributes;
  /** Turns changes of leases into changes of routes. */
  handle(events: readonly LeaseEvent[], routes: RouteSink): void;
  /** Leases that packets are carried to. */
  peers(): readonly SubnetLease[];
}

/**
 * The backend that the configuration names.
 * @throws Error when it is not one of ours, or the underlay's MTU is too small for it
 */
export function createBackend(options: BackendOptions): Backend {
  const { backendType } = options.config;
  if (backendType === "udp") return new UdpBackend(options);
  throw new Error(
    `Backend.Type "${backendType}" of the network configuration is not supported; set it to "udp"`,
  );
}
