/** What a pod that policies select may do in one direction. */
import type { PolicyQuery } from "../datapath/index.js";
import type { IpBlock } from "./ip-block.js";
import type { PeerSet } from "./peer-sets.js";
import type { Pod } from "./pods.js";
import type { PortMatch } from "./policy.js";

export type Direction = "ingress" | "egress";

/** A rule whose peers are resolved. */
export interface CompiledRule {
  readonly anyPeer: boolean;
  readonly sets: readonly PeerSet[];
  readonly blocks: readonly IpBlock[];
  /** Undefined: every port of every protocol, and protocols without ports. */
  readonly ports: readonly PortMatch[] | undefined;
}

export interface Isolation {
  /** `ingress:namespace/name,namespace/name`: the policies that isolate. */
  readonly label: string;
  readonly policies: readonly string[];
  readonly rules: readonly CompiledRule[];
}

/**
 * Whether some rule allows a connection. `peer` is the pod at the other end, if it is one, `address` that end's address,
 * and `server` the pod that is connected to, whose port names count. Allocates nothing.
 */
export function permits(
  isolation: Isolation,
  query: PolicyQuery,
  peer: Pod | undefined,
  address: number,
  server: Pod | undefined,
): boolean {
  for (const rule of isolation.rules) {
    if (allowsPort(rule, query, server) && allowsPeer(rule, peer, address)) return true;
  }
  return false;
}

function allowsPeer({ anyPeer, sets, blocks }: CompiledRule, peer: Pod | undefined, address: number) {
  if (anyPeer) return true;
  if (peer !== undefined) for (const set of sets) if (set.has(peer.id)) return true;
  for (const block of blocks) if (block.contains(address)) return true;
  return false;
}

function allowsPort({ ports }: CompiledRule, { protocol, dport }: PolicyQuery, server: Pod | undefined) {
  if (ports === undefined) return true;
  for (const match of ports) {
    if (match.protocol !== protocol) continue;
    if (match.name === "" ? dport >= match.from && dport <= match.to : isNamed(match, dport, server))
      return true;
  }
  return false;
}

function isNamed({ name, protocol }: PortMatch, dport: number, server: Pod | undefined): boolean {
  if (server === undefined) return false;
  for (const port of server.ports)
    if (port.port === dport && port.protocol === protocol && port.name === name) return true;
  return false;
}
