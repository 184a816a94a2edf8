/** Kubernetes object types under short names; the one place that knows where `kubernetes-types` keeps them. */

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
  IPBlock,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
} from "kubernetes-types/networking/v1.d.ts";
