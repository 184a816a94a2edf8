/** The kinds of object that a manifest may hold. */
import type { z } from "zod";
import { ingress, ingressClass, networkPolicy, serviceCidr } from "./networking.js";
import { namespace, pod, replicaSet, replicationController } from "./pod.js";
import { endpointSlice, endpoints, service } from "./service.js";

export interface Kind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly schema: z.ZodType;
  /** Where the kind keeps its pod spec. */
  readonly podSpec?: readonly string[];
}

const NETWORKING = "networking.k8s.io/v1";

export const KINDS: readonly Kind[] = [
  { apiVersion: "v1", kind: "Namespace", namespaced: false, schema: namespace },
  { apiVersion: "v1", kind: "Pod", namespaced: true, schema: pod, podSpec: ["spec"] },
  {
    apiVersion: "v1",
    kind: "ReplicationController",
    namespaced: true,
    schema: replicationController,
    podSpec: ["spec", "template", "spec"],
  },
  {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    namespaced: true,
    schema: replicaSet,
    podSpec: ["spec", "template", "spec"],
  },
  { apiVersion: "v1", kind: "Service", namespaced: true, schema: service },
  { apiVersion: "v1", kind: "Endpoints", namespaced: true, schema: endpoints },
  { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespaced: true, schema: endpointSlice },
  { apiVersion: NETWORKING, kind: "NetworkPolicy", namespaced: true, schema: networkPolicy },
  { apiVersion: NETWORKING, kind: "Ingress", namespaced: true, schema: ingress },
  { apiVersion: NETWORKING, kind: "IngressClass", namespaced: false, schema: ingressClass },
  { apiVersion: NETWORKING, kind: "ServiceCIDR", namespaced: false, schema: serviceCidr },
];
