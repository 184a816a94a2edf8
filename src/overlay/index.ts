/**
 * The overlay: what flannel does on a node.
 *
 * Theory of operation. A network is described by one key of the store. Every node takes one subnet of it by writing a
 * key that did not exist, attached to an etcd lease; so two nodes cannot hold the same subnet, and the subnet of a node
 * that has gone is free again when the lease ends. Every node follows those keys, reduces snapshots and events to
 * peers that came and went, and its backend turns them into routes: packets for that subnet go to that underlay
 * address. The store is only needed for changes; while it is away, routes stay as they are.
 *
 * Keys, values and the udp backend's packets are flannel's, so a real flanneld can be a peer. In a dual-stack network
 * (`EnableIPv6`) a node takes a subnet of each family with one key. This folder decides and
 * does no packet I/O, except for the probes that measure the underlay path to each peer. Time, chance, the log and the
 * route table are arguments: the whole of it runs under virtual time.
 */
export { NetworkFullError, type OwnLease } from "./acquire.js";
export {
  configKey,
  DEFAULT_PREFIX,
  type NetworkConfig,
  NetworkConfigError,
  parseNetworkConfig,
  readNetworkConfig,
  UDP_BACKEND_PORT,
} from "./config.js";
export type { NetworkConfig6 } from "./config6.js";
export { FakeEcho, type FakePath } from "./fake-echo.js";
export {
  DEFAULT_LEASE_TTL_SECONDS,
  DEFAULT_RENEW_MARGIN_SECONDS,
  Overlay,
  type OverlayNetwork,
  type OverlayOptions,
  type OverlayStatus,
  type PeerStatus,
} from "./overlay.js";
export type { EchoOutcome, EchoSocket } from "./path-mtu.js";
export { DEFAULT_PROBE_INTERVAL_MS, type ProbeResult } from "./probe.js";
export { openRawEcho } from "./raw-echo.js";
export { parseSubnetEnv, readSubnetEnv, type SubnetEnv } from "./subnet-env.js";
export type { Log, LogLevel, RouteSink } from "./types.js";
export { UDP_OVERHEAD_BYTES } from "./udp.js";
export { StoppedError } from "./wait.js";
