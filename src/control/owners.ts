/** ReplicationController and ReplicaSet as one: what the shared controller needs to know of each. */
import {
  type KubeObject,
  matchesLabels,
  type PodTemplateSpec,
  type ReplicaSet,
  type ReplicationController,
} from "../kube/index.js";
import type { Cache } from "./cache.js";
import type { Caches } from "./context.js";

/** Status fields that both kinds have. */
export interface ReplicaStatus {
  readonly replicas: number;
  readonly fullyLabeledReplicas?: number;
  readonly readyReplicas?: number;
  readonly availableReplicas?: number;
  readonly observedGeneration?: number;
}

export interface OwnerKind<T extends KubeObject = KubeObject> {
  readonly kind: "ReplicationController" | "ReplicaSet";
  readonly apiVersion: string;
  readonly resource: "replicationcontrollers" | "replicasets";
  readonly component: string;
  readonly cache: (caches: Caches) => Cache<T>;
  readonly view: (owner: T) => OwnerView;
}

/** An owner's wishes. */
export interface OwnerView {
  readonly replicas: number;
  readonly minReadySeconds: number;
  readonly template: PodTemplateSpec | undefined;
  readonly status: ReplicaStatus | undefined;
  /** Whether the selector chooses a pod with these labels. */
  readonly selects: (labels: Readonly<Record<string, string>>) => boolean;
}

export const REPLICATION_CONTROLLER: OwnerKind<ReplicationController> = {
  kind: "ReplicationController",
  apiVersion: "v1",
  resource: "replicationcontrollers",
  component: "replication-controller",
  cache: (caches) => caches.replicationcontrollers,
  view: ({ spec, status }) => {
    const selector = Object.entries(spec?.selector ?? spec?.template?.metadata?.labels ?? {});
    return {
      replicas: spec?.replicas ?? 1,
      minReadySeconds: spec?.minReadySeconds ?? 0,
      template: spec?.template,
      status,
      selects: (labels) => selector.length > 0 && selector.every(([key, value]) => labels[key] === value),
    };
  },
};

export const REPLICA_SET: OwnerKind<ReplicaSet> = {
  kind: "ReplicaSet",
  apiVersion: "apps/v1",
  resource: "replicasets",
  component: "replicaset-controller",
  cache: (caches) => caches.replicasets,
  view: ({ spec, status }) => ({
    replicas: spec?.replicas ?? 1,
    minReadySeconds: spec?.minReadySeconds ?? 0,
    template: spec?.template,
    status,
    selects: (labels) => spec !== undefined && matchesLabels(spec.selector, labels),
  }),
};
