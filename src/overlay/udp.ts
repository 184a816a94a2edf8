/**
 * flannel's udp backend: the inner IPv4 packet is the payload of a UDP datagram from and to the configured port
 * (flannel pkg/backend/udp). Nothing is added to the packet, so the lease says all there is to know about a peer.
 *
 * flannel's udp backend knows IPv4 only. In a dual-stack network inner IPv6 packets go in the same datagrams, told apart
 * by their version; a peer gets them only if its lease has an IPv6 subnet.
 */

import { formatIpv4, IPV6_MIN_MTU } from "../wire/index.js";
import type { Backend, BackendOptions } from "./backend.js";
import { formatSubnets } from "./subnet.js";
import type { LeaseAttributes, LeaseEvent, RouteSink, SubnetLease } from "./types.js";

/** Outer IPv4 header without options (RFC 791 §3.1) and UDP header (RFC 768). */
export const UDP_OVERHEAD_BYTES = 20 + 8;
/** Every IPv4 host takes datagrams of this size (RFC 791 §3.1). */
const MIN_UNDERLAY_MTU_BYTES = 576;

export class UdpBackend implements Backend {
  readonly mtuBytes: number;
  readonly attributes: LeaseAttributes;
  readonly #routed = new Map<string, SubnetLease>();

  constructor(private readonly options: BackendOptions) {
    const { underlayMtuBytes, publicIp, config } = options;
    const least = config.ipv6 === undefined ? MIN_UNDERLAY_MTU_BYTES : IPV6_MIN_MTU + UDP_OVERHEAD_BYTES;
    if (!Number.isInteger(underlayMtuBytes) || underlayMtuBytes < least)
      throw new Error(`underlay MTU ${underlayMtuBytes} is too small; use ${least} bytes or more`);
    this.mtuBytes = underlayMtuBytes - UDP_OVERHEAD_BYTES;
    this.attributes = { publicIp, backendType: "udp" };
  }

  handle(events: readonly LeaseEvent[], routes: RouteSink): void {
    for (const { type, lease } of events) {
      if (type === "added" && this.#speaksUdp(lease)) this.#add(lease, routes);
      else this.#remove(lease, routes);
    }
  }

  peers(): readonly SubnetLease[] {
    return [...this.#routed.values()];
  }

  /** flannel's own udp backend leaves BackendType out of its lease. */
  #speaksUdp(lease: SubnetLease): boolean {
    const { backendType, publicIp } = lease;
    if (backendType === "udp" || backendType === "") return true;
    const peer = `${formatIpv4(publicIp)} with subnet ${formatSubnets(lease)}`;
    this.options.log("warn", `ignored node ${peer}: its backend is ${backendType}, ours is udp`);
    return false;
  }

  #add(lease: SubnetLease, routes: RouteSink): void {
    const name = formatSubnets(lease);
    this.#routed.set(name, lease);
    routes.put(lease.subnet, lease.publicIp);
    if (lease.subnet6 && this.options.config.ipv6) routes.put6(lease.subnet6, lease.publicIp);
    this.options.log("info", `subnet ${name} is reached through ${formatIpv4(lease.publicIp)}`);
  }

  #remove(lease: SubnetLease, routes: RouteSink): void {
    const name = formatSubnets(lease);
    if (!this.#routed.delete(name)) return;
    routes.delete(lease.subnet);
    if (lease.subnet6 && this.options.config.ipv6) routes.delete6(lease.subnet6);
    this.options.log("info", `subnet ${name} is no longer reached`);
  }
}
