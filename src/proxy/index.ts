/**
 * The Service part of a node: kube-proxy for the user-space datapath.
 *
 * Services and EndpointSlices come in as the API has them; two trackers collect what changed and `Proxier.sync`
 * applies it (`Updater`). Each service port becomes a rule with two pools of usable endpoints, one per traffic policy,
 * and each of its addresses (cluster IP, external IPs, the load balancer's, node port) becomes a frontend that leads to
 * the rule. The datapath asks `resolve` about the first packet of every connection (`Resolver`): one hash lookup finds
 * the frontend; its kind and the source say which pool is used, whether the client is admitted and whether its address
 * has to be masqueraded; session affinity or the pool's scheduler gives the endpoint. Everything after the first packet
 * is conntrack's.
 *
 * Kinds of addresses are added in `frontendsOf`, policies in `categorizeEndpoints`, orders of choice under
 * `schedulers/`. After a sync, UDP flows that lead to what is gone are deleted (`StaleFlows`); TCP drains.
 * Semantics are kube-proxy's; file names in comments are in kubernetes/pkg/proxy.
 */
export { LOCAL_MODES, type LocalMode } from "./detect-local.js";
export { DualStackProxier, type NodeProxier } from "./dual-stack.js";
export { type AddressFamily, type HandleBook, IPV4_FAMILY, ipv6Family } from "./family.js";
export type { HealthCheck } from "./health.js";
export type { ProxierOptions } from "./options.js";
export { Proxier, type ProxierMetrics } from "./proxier.js";
export {
  type ConnectionCounter,
  isSchedulerName,
  SCHEDULER_NAMES,
  type SchedulerName,
} from "./schedulers/index.js";
export { SCHEDULER_ANNOTATION, WEIGHTS_ANNOTATION } from "./service-scheduling.js";
export type { EndpointStatus, ServicePortStatus, TrafficPolicy } from "./status.js";
export { SyncHealth } from "./sync-health.js";
export type { InvalidHandler } from "./types.js";
