/** Which pods the peers of rules choose: a set for each different peer, with one bit a pod. */

import type { Pod, PodFacts, PodIndex } from "./pods.js";
import type { PodPeer } from "./policy.js";
import type { Labels } from "./read.js";
import { selects } from "./selector.js";

/** The pods that a peer chooses. Rules that say the same share one. */
export class PeerSet {
  /** Rules that use it. */
  uses = 0;
  #words = new Int32Array(1);

  constructor(
    readonly key: string,
    readonly peer: PodPeer,
  ) {}

  has(id: number): boolean {
    const word = id >>> 5;
    return word < this.#words.length && ((this.#words[word] >>> (id & 31)) & 1) === 1;
  }

  /** Returns whether that changed anything. */
  set(id: number, isIn: boolean): boolean {
    if (this.has(id) === isIn) return false;
    const word = id >>> 5;
    if (word >= this.#words.length) {
      const grown = new Int32Array(Math.max(word + 1, this.#words.length * 2));
      grown.set(this.#words);
      this.#words = grown;
    }
    this.#words[word] ^= 1 << (id & 31);
    return true;
  }
}

export class PeerSets {
  readonly #sets = new Map<string, PeerSet>();
  readonly #namespaces = new Map<string, Labels>();

  constructor(private readonly pods: PodIndex) {}

  /** The set of a peer, with one more use. */
  take(peer: PodPeer): PeerSet {
    const key = JSON.stringify(peer);
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = new PeerSet(key, peer);
      this.#sets.set(key, set);
      for (const pod of this.pods.all()) set.set(pod.id, this.#chooses(peer, pod));
    }
    set.uses++;
    return set;
  }

  release(set: PeerSet): void {
    if (--set.uses === 0) this.#sets.delete(set.key);
  }

  /** Places a pod that is new or has changed. Returns whether some set has it, or had it. */
  place(pod: Pod): boolean {
    let counts = false;
    for (const set of this.#sets.values()) {
      if (set.set(pod.id, this.#chooses(set.peer, pod)) || set.has(pod.id)) counts = true;
    }
    return counts;
  }

  /** Takes a pod out of all sets. Returns whether one had it. */
  remove(pod: Pod): boolean {
    let counts = false;
    for (const set of this.#sets.values()) if (set.set(pod.id, false)) counts = true;
    return counts;
  }

  /** Sets a namespace's labels; undefined when it is gone. Returns whether that changed any set. */
  setNamespace(name: string, labels: Labels | undefined): boolean {
    if (labels === undefined) this.#namespaces.delete(name);
    else this.#namespaces.set(name, labels);
    let changed = false;
    for (const set of this.#sets.values()) {
      if (typeof set.peer.namespace === "string") continue;
      for (const pod of this.pods.in(name)) if (set.set(pod.id, this.#chooses(set.peer, pod))) changed = true;
    }
    return changed;
  }

  namespaces(): Iterable<string> {
    return this.#namespaces.keys();
  }

  /** A namespace that is not known yet is chosen by no selector, not even by one that excludes others. */
  #chooses({ namespace, pods }: PodPeer, pod: PodFacts): boolean {
    if (typeof namespace === "string") return namespace === pod.namespace && selects(pods, pod.labels);
    const labels = this.#namespaces.get(pod.namespace);
    return labels !== undefined && selects(namespace, labels) && selects(pods, pod.labels);
  }
}
