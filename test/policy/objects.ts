import type { Namespace, Pod } from "kubernetes-types/core/v1.d.ts";
import type {
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicySpec,
} from "kubernetes-types/networking/v1.d.ts";
import type { PolicyDecision, PolicyQuery } from "../../src/datapath/index.js";
import { NetworkPolicies } from "../../src/policy/index.js";
import { parseIpv4 } from "../../src/wire/index.js";

export const NODE = "node-1";
export const PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17, SCTP: 132 } as const;

export function ip(text: string): number {
  const value = parseIpv4(text);
  if (value === undefined) throw new Error(`not an address: ${text}`);
  return value;
}

export interface PodWords {
  readonly labels?: Record<string, string>;
  readonly node?: string;
  readonly ports?: readonly [name: string, port: number, protocol?: string][];
  readonly hostNetwork?: boolean;
  readonly phase?: string;
}

/** `x/a` with its address. */
export function pod(key: string, podIP: string | undefined, words: PodWords = {}): Pod {
  const [namespace, name] = key.split("/");
  const ports = (words.ports ?? []).map(([portName, containerPort, protocol]) => ({
    name: portName,
    containerPort,
    protocol,
  }));
  return {
    metadata: { namespace, name, labels: words.labels ?? { pod: name! } },
    spec: {
      nodeName: words.node ?? NODE,
      hostNetwork: words.hostNetwork,
      containers: [{ name: "main", ports }],
    },
    status: { podIP, phase: words.phase ?? "Running" },
  };
}

export function namespace(name: string, labels: Record<string, string> = {}): Namespace {
  return { metadata: { name, labels: { "kubernetes.io/metadata.name": name, ...labels } } };
}

export function policy(key: string, spec: Partial<NetworkPolicySpec>): NetworkPolicy {
  const [ns, name] = key.split("/");
  return { metadata: { namespace: ns, name }, spec: { podSelector: {}, ...spec } };
}

/** Ingress to x/a from these peers at these ports. */
export function ingress(from?: NetworkPolicyPeer[], ports?: NetworkPolicyPort[]): NetworkPolicy {
  const rule = { ...(from && { from }), ...(ports && { ports }) };
  return policy("x/p", { podSelector: { matchLabels: { pod: "a" } }, ingress: [rule] });
}

/** The policies of one node in a cluster with pods a and b in x and y on this node, c of both on another. */
export class Fixture {
  readonly invalid: string[] = [];
  readonly policies = new NetworkPolicies({
    nodeName: NODE,
    onInvalid: (message) => this.invalid.push(message),
  });
  readonly #names = new Map<string, string>();
  readonly #decision: PolicyDecision = { isolation: "" };

  constructor() {
    for (const [n, ns] of ["x", "y"].entries()) {
      this.policies.onNamespaceUpsert(namespace(ns));
      for (const [i, name] of ["a", "b", "c"].entries())
        this.put(`${ns}/${name}`, `172.16.${i === 2 ? 2 : 1}.${10 * (n + 1) + i}`, {
          node: i === 2 ? "node-2" : NODE,
          ports: [
            ["web", 80],
            ["web", 5353, "UDP"],
          ],
        });
    }
    this.policies.onSynced();
  }

  put(key: string, address: string, words: PodWords = {}): void {
    this.#names.set(key, address);
    this.policies.onPodUpsert(pod(key, address, words));
  }

  /** The address of a pod, or the address itself. */
  address(of: string): string {
    return this.#names.get(of) ?? of;
  }

  /** `allowed`, or which policies isolate. `to` is `x/a:80`, `x/a:80/UDP` or `x/a` for ICMP. */
  ask(from: string, to: string): string {
    const [target = "", portText = "", protocol = "TCP"] = /^(.*?)(?::(\d+)(?:\/(\w+))?)?$/
      .exec(to)!
      .slice(1);
    const query: PolicyQuery = {
      protocol: portText === "" ? 1 : PROTOCOL[protocol as keyof typeof PROTOCOL],
      src: ip(this.address(from)),
      dst: ip(this.address(target)),
      dport: portText === "" ? 0x800 : Number(portText),
    };
    return this.policies.allows(query, this.#decision) ? "allowed" : this.#decision.isolation;
  }

  /** Who of all pods may connect, in order: `x/a x/b …`. */
  whoReaches(to: string): string {
    return [...this.#names.keys()].filter((from) => this.ask(from, to) === "allowed").join(" ");
  }
}
