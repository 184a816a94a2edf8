/** What people are told of the policies on a node. */

/** A pod of the node that policies select. */
export interface IsolatedPod {
  /** `namespace/name`. */
  readonly pod: string;
  /** Policies that isolate it, by direction; empty when it is open in that direction. */
  readonly ingress: readonly string[];
  readonly egress: readonly string[];
}

export interface PolicyStatus {
  readonly policies: number;
  /** Pods whose addresses and labels are known. */
  readonly pods: number;
  readonly generation: number;
  readonly isolated: readonly IsolatedPod[];
}
