/**
 * The Kubernetes API as the rest of Podwire sees it. Object shapes come from `kubernetes-types` (types only).
 * `KubeClient` has two implementations that pass one suite: over HTTP (nodes, CLI) and in process (controllers).
 */
import type { ListMeta, ObjectMeta } from "kubernetes-types/meta/v1.d.ts";

/** Any API object. `metadata` is always there on objects that came from the API server. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata?: ObjectMeta;
}

/** Plural resource names served by the API server (the table in resources.ts adds group, version, kind, scope). */
export type ResourceName =
  | "namespaces"
  | "nodes"
  | "pods"
  | "replicationcontrollers"
  | "replicasets"
  | "services"
  | "endpoints"
  | "endpointslices"
  | "events"
  | "networkpolicies"
  | "ingresses"
  | "ingressclasses"
  | "servicecidrs"
  | "ipaddresses";

export interface KubeList<T> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ListMeta;
  readonly items: T[];
}

export interface ListOptions {
  /** All namespaces when missing. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly limit?: number;
  readonly continue?: string;
}

export interface WatchOptions extends ListOptions {
  /** Events after this version; a list's `metadata.resourceVersion`. */
  readonly resourceVersion?: string;
  readonly allowWatchBookmarks?: boolean;
  /** The server ends the watch after this time; by default after half an hour to an hour. */
  readonly timeoutSeconds?: number;
  readonly signal?: AbortSignal;
}

export type WatchEvent<T> =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"; readonly object: T }
  | { readonly type: "ERROR"; readonly object: Status };

/** meta/v1 Status as the server sends it for every error. */
export interface Status {
  readonly kind: "Status";
  readonly apiVersion: "v1";
  readonly metadata: Record<string, unknown>;
  readonly status: "Success" | "Failure";
  readonly message?: string;
  readonly reason?: string;
  readonly details?: {
    readonly name?: string;
    readonly group?: string;
    readonly kind?: string;
    readonly uid?: string;
    readonly causes?: readonly {
      readonly reason: string;
      readonly message: string;
      readonly field: string;
    }[];
    readonly retryAfterSeconds?: number;
  };
  readonly code?: number;
}

/** An error answer of the API: `status.code` is the HTTP code, `status.reason` such as NotFound, Conflict, Expired. */
export class StatusError extends Error {
  constructor(readonly status: Status) {
    super(status.message ?? status.reason ?? "API error");
    this.name = "StatusError";
  }
}

/** Namespace is undefined for cluster-scoped resources. */
export interface KubeClient {
  get<T extends KubeObject>(resource: ResourceName, namespace: string | undefined, name: string): Promise<T>;
  list<T extends KubeObject>(resource: ResourceName, options?: ListOptions): Promise<KubeList<T>>;
  create<T extends KubeObject>(resource: ResourceName, object: T): Promise<T>;
  /** Replaces; a `metadata.resourceVersion` that is not the stored one is refused with Conflict (409). */
  update<T extends KubeObject>(resource: ResourceName, object: T, subresource?: "status"): Promise<T>;
  delete(
    resource: ResourceName,
    namespace: string | undefined,
    name: string,
    options?: DeleteOptions,
  ): Promise<void>;
  /** Ends when the server ends it or the signal aborts. An ERROR event with code 410 means: list again. */
  watch<T extends KubeObject>(resource: ResourceName, options?: WatchOptions): AsyncIterable<WatchEvent<T>>;
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly propagationPolicy?: "Background" | "Foreground" | "Orphan";
}
