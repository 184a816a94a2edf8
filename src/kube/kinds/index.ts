/** The rules of every kind that the API server stores. */
import type { ResourceName } from "../types.js";
import { EVENT_RULES, NAMESPACE_RULES, NODE_RULES } from "./cluster.js";
import { ENDPOINT_SLICE_RULES, ENDPOINTS_RULES } from "./endpoints.js";
import { INGRESS_CLASS_RULES, INGRESS_RULES } from "./ingress.js";
import type { KindRules } from "./kind.js";
import { NETWORK_POLICY_RULES } from "./networkPolicy.js";
import { POD_RULES } from "./pod.js";
import { REPLICA_SET_RULES, REPLICATION_CONTROLLER_RULES } from "./replicas.js";
import { SERVICE_RULES } from "./service.js";
import { IP_ADDRESS_RULES, SERVICE_CIDR_RULES } from "./serviceCidr.js";

export const KINDS: Readonly<Record<ResourceName, KindRules>> = {
  namespaces: NAMESPACE_RULES,
  nodes: NODE_RULES,
  pods: POD_RULES,
  replicationcontrollers: REPLICATION_CONTROLLER_RULES,
  replicasets: REPLICA_SET_RULES,
  services: SERVICE_RULES,
  endpoints: ENDPOINTS_RULES,
  endpointslices: ENDPOINT_SLICE_RULES,
  events: EVENT_RULES,
  networkpolicies: NETWORK_POLICY_RULES,
  ingresses: INGRESS_RULES,
  ingressclasses: INGRESS_CLASS_RULES,
  servicecidrs: SERVICE_CIDR_RULES,
  ipaddresses: IP_ADDRESS_RULES,
};
