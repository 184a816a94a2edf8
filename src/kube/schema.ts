/**
 * Decoding of objects: a schema says which fields there are and of what type. What is decoded has its fields in the
 * schema's order and nothing that the schema does not know, so equal objects have equal JSON.
 */
import { badRequest } from "./status.js";

export type Schema =
  | { readonly type: "string" | "boolean" | "int32" | "int64" | "intOrString" | "time" | "any" }
  | ListSchema
  | { readonly type: "map"; readonly values: Schema }
  | StructSchema;

export interface ListSchema {
  readonly type: "list";
  readonly items: Schema;
  /** The field by which a strategic merge patch knows elements; empty where the elements are their own names. */
  readonly mergeKey?: string;
}

export interface StructSchema {
  readonly type: "struct";
  /** Kubernetes' name of the type, for messages. */
  readonly name: string;
  readonly fields: Readonly<Record<string, Schema>>;
}

export const string: Schema = { type: "string" };
export const boolean: Schema = { type: "boolean" };
export const int32: Schema = { type: "int32" };
export const int64: Schema = { type: "int64" };
export const intOrString: Schema = { type: "intOrString" };
export const time: Schema = { type: "time" };
/** Kept as it is: a part that Podwire passes on without a look. */
export const any: Schema = { type: "any" };
export const list = (items: Schema): Schema => ({ type: "list", items });
/** A list that strategic merge patches merge, by this field of its elements. */
export const keyedList = (mergeKey: string, items: Schema): Schema => ({ type: "list", items, mergeKey });
export const map = (values: Schema): Schema => ({ type: "map", values });
export const strings = list(string);
/** A list of texts that strategic merge patches add to. */
export const stringSet = keyedList("", string);
export const stringMap = map(string);
export const struct = (name: string, fields: StructSchema["fields"]): StructSchema => ({
  type: "struct",
  name,
  fields,
});

/** Where a value stands: path from the object, the struct that holds it, and that struct's place. */
interface Place {
  readonly path: string;
  readonly owner: string;
}

export interface Decoded {
  readonly value: Record<string, unknown>;
  /** Paths of the fields that the schema does not know; they are left out of the value. */
  readonly unknownFields: readonly string[];
}

/**
 * Decodes one object.
 * @throws StatusError (400) for a value of a wrong type; the message names the field
 */
export function decode(schema: StructSchema, input: unknown): Decoded {
  const unknownFields: string[] = [];
  const value = decodeValue(schema, input, { path: "", owner: schema.name }, unknownFields);
  return { value: value as Record<string, unknown>, unknownFields };
}

function decodeValue(schema: Schema, input: unknown, place: Place, unknownFields: string[]): unknown {
  switch (schema.type) {
    case "any":
      return input;
    case "struct":
      return decodeStruct(schema, record(input, schema.name, place), place.path, unknownFields);
    case "map":
      return decodeMap(schema.values, record(input, "map", place), place, unknownFields);
    case "list":
      if (!Array.isArray(input)) throw wrongType(input, "[]", place);
      return input.map((item, index) =>
        decodeValue(schema.items, item, { ...place, path: `${place.path}[${index}]` }, unknownFields),
      );
    default:
      return decodeScalar(schema.type, input, place);
  }
}

function decodeStruct(
  schema: StructSchema,
  input: Record<string, unknown>,
  path: string,
  unknownFields: string[],
): Record<string, unknown> {
  const prefix = path === "" ? "" : `${path}.`;
  for (const key of Object.keys(input)) {
    if (!Object.hasOwn(schema.fields, key)) unknownFields.push(`${prefix}${key}`);
  }
  const result: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(schema.fields)) {
    const value = Object.hasOwn(input, key) ? input[key] : undefined;
    // null is Go's zero value, which is the same as a missing field.
    if (value === undefined || value === null) continue;
    result[key] = decodeValue(field, value, { path: prefix + key, owner: schema.name }, unknownFields);
  }
  return result;
}

function decodeMap(
  values: Schema,
  input: Record<string, unknown>,
  place: Place,
  unknownFields: string[],
): Record<string, unknown> {
  const entries = Object.entries(input).sort(([a], [b]) => (a < b ? -1 : 1));
  const decoded = entries.map(([key, value]): [string, unknown] => [
    key,
    decodeValue(values, value ?? "", { ...place, path: `${place.path}.${key}` }, unknownFields),
  ]);
  return Object.fromEntries(decoded);
}

const INT32_MAX = 2 ** 31 - 1;

function decodeScalar(type: string, input: unknown, place: Place): unknown {
  switch (type) {
    case "string":
    case "boolean":
      if (typeof input !== type) throw wrongType(input, type === "boolean" ? "bool" : type, place);
      return input;
    case "time":
      if (typeof input !== "string" || Number.isNaN(Date.parse(input)))
        throw wrongType(input, "v1.Time", place);
      return input;
    case "intOrString":
      if (typeof input === "string") return input;
      return decodeScalar("int32", input, place);
    default:
      if (!Number.isSafeInteger(input) || (type === "int32" && Math.abs(input as number) > INT32_MAX)) {
        throw wrongType(input, type, place);
      }
      return input;
  }
}

function record(input: unknown, type: string, place: Place): Record<string, unknown> {
  if (typeof input !== "object" || input === null || Array.isArray(input))
    throw wrongType(input, type, place);
  return input as Record<string, unknown>;
}

/** In the words of Go's encoding/json. */
function wrongType(input: unknown, type: string, place: Place): Error {
  const found = Array.isArray(input)
    ? "array"
    : typeof input === "number"
      ? Number.isInteger(input) && type !== "string" && type.startsWith("int")
        ? `number ${input}`
        : "number"
      : typeof input === "boolean"
        ? "bool"
        : typeof input;
  const where = place.path === "" ? "Go value" : `Go struct field ${place.owner}.${place.path}`;
  return badRequest(`json: cannot unmarshal ${found} into ${where} of type ${type}`);
}
