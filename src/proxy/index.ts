/**
 * The Service part of a node: kube-proxy for the user-space datapath.
 *
 * Services and EndpointSlices come in as the API has them; two trackers collect what changed and `Proxier.sync`
 * applies it. Each service port becomes a rule with a ring of usable endpoints, and each of its addresses (cluster
 * IP, node port) becomes a frontend that leads to the rule. The datapath asks `resolve` about the first packet of
 * every connection: one hash lookup finds the frontend, session affinity or the ring gives the endpoint, and the kind
 * of frontend says whether the source has to be masqueraded. Everything after the first packet is conntrack's.
 *
 * Kinds of addresses are added in `frontendsOf`, policies in `categorizeEndpoints`, orders of choice beside
 * `EndpointRing`. After a sync, UDP flows that lead to what is gone are deleted (`StaleFlows`); TCP drains.
 * Semantics are kube-proxy's; file names in comments are in kubernetes/pkg/proxy.
 */
export { Proxier, type ProxierMetrics, type ProxierOptions } from "./proxier.js";
export type { EndpointStatus, ServicePortStatus } from "./status.js";
export type { InvalidHandler } from "./types.js";
