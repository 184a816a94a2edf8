/** Objects as the registry keeps them, and their keys and values in the store. */
import type { KeyValue } from "../../store/index.js";
import type { ObjectMeta } from "../objects.js";
import type { ResourceInfo } from "../resources.js";
import { decode, type StructSchema } from "../schema.js";
import { internalError } from "../status.js";
import type { KubeObject } from "../types.js";

/** Metadata without the `readonly` of what only the server sets. */
export type Meta = { -readonly [Field in keyof ObjectMeta]: ObjectMeta[Field] };

export interface Stored extends KubeObject {
  apiVersion: string;
  kind: string;
  metadata: Meta & { name: string };
  spec?: unknown;
  status?: unknown;
}

export function prefixOf(info: ResourceInfo, namespace?: string): string {
  const scope = info.namespaced && namespace !== undefined ? `${namespace}/` : "";
  return `/registry/${info.name}/${scope}`;
}

export function keyOf(info: ResourceInfo, namespace: string | undefined, name: string): string {
  return prefixOf(info, info.namespaced ? (namespace ?? "") : undefined) + name;
}

/** The same object with its fields in the schema's order, so that equal objects have equal JSON. */
export function canonical<T extends KubeObject>(schema: StructSchema, object: T): T {
  return decode(schema, object).value as T;
}

/** The value in the store; the version is not in it, since it is the store's revision of the key. */
export function encode(object: Stored): Uint8Array {
  const { resourceVersion: _, ...metadata } = object.metadata;
  return Buffer.from(JSON.stringify({ ...object, metadata }));
}

/**
 * The object of a key's value, with its version.
 * @throws StatusError (500) that names the key when the value is no object of this name
 */
export function decodeStored(kv: KeyValue): Stored {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(kv.value).toString("utf8"));
  } catch {
    value = undefined;
  }
  if (!isStored(value) || !kv.key.endsWith(`/${value.metadata.name}`)) {
    throw internalError(`the store's key ${kv.key} does not hold an object of that name: delete the key`);
  }
  return withVersion(value, kv.modRevision);
}

function isStored(value: unknown): value is Stored {
  const object = value as Partial<Stored> | null | undefined;
  return (
    typeof object === "object" &&
    object !== null &&
    typeof object.kind === "string" &&
    typeof object.apiVersion === "string" &&
    typeof object.metadata === "object" &&
    object.metadata !== null &&
    typeof object.metadata.name === "string"
  );
}

export function withVersion(object: Stored, revision: number): Stored {
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
}

/** Time as Kubernetes writes it: RFC 3339 with whole seconds. */
export function timestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
