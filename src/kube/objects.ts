/** Kubernetes object types under short names; the one place that knows where `kubernetes-types` keeps them. */
import type { Condition, ObjectMeta } from "kubernetes-types/meta/v1.d.ts";

export type { ReplicaSet } from "kubernetes-types/apps/v1.d.ts";
export type {
  Container,
  ContainerPort,
  ContainerStatus,
  Endpoints,
  EnvVar,
  Event,
  Namespace,
  Node,
  Pod,
  PodSpec,
  PodStatus,
  PodTemplateSpec,
  Probe,
  ReplicationController,
  Service,
  ServicePort,
} from "kubernetes-types/core/v1.d.ts";
export type { Endpoint, EndpointPort, EndpointSlice } from "kubernetes-types/discovery/v1.d.ts";
export type { LabelSelector, ListMeta, ObjectMeta, OwnerReference } from "kubernetes-types/meta/v1.d.ts";
export type {
  Ingress,
  IngressBackend,
  IngressClass,
  IPBlock,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
} from "kubernetes-types/networking/v1.d.ts";

/** networking.k8s.io/v1 since Kubernetes 1.33, which the types do not have yet. */
export interface ServiceCIDR {
  apiVersion?: string;
  kind?: string;
  metadata?: ObjectMeta;
  spec?: { cidrs?: string[] };
  status?: { conditions?: Condition[] };
}

/** As {@link ServiceCIDR}. */
export interface IPAddress {
  apiVersion?: string;
  kind?: string;
  metadata?: ObjectMeta;
  spec?: { parentRef?: { group?: string; resource?: string; namespace?: string; name?: string } };
}
