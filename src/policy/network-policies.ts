import type { Namespace, Pod as PodObject } from "kubernetes-types/core/v1.d.ts";
import type { NetworkPolicy } from "kubernetes-types/networking/v1.d.ts";
import type { PolicyDecision, PolicyQuery, PolicyResolver } from "../datapath/index.js";
import type { AddressOf6 } from "./ip-block.js";
import type { CompiledRule, Direction, Isolation } from "./isolation.js";
import { permits } from "./isolation.js";
import { PeerSets } from "./peer-sets.js";
import { type Pod, type PodFacts, PodIndex, readPod, sameFacts, uidOf } from "./pods.js";
import { type Policy, type Rule, readPolicy } from "./policy.js";
import { asRecord, asString, type InvalidHandler, keyOf } from "./read.js";
import { selects } from "./selector.js";
import type { PolicyStatus } from "./status.js";

export interface NetworkPoliciesOptions {
  /** The node whose pods are to be isolated. */
  readonly nodeName: string;
  /** Of a node with IPv6. */
  readonly addressOf6?: AddressOf6;
  readonly onInvalid?: InvalidHandler;
}

interface CompiledPolicy extends Pick<Policy, "key" | "namespace" | "podSelector"> {
  /** The spec it was made of, to see whether a later one says anything else. */
  readonly source: string;
  /** Undefined where the policy does not isolate. */
  readonly rules: Readonly<Record<Direction, readonly CompiledRule[] | undefined>>;
}

/**
 * The policies of one node. Changes take effect at once; before {@link onSynced} no pod is isolated, so that no
 * connection is cut for want of a pod or namespace that is still to come.
 */
export class NetworkPolicies implements PolicyResolver {
  active = false;
  generation = 1;
  readonly #options: NetworkPoliciesOptions;
  readonly #pods: PodIndex;
  readonly #peers: PeerSets;
  readonly #policies = new Map<string, CompiledPolicy>();
  /** Addresses of pods of this node that the API may not know yet, by uid. */
  readonly #assigned = new Map<string, Pick<PodFacts, "ip" | "ip6">>();
  #synced = false;
  /** Pods of the node with an isolation. */
  #isolated = 0;

  constructor(options: NetworkPoliciesOptions) {
    this.#options = options;
    this.#pods = new PodIndex(options.addressOf6);
    this.#peers = new PeerSets(this.#pods);
  }

  /** All policies, and if there are any all pods and namespaces, that existed at the start have been handed over. */
  onSynced(): void {
    this.#synced = true;
    this.#changed();
  }

  onPolicyUpsert(object: NetworkPolicy): void {
    const source = JSON.stringify(object.spec);
    const before = this.#policies.get(keyOf(object.metadata) ?? "");
    if (before?.source === source) return;
    const policy = readPolicy(object, this.#options.onInvalid ?? (() => undefined), this.#options.addressOf6);
    if (policy === undefined) return;
    const { key, namespace, podSelector, ingress, egress } = policy;
    const rules = { ingress: ingress?.map(this.#compile), egress: egress?.map(this.#compile) };
    this.#policies.set(key, { key, namespace, podSelector, source, rules });
    if (before !== undefined) this.#release(before);
    this.#isolate(namespace);
  }

  onPolicyDelete({ metadata }: NetworkPolicy): void {
    const policy = this.#policies.get(keyOf(metadata) ?? "");
    if (policy === undefined) return;
    this.#policies.delete(policy.key);
    this.#release(policy);
    this.#isolate(policy.namespace);
  }

  /** Pods may come from any number of informers. */
  onPodUpsert(object: PodObject): void {
    const facts = readPod(object, this.#options.nodeName);
    if (facts === undefined) this.onPodDelete(object);
    else this.#put({ ...facts, ...this.#assigned.get(facts.uid) });
  }

  onPodDelete(object: PodObject): void {
    const pod = this.#pods.get(uidOf(object));
    if (pod === undefined) return;
    this.#pods.remove(pod);
    if (pod.ingress !== undefined || pod.egress !== undefined) this.#isolated--;
    if (this.#peers.remove(pod) || pod.isLocal || pod.ports.length > 0) this.#changed();
  }

  onNamespaceUpsert({ metadata }: Namespace): void {
    const { name, labels } = asRecord(metadata);
    if (this.#peers.setNamespace(asString(name), asRecord(labels))) this.#changed();
  }

  onNamespaceDelete({ metadata }: Namespace): void {
    if (this.#peers.setNamespace(asString(asRecord(metadata).name), undefined)) this.#changed();
  }

  /** A pod of this node is given its addresses, before it can send and before the API knows; `ip` 0 takes them away. */
  assign(uid: string, ip: number, ip6?: bigint): void {
    const addresses = { ip: ip | 0, ip6 };
    if (ip === 0) this.#assigned.delete(uid);
    else this.#assigned.set(uid, addresses);
    const pod = this.#pods.get(uid);
    if (pod !== undefined) this.#put({ ...pod, ...addresses });
  }

  /** Forgets namespaces and the pods of other nodes, which nobody follows while there are no policies. */
  forgetPeers(): void {
    this.#synced = false;
    for (const pod of [...this.#pods.all()]) {
      if (pod.isLocal) continue;
      this.#pods.remove(pod);
      this.#peers.remove(pod);
    }
    for (const name of [...this.#peers.namespaces()]) this.#peers.setNamespace(name, undefined);
    this.#changed();
  }

  allows(query: PolicyQuery, out: PolicyDecision): boolean {
    // A pod cannot be cut off from itself, which it reaches through a Service.
    if (query.src === query.dst) return true;
    const client = this.#pods.at(query.src);
    const server = this.#pods.at(query.dst);
    if (client?.egress !== undefined && !permits(client.egress, query, server, query.dst, server)) {
      out.isolation = client.egress.label;
      return false;
    }
    if (server?.ingress !== undefined && !permits(server.ingress, query, client, query.src, server)) {
      out.isolation = server.ingress.label;
      return false;
    }
    return true;
  }

  status(): PolicyStatus {
    const isolated = [...this.#pods.all()]
      .filter(({ ingress, egress }) => ingress !== undefined || egress !== undefined)
      .map(({ key, ingress, egress }) => ({
        pod: key,
        ingress: ingress?.policies ?? [],
        egress: egress?.policies ?? [],
      }))
      .sort((a, b) => (a.pod < b.pod ? -1 : 1));
    return {
      policies: this.#policies.size,
      pods: this.#pods.size,
      generation: this.generation,
      isolated,
    };
  }

  #put(facts: PodFacts): void {
    const before = this.#pods.get(facts.uid);
    if (before !== undefined && sameFacts(before, facts)) return;
    if (before?.ingress !== undefined || before?.egress !== undefined) this.#isolated--;
    const pod = this.#pods.put(facts);
    const isPeer = this.#peers.place(pod);
    if (pod.isLocal) this.#isolatePod(pod, this.#policiesOf(pod.namespace));
    const hasNames = pod.ports.length > 0 || (before !== undefined && before.ports.length > 0);
    if (isPeer || pod.isLocal || before?.isLocal || hasNames) this.#changed();
  }

  /** Works out anew what holds for the node's pods of a namespace. */
  #isolate(namespace: string): void {
    const policies = this.#policiesOf(namespace);
    for (const pod of this.#pods.in(namespace)) {
      if (!pod.isLocal) continue;
      if (pod.ingress !== undefined || pod.egress !== undefined) this.#isolated--;
      this.#isolatePod(pod, policies);
    }
    this.#changed();
  }

  #isolatePod(pod: Pod, policies: readonly CompiledPolicy[]): void {
    const own = policies.filter(({ podSelector }) => podSelector && selects(podSelector, pod.labels));
    pod.ingress = isolation(own, "ingress");
    pod.egress = isolation(own, "egress");
    if (pod.ingress !== undefined || pod.egress !== undefined) this.#isolated++;
  }

  /** In order of name. */
  #policiesOf(namespace: string): readonly CompiledPolicy[] {
    return [...this.#policies.values()]
      .filter((policy) => policy.namespace === namespace)
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  readonly #compile = ({ peers, ports }: Rule): CompiledRule => ({
    anyPeer: peers === undefined,
    sets: (peers ?? []).flatMap((peer) => ("contains" in peer ? [] : [this.#peers.take(peer)])),
    blocks: (peers ?? []).flatMap((peer) => ("contains" in peer ? [peer] : [])),
    ports,
  });

  #release({ rules }: CompiledPolicy): void {
    for (const rule of [...(rules.ingress ?? []), ...(rules.egress ?? [])])
      for (const set of rule.sets) this.#peers.release(set);
  }

  /** Earlier answers may be out of date. */
  #changed(): void {
    this.generation = (this.generation + 1) | 0;
    this.active = this.#synced && this.#isolated > 0;
  }
}

/** What the policies together allow in one direction; undefined when none of them isolates. */
function isolation(policies: readonly CompiledPolicy[], direction: Direction): Isolation | undefined {
  const own = policies.filter(({ rules }) => rules[direction] !== undefined);
  if (own.length === 0) return undefined;
  const names = own.map(({ key }) => key);
  return {
    label: `${direction}:${names.join()}`,
    policies: names,
    rules: own.flatMap(({ rules }) => rules[direction] ?? []),
  };
}
