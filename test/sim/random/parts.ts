/** What a random cluster is made of, and how its dice are read. */
import type { NodeConfig, NodeNetworks } from "../node-config.js";
import type { Station } from "../station.js";
import type { Hand } from "./actions.js";
import { CLIENT_PORTS } from "./rules.js";

export const NODES = 3;
export const FIRST_PODS = 6;
export const MAX_PODS = 10;
export const TARGET_PORT = 8080;
export const SPRAYED = 40;
export const MUCH_BYTES = 6000;
/** Below the ports of connections, above those that are served. */
export const UDP_PORTS = CLIENT_PORTS + 10_000;
/** As short as to see every entry go at the end; the order among them is Linux'. */
export const TIMEOUTS = { tcpEstablished: 900, tcpUnacknowledged: 300 } as const;
export const DRAINED_MS = 1_100_000;

/** Which addresses clients ask; nodes and pods have both, unless it is IPv4 alone. */
export type Families = "IPv4" | "IPv6" | "both";

export interface WorldOptions {
  /** IPv4 when missing. */
  readonly families?: Families;
  /** As large as to remember all when missing. */
  readonly conntrackMax?: number;
}

export const SERVICES = [
  { name: "a", ip: "10.254.0.1", port: 80, nodePort: 30080, protocol: "TCP" },
  { name: "b", ip: "10.254.0.2", port: 80, nodePort: 30081, protocol: "TCP" },
  { name: "c", ip: "10.254.0.3", port: 53, nodePort: 30053, protocol: "UDP" },
  { name: "d", ip: "10.254.0.4", port: 53, nodePort: 30054, protocol: "UDP" },
] as const;
export const BLOCK = { cidr: "172.16.0.0/16", except: ["172.16.2.0/24"] };
export const BLOCK6 = { cidr: "fd00:10:244::/56", except: ["fd00:10:244:2::/64"] };
export const POLICIES = ["default/first", "default/second"] as const;
export type ServiceName = (typeof SERVICES)[number];

export function networks(config: NodeConfig, is6: boolean): NodeNetworks {
  return is6 ? config.ipv6! : config;
}

export function addressOf({ ip, ip6 }: Station, is6: boolean): string {
  return is6 ? ip6 : ip;
}

export function team(hand: Hand): Record<string, string> {
  return { team: hand.pick(["red", "blue"]) };
}

/** Most are ready; some terminate and serve, or do not. */
export function conditions(die: number): { ready: boolean; serving: boolean; terminating: boolean } {
  if (die < 0.8) return { ready: true, serving: true, terminating: false };
  if (die < 0.92) return { ready: false, serving: true, terminating: true };
  return { ready: false, serving: false, terminating: false };
}
