/**
 * NetworkPolicy the slow, obvious way: from the objects as they are, with a loop for every sentence of the API's
 * description. The twin that the compiled rules and whole clusters are held against.
 */
import type { Namespace, Pod } from "kubernetes-types/core/v1.d.ts";
import type { LabelSelector } from "kubernetes-types/meta/v1.d.ts";
import type {
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
} from "kubernetes-types/networking/v1.d.ts";
import { addressBytes, isIpv6 } from "../sim/address.js";

/** A connection as it is judged: behind Service DNAT, before masquerading. */
export interface Connection {
  readonly protocol: "TCP" | "UDP" | "SCTP" | "ICMP";
  readonly src: string;
  readonly dst: string;
  /** Any number for ICMP. */
  readonly dport: number;
}

export class PolicyOracle {
  readonly policies = new Map<string, NetworkPolicy>();
  readonly pods = new Map<string, Pod>();
  readonly namespaces = new Map<string, Namespace>();

  /** Whether egress of the client's pod and ingress of the server's allow it. */
  allows(connection: Connection): boolean {
    return this.allowsEgress(connection) && this.allowsIngress(connection);
  }

  allowsEgress(connection: Connection): boolean {
    return connection.src === connection.dst || this.#allows("Egress", connection);
  }

  allowsIngress(connection: Connection): boolean {
    return connection.src === connection.dst || this.#allows("Ingress", connection);
  }

  podAt(address: string): Pod | undefined {
    return [...this.pods.values()].find(
      ({ spec, status }) =>
        (status?.podIP === address || status?.podIPs?.some(({ ip }) => ip === address)) &&
        !spec?.hostNetwork &&
        !/Succeeded|Failed/.test(status.phase ?? ""),
    );
  }

  #allows(direction: "Ingress" | "Egress", connection: Connection): boolean {
    const [own, other] = direction === "Ingress" ? ["dst", "src"] : ["src", "dst"];
    const pod = this.podAt(connection[own as "src"]);
    if (pod === undefined) return true;
    const selecting = [...this.policies.values()].filter(
      ({ metadata, spec }) =>
        metadata?.namespace === pod.metadata?.namespace &&
        matches(spec?.podSelector, pod.metadata?.labels) &&
        typesOf(spec).includes(direction),
    );
    if (selecting.length === 0) return true;
    return selecting.some(({ metadata, spec }) => {
      const rules =
        direction === "Ingress"
          ? (spec?.ingress ?? []).map(({ from, ports }) => ({ peers: from, ports }))
          : (spec?.egress ?? []).map(({ to, ports }) => ({ peers: to, ports }));
      return rules.some(({ peers = [], ports = [] }) => {
        const peerFits =
          peers.length === 0 ||
          peers.some((peer) => this.#isPeer(peer, connection[other as "src"], metadata?.namespace));
        return peerFits && (ports.length === 0 || ports.some((port) => this.#isPort(port, connection)));
      });
    });
  }

  #isPeer({ ipBlock, podSelector, namespaceSelector }: NetworkPolicyPeer, address: string, home?: string) {
    if (ipBlock)
      return (
        inCidr(address, ipBlock.cidr) && !(ipBlock.except ?? []).some((except) => inCidr(address, except))
      );
    const pod = this.podAt(address);
    if (pod === undefined) return false;
    const namespace = pod.metadata?.namespace ?? "";
    const namespaceFits = namespaceSelector
      ? this.namespaces.has(namespace) &&
        matches(namespaceSelector, this.namespaces.get(namespace)?.metadata?.labels)
      : namespace === home;
    return namespaceFits && (podSelector ? matches(podSelector, pod.metadata?.labels) : true);
  }

  #isPort({ protocol = "TCP", port, endPort }: NetworkPolicyPort, { dst, dport, ...connection }: Connection) {
    if (protocol !== connection.protocol) return false;
    if (port === undefined) return true;
    if (typeof port === "number") return dport >= port && dport <= (endPort ?? port);
    return (this.podAt(dst)?.spec?.containers ?? []).some(({ ports = [] }) =>
      ports.some(
        (named) =>
          named.name === port && (named.protocol ?? "TCP") === protocol && named.containerPort === dport,
      ),
    );
  }
}

function typesOf(spec: NetworkPolicy["spec"]): readonly string[] {
  if (spec?.policyTypes?.length) return spec.policyTypes;
  return spec?.egress?.length ? ["Ingress", "Egress"] : ["Ingress"];
}

function matches(selector: LabelSelector | undefined, labels: Record<string, string> = {}): boolean {
  const equal = Object.entries(selector?.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
  return (
    equal &&
    (selector?.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
      const has = key in labels;
      if (operator === "Exists") return has;
      if (operator === "DoesNotExist") return !has;
      return operator === "In"
        ? has && values.includes(labels[key]!)
        : !(has && values.includes(labels[key]!));
    })
  );
}

/** By bits as text. No address is in a block of the other family. */
function inCidr(address: string, cidr: string): boolean {
  const bits = (text: string) =>
    addressBytes(text)
      .map((octet) => octet.toString(2).padStart(8, "0"))
      .join("");
  const [prefix = "", length = "0"] = cidr.split("/");
  return isIpv6(cidr) === isIpv6(address) && bits(address).startsWith(bits(prefix).slice(0, Number(length)));
}
