/** A NetworkPolicy as it counts here. */
import type { NetworkPolicy } from "kubernetes-types/networking/v1.d.ts";
import { type AddressOf6, type IpBlock, readIpBlock } from "./ip-block.js";
import {
  asArray,
  asRecord,
  asString,
  type InvalidHandler,
  isPort,
  keyOf,
  PROTOCOL_NUMBERS,
  recordOf,
} from "./read.js";
import { readSelector, type Selector } from "./selector.js";

export interface Policy {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  /** The pods of the namespace that it is about; undefined: none. */
  readonly podSelector: Selector | undefined;
  /** What it allows; undefined when it does not isolate in that direction. */
  readonly ingress: readonly Rule[] | undefined;
  readonly egress: readonly Rule[] | undefined;
}

/** Allows what comes from (or goes to) some peer at some port. */
export interface Rule {
  /** Undefined: everybody. */
  readonly peers: readonly Peer[] | undefined;
  /** Undefined: every port of every protocol, and protocols without ports. */
  readonly ports: readonly PortMatch[] | undefined;
}

/** Either pods or addresses. */
export type Peer = PodPeer | IpBlock;

/** Pods by their labels, in one namespace or in those with certain labels. */
export interface PodPeer {
  readonly namespace: string | Selector;
  readonly pods: Selector;
}

/** Ports `from` to `to` of a protocol, or with a name: the port of that name of the destination pod. */
export interface PortMatch {
  readonly protocol: number;
  readonly from: number;
  readonly to: number;
  /** Empty: by number. */
  readonly name: string;
}

/**
 * Reads a policy; undefined when it has no name. What makes no sense in it is reported and allows nothing: the policy
 * still isolates.
 */
export function readPolicy(
  policy: NetworkPolicy,
  onInvalid: InvalidHandler,
  addressOf6?: AddressOf6,
): Policy | undefined {
  const key = keyOf(policy.metadata);
  if (key === undefined) {
    onInvalid("A NetworkPolicy without metadata.namespace or metadata.name was ignored.");
    return undefined;
  }
  const namespace = key.slice(0, key.indexOf("/"));
  const spec = asRecord(policy.spec);
  const types = asArray(spec.policyTypes);
  const egress = asArray(spec.egress);
  const invalid = (what: string) => onInvalid(`NetworkPolicy ${key}: ${what}`);
  const podSelector = readSelector(spec.podSelector);
  if (podSelector === undefined) invalid("spec.podSelector is no selector: it selects no pods.");
  // The API server fills policyTypes in; without it the rules say (networking/v1 NetworkPolicySpec.policyTypes).
  const hasIngress = types.length === 0 || types.includes("Ingress");
  const hasEgress = types.length === 0 ? egress.length > 0 : types.includes("Egress");
  const rules = (values: readonly unknown[], direction: string, peers: string) =>
    values.map((value, index) =>
      readRule(
        asRecord(value),
        peers,
        (peer) => readPeer(peer, namespace, addressOf6),
        (what) => invalid(`spec.${direction}[${index}].${what} and allows nothing.`),
      ),
    );
  return {
    key,
    namespace,
    podSelector,
    ingress: hasIngress ? rules(asArray(spec.ingress), "ingress", "from") : undefined,
    egress: hasEgress ? rules(egress, "egress", "to") : undefined,
  };
}

function readRule(
  rule: Readonly<Record<string, unknown>>,
  field: string,
  readPeer: (value: unknown) => Peer | undefined,
  invalid: InvalidHandler,
): Rule {
  const peers = asArray(rule[field]);
  const ports = asArray(rule.ports);
  const readAll = <T>(values: readonly unknown[], name: string, read: (value: unknown) => T | undefined) =>
    values.flatMap((value, index) => {
      const known = read(value);
      if (known === undefined) invalid(`${name}[${index}] makes no sense`);
      return known === undefined ? [] : [known];
    });
  return {
    peers: peers.length === 0 ? undefined : readAll(peers, field, readPeer),
    ports: ports.length === 0 ? undefined : readAll(ports, "ports", readPort),
  };
}

/** Both selectors together choose the pods of those namespaces; one alone leaves the other open. */
function readPeer(value: unknown, namespace: string, addressOf6?: AddressOf6): Peer | undefined {
  const { ipBlock, podSelector, namespaceSelector } = asRecord(value);
  const block = recordOf(ipBlock);
  if (block) return readIpBlock(asString(block.cidr), asArray(block.except).map(asString), addressOf6);
  if (!recordOf(podSelector) && !recordOf(namespaceSelector)) return undefined;
  const pods = readSelector(podSelector);
  const namespaces = recordOf(namespaceSelector) ? readSelector(namespaceSelector) : namespace;
  return pods === undefined || namespaces === undefined ? undefined : { namespace: namespaces, pods };
}

function readPort(value: unknown): PortMatch | undefined {
  const { protocol: protocolName = "TCP", port, endPort = port } = asRecord(value);
  const protocol = PROTOCOL_NUMBERS.get(protocolName);
  if (protocol === undefined) return undefined;
  if (port === undefined || port === null) return { protocol, from: 0, to: 0xffff, name: "" };
  if (typeof port === "string") return { protocol, from: 0, to: 0, name: port };
  return isPort(port) && isPort(endPort) ? { protocol, from: port, to: endPort, name: "" } : undefined;
}
