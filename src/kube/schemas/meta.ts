/** Schemas of meta/v1. */
import {
  any,
  boolean,
  int64,
  keyedList,
  list,
  map,
  type StructSchema,
  string,
  stringMap,
  stringSet,
  strings,
  struct,
  time,
} from "../schema.js";

const OWNER_REFERENCE = struct("OwnerReference", {
  apiVersion: string,
  kind: string,
  name: string,
  uid: string,
  controller: boolean,
  blockOwnerDeletion: boolean,
});

export const OBJECT_META = struct("ObjectMeta", {
  name: string,
  generateName: string,
  namespace: string,
  selfLink: string,
  uid: string,
  resourceVersion: string,
  generation: int64,
  creationTimestamp: time,
  deletionTimestamp: time,
  deletionGracePeriodSeconds: int64,
  labels: stringMap,
  annotations: stringMap,
  ownerReferences: keyedList("uid", OWNER_REFERENCE),
  finalizers: stringSet,
  managedFields: any,
});

export const LABEL_SELECTOR = struct("LabelSelector", {
  matchLabels: stringMap,
  matchExpressions: list(
    struct("LabelSelectorRequirement", { key: string, operator: string, values: strings }),
  ),
});

export const OBJECT_REFERENCE = struct("ObjectReference", {
  kind: string,
  namespace: string,
  name: string,
  uid: string,
  apiVersion: string,
  resourceVersion: string,
  fieldPath: string,
});

/** Quantities are texts or numbers; Podwire shows them and does not count with them. */
export const quantities = map(any);

/** A whole object: the type's own fields after `apiVersion`, `kind` and `metadata`. */
export function objectSchema(kind: string, fields: StructSchema["fields"]): StructSchema {
  return struct(kind, { apiVersion: string, kind: string, metadata: OBJECT_META, ...fields });
}
