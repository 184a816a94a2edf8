/** From a request's body to an object that may be stored: decoding, defaults, validation, system fields. */
import { randomUUID } from "node:crypto";
import { KINDS } from "../kinds/index.js";
import { validateMeta, validateMetaUpdate } from "../kinds/meta.js";
import { generateName } from "../names.js";
import type { ResourceInfo } from "../resources.js";
import { decode } from "../schema.js";
import { badRequest, conflict, invalid } from "../status.js";
import { type KubeObject, StatusError } from "../types.js";
import { canonical, type Stored, timestamp } from "./object.js";

/** What happens to fields that the schema does not know: refused, dropped with a warning, or dropped. */
export type FieldValidation = "Strict" | "Warn" | "Ignore";

export interface Body {
  readonly object: Stored;
  /** For the `Warning` headers. */
  readonly warnings: readonly string[];
}

/**
 * Decodes the body of a create or update.
 * @throws StatusError (400) when it is of another kind, has a field of a wrong type or, if strict, an unknown one
 */
export function decodeBody(info: ResourceInfo, body: unknown, validation: FieldValidation): Body {
  const { kind, apiVersion } = typeOf(body);
  if (!kind) throw badRequest(`Object 'Kind' is missing in '${excerpt(body)}'`);
  if (!apiVersion) throw badRequest(`Object 'apiVersion' is missing in '${excerpt(body)}'`);
  if (apiVersion !== info.apiVersion) {
    const what = "does not match the expected API version";
    throw badRequest(`the API version in the data (${apiVersion}) ${what} (${info.apiVersion})`);
  }
  const handled = `${kind} in version "${info.version}" cannot be handled as a ${info.kind}`;
  if (kind !== info.kind) throw badRequest(handled);
  try {
    const { value, unknownFields } = decode(KINDS[info.name].schema, body);
    const warnings = unknownFields.map((field) => `unknown field "${field}"`);
    if (validation === "Strict" && warnings.length > 0)
      throw badRequest(`strict decoding error: ${warnings.join(", ")}`);
    const object = { ...value, metadata: value.metadata ?? {} } as Stored;
    return { object, warnings: validation === "Warn" ? warnings : [] };
  } catch (error) {
    if (error instanceof StatusError) throw badRequest(`${handled}: ${error.message}`);
    throw error;
  }
}

function typeOf(body: unknown): { kind?: unknown; apiVersion?: unknown } {
  return typeof body === "object" && body !== null ? body : {};
}

function excerpt(body: unknown): string {
  const text = JSON.stringify(body) ?? "";
  return text.length > 200 ? `${text.slice(0, 200)}...` : text;
}

/** Puts the object into the namespace of the request. @throws StatusError (400) when it names another */
export function placeInNamespace(info: ResourceInfo, object: Stored, namespace: string | undefined): void {
  const { metadata } = object;
  const wanted = info.namespaced ? (namespace ?? "default") : undefined;
  if (metadata.namespace && metadata.namespace !== wanted)
    throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
  if (wanted === undefined) delete metadata.namespace;
  else metadata.namespace = wanted;
}

/**
 * The object as it is stored first; a missing name is made from `generateName`.
 * @throws StatusError (400, 422)
 */
export function prepareCreate(info: ResourceInfo, decoded: Stored, nowMs: number): Stored {
  const rules = KINDS[info.name];
  if (decoded.metadata.resourceVersion)
    throw badRequest("resourceVersion should not be set on objects to be created");
  const object = structuredClone(decoded);
  const { metadata } = object;
  if (!metadata.name && metadata.generateName) metadata.name = generateName(metadata.generateName);
  dropServerFields(object);
  metadata.uid = randomUUID();
  metadata.creationTimestamp = timestamp(nowMs);
  if (rules.countsGenerations) metadata.generation = 1;
  if (rules.initialStatus) object.status = structuredClone(rules.initialStatus);
  rules.setDefaults?.(object);
  rules.prepareCreate?.(object);
  const errors = [
    ...validateMeta(metadata, rules.nameRule),
    ...rules.validate(object),
    ...(rules.validateCreate?.(object) ?? []),
  ];
  if (errors.length > 0) throw invalid(info, metadata.name ?? metadata.generateName ?? "", errors);
  return canonical(rules.schema, object);
}

/** The stored object as an update of the main resource changes it. @throws StatusError (409, 422) */
export function prepareUpdate(info: ResourceInfo, decoded: Stored, stored: Stored): Stored {
  const rules = KINDS[info.name];
  checkPreconditions(info, stored, decoded.metadata);
  const object = structuredClone(decoded);
  dropServerFields(object);
  const { uid, creationTimestamp, generation, deletionTimestamp, deletionGracePeriodSeconds } =
    stored.metadata;
  const kept = { uid, creationTimestamp, generation, deletionTimestamp, deletionGracePeriodSeconds };
  object.metadata = { ...object.metadata, name: stored.metadata.name, ...kept };
  if (stored.status === undefined) delete object.status;
  else object.status = stored.status;
  rules.setDefaults?.(object);
  rules.prepareUpdate?.(object, stored);
  const next = canonical(rules.schema, object);
  const errors = [
    ...validateMeta(next.metadata, rules.nameRule),
    ...validateMetaUpdate(next.metadata, stored.metadata),
    ...rules.validate(next),
    ...(rules.validateUpdate?.(next, stored) ?? []),
  ];
  if (errors.length > 0) throw invalid(info, stored.metadata.name, errors);
  if (rules.countsGenerations && JSON.stringify(next.spec) !== JSON.stringify(stored.spec)) {
    next.metadata.generation = (generation ?? 0) + 1;
  }
  return canonical(rules.schema, next);
}

/**
 * The stored object with the status of the body. Its metadata only says what the update is conditional on, so that a
 * writer of statuses needs to know nothing else of the object.
 */
export function prepareStatusUpdate(info: ResourceInfo, decoded: Stored, stored: Stored): Stored {
  checkPreconditions(info, stored, decoded.metadata);
  const rules = KINDS[info.name];
  const object = { ...stored, status: structuredClone(decoded.status ?? {}) };
  rules.setStatusDefaults?.(object);
  const errors = rules.validateStatus?.(object) ?? [];
  if (errors.length > 0) throw invalid(info, stored.metadata.name, errors);
  return canonical(rules.schema, object);
}

/** @throws StatusError (409) when the stored object is not the one that was meant */
export function checkPreconditions(
  info: ResourceInfo,
  stored: Stored,
  wanted: { readonly uid?: string | undefined; readonly resourceVersion?: string | undefined },
): void {
  const { name, uid, resourceVersion } = stored.metadata;
  if (wanted.uid && wanted.uid !== uid) {
    const why = `Precondition failed: UID in precondition: ${wanted.uid}, UID in object meta: ${uid}`;
    throw conflict(info, name, why);
  }
  if (wanted.resourceVersion && wanted.resourceVersion !== resourceVersion) throw conflict(info, name);
}

/** Fields that only the server sets. */
function dropServerFields({ metadata }: KubeObject): void {
  const fields = metadata as Stored["metadata"];
  delete fields.uid;
  delete fields.creationTimestamp;
  delete fields.generation;
  delete fields.deletionTimestamp;
  delete fields.deletionGracePeriodSeconds;
  delete fields.resourceVersion;
  delete fields.selfLink;
  delete fields.managedFields;
}
