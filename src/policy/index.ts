/**
 * NetworkPolicy: which connections the pods of a node may begin and accept (networking.k8s.io/v1).
 *
 * Policies, pods and namespaces come in as the API has them; `NetworkPolicies` keeps, for every pod of its own node that
 * a policy selects, the rules of all those policies (`Isolation`), and answers the datapath, which asks once per
 * connection: egress on the node of the client, ingress on the node of the server. A pod without an isolation is open;
 * one with it may do what some rule of some policy allows (policies only add). Peers by selector are sets of pods with
 * one bit a pod (`PeerSet`), shared by all rules that say the same and kept up to date pod by pod, so that a question
 * costs two lookups by address and one bit for each peer of the rules, however many pods there are.
 *
 * What counts is a connection's first packet as it is in FORWARD: its destination after Service DNAT, its source before
 * this node masquerades it. A client from outside that another node has masqueraded bears that node's address.
 * `generation` changes whenever an answer may have changed; the datapath then asks again about connections that are open.
 *
 * Semantics follow the types in k8s.io/api/networking/v1 and Kubernetes' "Network Policies" page; where these leave a
 * choice, docs/network-policy.md names ours.
 */
export { NetworkPolicies, type NetworkPoliciesOptions } from "./network-policies.js";
export type { IsolatedPod, PolicyStatus } from "./status.js";
