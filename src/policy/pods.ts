/** The pods of the cluster as far as policies need them, by uid, by address and by namespace. */
import type { Pod as PodObject } from "kubernetes-types/core/v1.d.ts";
import { isIpv6Handle } from "../datapath/index.js";
import { parseIpv4, parseIpv6 } from "../wire/index.js";
import type { AddressOf6 } from "./ip-block.js";
import type { Isolation } from "./isolation.js";
import { asArray, asRecord, asString, isPort, keyOf, type Labels, PROTOCOL_NUMBERS } from "./read.js";

/** A container port with a name. */
export interface NamedPort {
  readonly name: string;
  readonly protocol: number;
  readonly port: number;
}

/** What an API object says of a pod. */
export interface PodFacts {
  /** What tells it from an earlier pod of the same name. */
  readonly uid: string;
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly labels: Labels;
  /** As a signed number; 0 while it has none. */
  readonly ip: number;
  /** Its IPv6 address; missing while it has none. */
  readonly ip6: bigint | undefined;
  readonly isLocal: boolean;
  readonly ports: readonly NamedPort[];
}

/** A pod that is known. */
export interface Pod extends PodFacts {
  /** A small number that no other pod has at the same time. */
  readonly id: number;
  /** What holds for it in either direction; always undefined for pods of other nodes. */
  ingress: Isolation | undefined;
  egress: Isolation | undefined;
}

/**
 * Reads a pod. Undefined for one that policies do not know: without a name, finished (its address may be another's by
 * now), or on the node's own network, where it cannot be told from the node.
 */
export function readPod(object: PodObject, nodeName: string): PodFacts | undefined {
  const key = keyOf(object.metadata);
  const spec = asRecord(object.spec);
  const status = asRecord(object.status);
  if (key === undefined || spec.hostNetwork === true) return undefined;
  if (status.phase === "Succeeded" || status.phase === "Failed") return undefined;
  return {
    uid: uidOf(object),
    key,
    namespace: key.slice(0, key.indexOf("/")),
    labels: asRecord(asRecord(object.metadata).labels),
    ip: (parseIpv4(asString(status.podIP)) ?? 0) | 0,
    ip6: asArray(status.podIPs)
      .map((entry) => parseIpv6(asString(asRecord(entry).ip)))
      .find((address) => address !== undefined),
    isLocal: spec.nodeName === nodeName,
    ports: [...asArray(spec.initContainers), ...asArray(spec.containers)].flatMap(namedPorts),
  };
}

/** A pod without a uid, as in tests, is known by its name. */
export function uidOf({ metadata }: PodObject): string {
  return asString(asRecord(metadata).uid) || (keyOf(metadata) ?? "");
}

function namedPorts(container: unknown): NamedPort[] {
  return asArray(asRecord(container).ports).flatMap((value) => {
    const { name, protocol: protocolName = "TCP", containerPort: port } = asRecord(value);
    const protocol = PROTOCOL_NUMBERS.get(protocolName);
    if (typeof name !== "string" || protocol === undefined || !isPort(port)) return [];
    return [{ name, protocol, port }];
  });
}

export function sameFacts(a: PodFacts, b: PodFacts): boolean {
  return (
    a.ip === b.ip &&
    a.ip6 === b.ip6 &&
    a.isLocal === b.isLocal &&
    JSON.stringify([a.labels, a.ports]) === JSON.stringify([b.labels, b.ports])
  );
}

export class PodIndex {
  readonly #byUid = new Map<string, Pod>();
  /** Keys are signed: a Map finds 32-bit integers without boxing them. */
  readonly #byIp = new Map<number, Pod>();
  readonly #byIp6 = new Map<bigint, Pod>();
  readonly #byNamespace = new Map<string, Set<Pod>>();
  readonly #freeIds: number[] = [];
  #nextId = 0;

  get size(): number {
    return this.#byUid.size;
  }

  get(uid: string): Pod | undefined {
    return this.#byUid.get(uid);
  }

  constructor(private readonly addressOf6?: AddressOf6) {}

  /** The pod with this address, or that of this handle. */
  at(ip: number): Pod | undefined {
    if (isIpv6Handle(ip)) return this.addressOf6 && this.#byIp6.get(this.addressOf6(ip));
    return this.#byIp.get(ip | 0);
  }

  in(namespace: string): Iterable<Pod> {
    return this.#byNamespace.get(namespace) ?? [];
  }

  all(): Iterable<Pod> {
    return this.#byUid.values();
  }

  /** Adds a pod, or replaces what is known of it. It has no isolation yet. */
  put(facts: PodFacts): Pod {
    const before = this.#byUid.get(facts.uid);
    const id = before?.id ?? this.#freeIds.pop() ?? this.#nextId++;
    if (before !== undefined) this.#unlink(before);
    const pod: Pod = { ...facts, id, ingress: undefined, egress: undefined };
    this.#byUid.set(pod.uid, pod);
    // An address that changes hands belongs to whom it was given last.
    if (pod.ip !== 0) this.#byIp.set(pod.ip, pod);
    if (pod.ip6 !== undefined) this.#byIp6.set(pod.ip6, pod);
    const namespace = this.#byNamespace.get(pod.namespace) ?? new Set();
    this.#byNamespace.set(pod.namespace, namespace.add(pod));
    return pod;
  }

  remove(pod: Pod): void {
    this.#unlink(pod);
    this.#byUid.delete(pod.uid);
    this.#freeIds.push(pod.id);
  }

  #unlink(pod: Pod): void {
    if (this.#byIp.get(pod.ip) === pod) this.#byIp.delete(pod.ip);
    if (pod.ip6 !== undefined && this.#byIp6.get(pod.ip6) === pod) this.#byIp6.delete(pod.ip6);
    const namespace = this.#byNamespace.get(pod.namespace);
    namespace?.delete(pod);
    if (namespace?.size === 0) this.#byNamespace.delete(pod.namespace);
  }
}
