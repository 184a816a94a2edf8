/** Field selectors (`spec.nodeName=a,status.phase!=Running`): equality of the few fields that each resource offers. */
import { badRequest } from "./status.js";
import type { KubeObject, ResourceName } from "./types.js";

/** One term; all terms must hold. */
export interface FieldTerm {
  readonly path: string;
  readonly equal: boolean;
  readonly value: string;
}

/** Selectable fields besides metadata.name and metadata.namespace (kubernetes pkg/apis/core/v1/conversion.go). */
const FIELDS: Partial<Record<ResourceName, readonly string[]>> = {
  namespaces: ["status.phase"],
  nodes: ["spec.unschedulable"],
  pods: [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
  ],
  replicationcontrollers: ["status.replicas"],
  replicasets: ["status.replicas"],
  services: ["spec.clusterIP", "spec.type"],
  ipaddresses: [
    "spec.parentRef.group",
    "spec.parentRef.resource",
    "spec.parentRef.namespace",
    "spec.parentRef.name",
  ],
  events: [
    ...["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"].map(
      (field) => `involvedObject.${field}`,
    ),
    "reason",
    "reportingComponent",
    "source",
    "type",
  ],
};

/** @throws StatusError (400) for a term that is none, or a field that the resource does not offer */
export function parseFieldSelector(resource: ResourceName, text: string): FieldTerm[] {
  const terms = text.split(",").filter((term) => term.trim() !== "");
  return terms.map((term) => {
    const [, path = "", operator, value = ""] = /^([^=!\s]+)\s*(==|!=|=)\s*(.*)$/.exec(term.trim()) ?? [];
    if (operator === undefined) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`);
    const known = path === "metadata.name" || path === "metadata.namespace";
    if (!known && !FIELDS[resource]?.includes(path)) throw badRequest(`field label not supported: ${path}`);
    return { path, equal: operator !== "!=", value };
  });
}

export function matchesFields(terms: readonly FieldTerm[], object: KubeObject): boolean {
  return terms.every(({ path, equal, value }) => (fieldText(object, path) === value) === equal);
}

/** Fields that are false or zero when they are missing; all others are empty texts. */
const ABSENT: Readonly<Record<string, string>> = {
  "spec.unschedulable": "false",
  "spec.hostNetwork": "false",
  "status.replicas": "0",
};

function fieldText(object: KubeObject, path: string): string {
  // An event's source is selected by the component's name.
  const names = path === "source" ? ["source", "component"] : path.split(".");
  let value: unknown = object;
  for (const name of names) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return ABSENT[path] ?? "";
    value = (value as Record<string, unknown>)[name];
  }
  return String(value);
}
