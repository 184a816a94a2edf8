/** The resources that the API server serves: what discovery, routing and the clients know about each. */

import type { ResourceName } from "./types.js";
import { StatusError } from "./types.js";

export type Subresource = "status" | "scale";

export interface ResourceInfo {
  /** Plural name, as in paths. */
  readonly name: ResourceName;
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  /** `group/version`, or the version alone for the core group. */
  readonly apiVersion: string;
  readonly kind: string;
  readonly listKind: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  readonly subresources: readonly Subresource[];
}

type Row = Partial<Pick<ResourceInfo, "group" | "shortNames" | "categories" | "namespaced" | "subresources">>;

function resource(name: ResourceName, kind: string, row: Row): ResourceInfo {
  const { group = "" } = row;
  return {
    name,
    group,
    version: "v1",
    apiVersion: group === "" ? "v1" : `${group}/v1`,
    kind,
    listKind: `${kind}List`,
    singular: name === "endpoints" ? name : kind.toLowerCase(),
    shortNames: [],
    categories: [],
    namespaced: true,
    subresources: [],
    ...row,
  };
}

const ALL = ["all"];
const NETWORKING = "networking.k8s.io";

/** Every resource, in the order of discovery. */
export const RESOURCES: readonly ResourceInfo[] = [
  resource("namespaces", "Namespace", { shortNames: ["ns"], namespaced: false, subresources: ["status"] }),
  resource("nodes", "Node", { shortNames: ["no"], namespaced: false, subresources: ["status"] }),
  resource("pods", "Pod", { shortNames: ["po"], categories: ALL, subresources: ["status"] }),
  resource("replicationcontrollers", "ReplicationController", {
    shortNames: ["rc"],
    categories: ALL,
    subresources: ["status", "scale"],
  }),
  resource("services", "Service", { shortNames: ["svc"], categories: ALL, subresources: ["status"] }),
  resource("endpoints", "Endpoints", { shortNames: ["ep"] }),
  resource("events", "Event", { shortNames: ["ev"] }),
  resource("replicasets", "ReplicaSet", {
    group: "apps",
    shortNames: ["rs"],
    categories: ALL,
    subresources: ["status", "scale"],
  }),
  resource("endpointslices", "EndpointSlice", { group: "discovery.k8s.io" }),
  resource("networkpolicies", "NetworkPolicy", { group: NETWORKING, shortNames: ["netpol"] }),
  resource("ingresses", "Ingress", { group: NETWORKING, shortNames: ["ing"], subresources: ["status"] }),
  resource("ingressclasses", "IngressClass", { group: NETWORKING, namespaced: false }),
  resource("servicecidrs", "ServiceCIDR", {
    group: NETWORKING,
    namespaced: false,
    subresources: ["status"],
  }),
  resource("ipaddresses", "IPAddress", { group: NETWORKING, shortNames: ["ip"], namespaced: false }),
];

const BY_NAME = new Map(RESOURCES.map((info) => [info.name, info]));

export function resourceInfo(name: ResourceName): ResourceInfo {
  const info = BY_NAME.get(name);
  if (info === undefined) throw new Error(`resource ${name} is not in the table`);
  return info;
}

/**
 * The resource of an object's `apiVersion` and `kind`.
 * @throws StatusError (404) that names both when the API server has no such kind
 */
export function resourceOf(apiVersion: string, kind: string): ResourceName {
  const info = RESOURCES.find((one) => one.apiVersion === apiVersion && one.kind === kind);
  if (info !== undefined) return info.name;
  const message = `no matches for kind "${kind}" in version "${apiVersion}"`;
  throw new StatusError({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason: "NotFound",
    code: 404,
  });
}
