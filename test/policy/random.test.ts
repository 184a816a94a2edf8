/** Random clusters that change at random: the compiled rules and the slow reading of the objects always agree. */
import type { Pod } from "kubernetes-types/core/v1.d.ts";
import type { LabelSelector } from "kubernetes-types/meta/v1.d.ts";
import type {
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
} from "kubernetes-types/networking/v1.d.ts";
import { describe, expect, it } from "vitest";
import { NetworkPolicies } from "../../src/policy/index.js";
import { seededRandom } from "../sim/clock.js";
import { ip, namespace, PROTOCOL, pod, policy } from "./objects.js";
import { type Connection, PolicyOracle } from "./oracle.js";

const NODES = ["node-1", "node-2"];
const NAMESPACES = ["x", "y", "z"];
const ADDRESSES = Array.from({ length: 12 }, (_, i) => `172.16.${1 + (i % 2)}.${2 + i}`);
const OUTSIDE = ["10.0.0.1", "203.0.113.9"];
const PORTS = [80, 81, 53];

class World {
  readonly oracle = new PolicyOracle();
  readonly nodes = NODES.map((nodeName) => new NetworkPolicies({ nodeName }));

  constructor(private readonly random: () => number) {
    for (const node of this.nodes) node.onSynced();
  }

  change(): void {
    const changes = [
      ...Array(4).fill(() => this.putPod()),
      () => this.dropPod(),
      ...Array(3).fill(() => this.putPolicy()),
      () => this.dropPolicy(),
      () => this.putNamespace(),
    ];
    this.pick(changes)();
  }

  /** A few questions; returns how many connections were denied. */
  compare(): number {
    let denied = 0;
    for (let i = 0; i < 20; i++) {
      const connection: Connection = {
        protocol: this.pick(["TCP", "UDP", "SCTP", "ICMP"] as const),
        src: this.pick([...ADDRESSES, ...OUTSIDE]),
        dst: this.pick([...ADDRESSES, ...OUTSIDE]),
        dport: this.pick(PORTS),
      };
      const expected = this.oracle.allows(connection);
      if (this.#judge(connection) !== expected)
        expect.fail(`${JSON.stringify(connection)}: should be ${expected}`);
      if (!expected) denied++;
    }
    return denied;
  }

  /** As the two nodes on the way do: each for its own pods. */
  #judge({ protocol, src, dst, dport }: Connection): boolean {
    const query = { protocol: PROTOCOL[protocol], src: ip(src), dst: ip(dst), dport };
    return this.nodes.every((node) => !node.active || node.allows(query, { isolation: "" }));
  }

  putPod(): void {
    const key = `${this.pick(NAMESPACES)}/${this.pick(["a", "b", "c", "d"])}`;
    const old = this.oracle.pods.get(key);
    const taken = new Set([...this.oracle.pods.values()].map(({ status }) => status?.podIP));
    const free = ADDRESSES.filter((address) => !taken.has(address));
    const address = old?.status?.podIP ?? this.pick([...free, undefined]);
    const object: Pod = pod(key, address, {
      labels: this.labels(),
      node: old?.spec?.nodeName ?? this.pick(NODES),
      ports: this.maybe() ? [["web", this.pick(PORTS), this.pick(["TCP", "UDP"])]] : [],
      phase: this.random() < 0.1 ? "Succeeded" : "Running",
      hostNetwork: this.random() < 0.05,
    });
    this.oracle.pods.set(key, object);
    for (const node of this.nodes) node.onPodUpsert(object);
  }

  dropPod(): void {
    const key = this.pick([...this.oracle.pods.keys(), ""]);
    const object = this.oracle.pods.get(key);
    if (object === undefined) return;
    this.oracle.pods.delete(key);
    for (const node of this.nodes) node.onPodDelete(object);
  }

  putPolicy(): void {
    const list = <T>(make: () => T): T[] => Array.from({ length: Math.floor(this.random() * 3) }, make);
    const object: NetworkPolicy = policy(`${this.pick(NAMESPACES)}/${this.pick(["p", "q"])}`, {
      podSelector: this.selector(),
      policyTypes: this.pick([undefined, ["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
      ingress: list(() => ({ from: list(() => this.peer()), ports: list(() => this.port()) })),
      egress: list(() => ({ to: list(() => this.peer()), ports: list(() => this.port()) })),
    });
    this.oracle.policies.set(`${object.metadata?.namespace}/${object.metadata?.name}`, object);
    for (const node of this.nodes) node.onPolicyUpsert(object);
  }

  dropPolicy(): void {
    const key = this.pick([...this.oracle.policies.keys(), ""]);
    const object = this.oracle.policies.get(key);
    if (object === undefined) return;
    this.oracle.policies.delete(key);
    for (const node of this.nodes) node.onPolicyDelete(object);
  }

  putNamespace(): void {
    const name = this.pick(NAMESPACES);
    const object = namespace(name, this.labels());
    if (this.random() < 0.8) {
      this.oracle.namespaces.set(name, object);
      for (const node of this.nodes) node.onNamespaceUpsert(object);
    } else {
      this.oracle.namespaces.delete(name);
      for (const node of this.nodes) node.onNamespaceDelete(object);
    }
  }

  peer(): NetworkPolicyPeer {
    const kind = this.random();
    if (kind < 0.3) {
      const cidr = `${this.pick([...ADDRESSES, ...OUTSIDE])}/${this.pick([0, 8, 24, 30, 32])}`;
      return { ipBlock: { cidr, ...(this.maybe() && { except: [`${this.pick(ADDRESSES)}/31`] }) } };
    }
    if (kind < 0.55) return { podSelector: this.selector() };
    if (kind < 0.8) return { namespaceSelector: this.selector() };
    return { podSelector: this.selector(), namespaceSelector: this.selector() };
  }

  port(): NetworkPolicyPort {
    const protocol = this.pick([undefined, "TCP", "UDP", "SCTP"]);
    const port = this.pick([undefined, "web", ...PORTS]);
    return { protocol, port, ...(port === 53 && this.maybe() && { endPort: 80 }) };
  }

  selector(): LabelSelector {
    const kind = this.random();
    if (kind < 0.3) return {};
    if (kind < 0.6) return { matchLabels: this.labels() };
    const operator = this.pick(["In", "NotIn", "Exists", "DoesNotExist"]);
    return { matchExpressions: [{ key: this.pick(["app", "tier"]), operator, values: ["1"] }] };
  }

  labels(): Record<string, string> {
    return { ...(this.maybe() && { app: this.pick(["1", "2"]) }), ...(this.maybe() && { tier: "1" }) };
  }

  maybe(): boolean {
    return this.random() < 0.5;
  }

  pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.random() * values.length)]!;
  }
}

describe("the compiled rules and the objects", () => {
  it.each([1, 2, 3, 4])("agree after each of 500 random changes, seed %i", (seed) => {
    const world = new World(seededRandom(seed));
    let denied = 0;
    for (let step = 0; step < 500; step++) {
      world.change();
      denied += world.compare();
    }
    expect(denied).toBeGreaterThan(1000);
    expect(denied).toBeLessThan(9000);
  });
});
