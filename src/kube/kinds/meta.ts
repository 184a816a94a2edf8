/** Validation of metadata, the same for all kinds (apimachinery pkg/api/validation/objectmeta.go). */
import { labelValue, qualifiedName, type Rule } from "../names.js";
import type { LabelSelector, ObjectMeta } from "../objects.js";
import { type FieldError, fieldError } from "../status.js";

const MAX_ANNOTATION_BYTES = 256 * 1024;

export function validateMeta(meta: ObjectMeta, nameRule: Rule): FieldError[] {
  const name = meta.name ?? "";
  return [
    ...(name === ""
      ? [fieldError.required("metadata.name", "name or generateName is required")]
      : nameRule(name).map((why) => fieldError.invalid("metadata.name", name, why))),
    ...validateLabels(meta.labels, "metadata.labels"),
    ...validateAnnotations(meta.annotations),
    ...(meta.finalizers ?? []).flatMap((one) =>
      qualifiedName(one).map((why) => fieldError.invalid("metadata.finalizers", one, why)),
    ),
    ...validateOwners(meta),
  ];
}

/** Labels of an object or the map of a selector. */
export function validateLabels(
  labels: Readonly<Record<string, string>> | undefined,
  field: string,
): FieldError[] {
  return Object.entries(labels ?? {}).flatMap(([key, value]) => [
    ...qualifiedName(key).map((why) => fieldError.invalid(field, key, why)),
    ...labelValue(value).map((why) => fieldError.invalid(field, value, why)),
  ]);
}

/** LabelSelector objects: apimachinery pkg/apis/meta/v1/validation. */
export function validateLabelSelector(selector: LabelSelector, at: string): FieldError[] {
  const { matchLabels, matchExpressions = [] } = selector;
  const expressions = matchExpressions.flatMap(({ key = "", operator, values = [] }, index) => {
    const field = `${at}.matchExpressions[${index}]`;
    return [
      ...validateOperator(operator, values.length, field),
      ...qualifiedName(key).map((why) => fieldError.invalid(`${field}.key`, key, why)),
      ...values.flatMap((value, place) =>
        labelValue(value).map((why) => fieldError.invalid(`${field}.values[${place}]`, value, why)),
      ),
    ];
  });
  return [...validateLabels(matchLabels, `${at}.matchLabels`), ...expressions];
}

function validateOperator(operator: string, count: number, field: string): FieldError[] {
  switch (operator) {
    case "In":
    case "NotIn":
      return count > 0
        ? []
        : [fieldError.required(`${field}.values`, "must be specified when `operator` is 'In' or 'NotIn'")];
    case "Exists":
    case "DoesNotExist":
      return count === 0
        ? []
        : [
            fieldError.forbidden(
              `${field}.values`,
              "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
          ];
    default:
      return [fieldError.invalid(`${field}.operator`, operator, "not a valid selector operator")];
  }
}

function validateAnnotations(annotations: ObjectMeta["annotations"]): FieldError[] {
  const field = "metadata.annotations";
  const entries = Object.entries(annotations ?? {});
  const size = entries.reduce((sum, pair) => sum + Buffer.byteLength(pair.join("")), 0);
  return [
    // Keys of annotations may have capitals in the prefix too.
    ...entries.flatMap(([key]) =>
      qualifiedName(key.toLowerCase()).map((why) => fieldError.invalid(field, key, why)),
    ),
    ...(size > MAX_ANNOTATION_BYTES ? [fieldError.tooLong(field, MAX_ANNOTATION_BYTES)] : []),
  ];
}

function validateOwners({ ownerReferences = [] }: ObjectMeta): FieldError[] {
  const field = "metadata.ownerReferences";
  const controllers = ownerReferences.filter((owner) => owner.controller);
  const missing = ownerReferences.flatMap((owner) =>
    (["apiVersion", "kind", "name", "uid"] as const)
      .filter((part) => !owner[part])
      .map((part) => fieldError.invalid(`${field}.${part}`, "", `${part} must not be empty`)),
  );
  if (controllers.length < 2) return missing;
  const names = controllers.map((owner) => owner.name).join(" and ");
  const why = `Only one reference can have Controller set to true. Found "true" in references for ${names}`;
  return [...missing, fieldError.invalid(field, ownerReferences, why)];
}

/** Metadata that an update may not touch. */
export function validateMetaUpdate(meta: ObjectMeta, stored: ObjectMeta): FieldError[] {
  if (stored.deletionTimestamp === undefined) return [];
  const added = (meta.finalizers ?? []).filter((one) => !stored.finalizers?.includes(one));
  if (added.length === 0) return [];
  const why = "no new finalizers can be added if the object is being deleted, found new finalizers";
  const names = added.map((one) => JSON.stringify(one)).join(", ");
  return [fieldError.forbidden("metadata.finalizers", `${why} []string{${names}}`)];
}
