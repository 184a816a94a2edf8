/**
 * Error answers as Kubernetes words them (apimachinery pkg/api/errors/errors.go and
 * pkg/util/validation/field/errors.go): each function makes the StatusError to throw.
 */
import type { ResourceInfo } from "./resources.js";
import { type Status, StatusError } from "./types.js";

/** What is wrong with one field; `message` is the part after the field's path. */
export interface FieldError {
  readonly field: string;
  readonly reason:
    | "FieldValueRequired"
    | "FieldValueInvalid"
    | "FieldValueDuplicate"
    | "FieldValueNotSupported"
    | "FieldValueForbidden"
    | "FieldValueTooLong"
    | "FieldValueTooMany";
  readonly message: string;
}

type Details = NonNullable<Status["details"]>;

/** A failure with its HTTP code and reason. */
export function failure(code: number, reason: string, message: string, details?: Details): StatusError {
  return new StatusError({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason,
    ...(details === undefined ? {} : { details }),
    code,
  });
}

/** `pods`, `replicasets.apps`. */
function qualified(info: ResourceInfo, what: string): string {
  return info.group === "" ? what : `${what}.${info.group}`;
}

function objectDetails(info: ResourceInfo, name: string): Details {
  return { name, ...(info.group === "" ? {} : { group: info.group }), kind: info.name };
}

export function notFound(info: ResourceInfo, name: string): StatusError {
  const message = `${qualified(info, info.name)} "${name}" not found`;
  return failure(404, "NotFound", message, objectDetails(info, name));
}

export function alreadyExists(info: ResourceInfo, name: string): StatusError {
  const message = `${qualified(info, info.name)} "${name}" already exists`;
  return failure(409, "AlreadyExists", message, objectDetails(info, name));
}

const MODIFIED =
  "the object has been modified; please apply your changes to the latest version and try again";

export function conflict(info: ResourceInfo, name: string, why = MODIFIED): StatusError {
  const message = `Operation cannot be fulfilled on ${qualified(info, info.name)} "${name}": ${why}`;
  return failure(409, "Conflict", message, objectDetails(info, name));
}

export function forbidden(
  info: ResourceInfo,
  name: string,
  why: string,
  causes?: Details["causes"],
): StatusError {
  const message = `${qualified(info, info.name)} "${name}" is forbidden: ${why}`;
  return failure(403, "Forbidden", message, { ...objectDetails(info, name), ...(causes ? { causes } : {}) });
}

/** 422 with one cause for each field. */
export function invalid(info: ResourceInfo, name: string, errors: readonly FieldError[]): StatusError {
  const texts = errors.map(({ field, message }) => `${field}: ${message}`);
  const list = texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
  return failure(422, "Invalid", `${qualified(info, info.kind)} "${name}" is invalid: ${list}`, {
    ...objectDetails(info, name),
    kind: info.kind,
    causes: errors.map(({ field, reason, message }) => ({ reason, message, field })),
  });
}

export function badRequest(message: string): StatusError {
  return failure(400, "BadRequest", message);
}

export function internalError(message: string): StatusError {
  return failure(500, "InternalError", `Internal error occurred: ${message}`);
}

/** The path leads nowhere. */
export function noSuchPath(): StatusError {
  return failure(404, "NotFound", "the server could not find the requested resource", {});
}

export function methodNotAllowed(): StatusError {
  return failure(
    405,
    "MethodNotAllowed",
    "the server does not allow this method on the requested resource",
    {},
  );
}

export function unsupportedMediaType(accepted: readonly string[]): StatusError {
  const what = "the body of the request was in an unknown format - accepted media types include";
  return failure(415, "UnsupportedMediaType", `${what}: ${accepted.join(", ")}`);
}

/** The asked version is older than what is kept: list again. */
export function expired(message: string): StatusError {
  return failure(410, "Expired", message);
}

export const fieldError = {
  required: (field: string, why = ""): FieldError => ({
    field,
    reason: "FieldValueRequired",
    message: why === "" ? "Required value" : `Required value: ${why}`,
  }),
  invalid: (field: string, value: unknown, why: string): FieldError => ({
    field,
    reason: "FieldValueInvalid",
    message: `Invalid value: ${goValue(value)}: ${why}`,
  }),
  duplicate: (field: string, value: unknown): FieldError => ({
    field,
    reason: "FieldValueDuplicate",
    message: `Duplicate value: ${goValue(value)}`,
  }),
  notSupported: (field: string, value: unknown, supported: readonly string[]): FieldError => ({
    field,
    reason: "FieldValueNotSupported",
    message: `Unsupported value: ${goValue(value)}: supported values: ${supported.map((one) => `"${one}"`).join(", ")}`,
  }),
  forbidden: (field: string, why: string): FieldError => ({
    field,
    reason: "FieldValueForbidden",
    message: `Forbidden: ${why}`,
  }),
  tooLong: (field: string, maxBytes: number): FieldError => ({
    field,
    reason: "FieldValueTooLong",
    message: `Too long: may not be more than ${maxBytes} bytes`,
  }),
  tooMany: (field: string, actual: number, max: number): FieldError => ({
    field,
    reason: "FieldValueTooMany",
    message: `Too many: ${actual}: must have at most ${max} items`,
  }),
} as const;

/** A value as Kubernetes prints it in messages: Go's notation for strings, lists and maps of strings; else JSON. */
export function goValue(value: unknown): string {
  const strings = (list: readonly unknown[]) => list.map((one) => JSON.stringify(one)).join(", ");
  if (Array.isArray(value) && value.every((one) => typeof one === "string"))
    return `[]string{${strings(value)}}`;
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const entries = Object.entries(value);
    if (entries.length > 0 && entries.every(([, one]) => typeof one === "string")) {
      return `map[string]string{${entries.map((pair) => pair.map((one) => JSON.stringify(one)).join(":")).join(", ")}}`;
    }
  }
  return JSON.stringify(value);
}
