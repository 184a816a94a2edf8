/**
 * Strategic merge patch: as a JSON merge patch, but lists whose elements have a name are merged by it
 * (apimachinery pkg/util/strategicpatch). The schema says which lists those are.
 */
import { any, type Schema } from "../schema.js";
import { badRequest } from "../status.js";

const DIRECTIVE = "$patch";
const RETAIN_KEYS = "$retainKeys";
const ORDER = "$setElementOrder/";
const DELETE_FROM = "$deleteFromPrimitiveList/";
/** In the place of an element that a patch deletes. */
const GONE = Symbol("gone");

type Fields = Record<string, unknown>;

/**
 * The target with the patch applied; the target stays as it is.
 * @throws StatusError (400) for an unknown directive or an element without its key
 */
export function strategicPatch(schema: Schema, target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return patch;
  const directive = patch[DIRECTIVE];
  if (directive === "replace") return withoutDirectives(patch);
  if (directive === "delete") return {};
  if (directive !== undefined && directive !== "merge")
    throw badRequest(`unknown patch directive ${directive}`);
  const merged = new Map(Object.entries(isFields(target) ? target : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith("$")) continue;
    if (value === null) merged.delete(key);
    else merged.set(key, mergeField(fieldSchema(schema, key), merged.get(key), value));
  }
  for (const [key, value] of Object.entries(patch)) applyDirective(schema, merged, key, value);
  return Object.fromEntries(merged);
}

function mergeField(schema: Schema, present: unknown, value: unknown): unknown {
  if (!Array.isArray(value)) return strategicPatch(schema, present, value);
  if (schema.type !== "list" || schema.mergeKey === undefined) return value.map(withoutDirectives);
  const list = Array.isArray(present) ? present : [];
  if (schema.mergeKey === "") return [...new Set([...list, ...value])];
  return mergeByKey(schema.items, schema.mergeKey, list, value);
}

function mergeByKey(
  items: Schema,
  key: string,
  present: readonly unknown[],
  patch: readonly unknown[],
): unknown[] {
  const directiveOf = (element: unknown) => (isFields(element) ? element[DIRECTIVE] : undefined);
  const replaces = patch.some((element) => directiveOf(element) === "replace");
  const merged: unknown[] = replaces ? [] : [...present];
  // Lists may be as long as a body is; to look through one for each element of the other would take minutes.
  const places = new Map<unknown, number[]>();
  for (const [index, one] of merged.entries()) {
    if (!isFields(one)) continue;
    const same = places.get(one[key]);
    if (same) same.push(index);
    else places.set(one[key], [index]);
  }
  for (const element of patch) {
    if (!isFields(element))
      throw badRequest(`an element of a list that is merged by ${key} must be an object`);
    const directive = element[DIRECTIVE];
    if (directive === "replace" && Object.keys(element).length === 1) continue;
    const name = element[key];
    if (name === undefined)
      throw badRequest(`map: ${JSON.stringify(element)} does not contain declared merge key: ${key}`);
    const same = places.get(name) ?? [];
    if (directive === "delete") {
      for (const index of same) merged[index] = GONE;
      places.delete(name);
    } else if (same.length === 0) places.set(name, [merged.push(withoutDirectives(element)) - 1]);
    else for (const index of same) merged[index] = strategicPatch(items, merged[index], element);
  }
  return merged.filter((one) => one !== GONE);
}

function applyDirective(schema: Schema, merged: Map<string, unknown>, key: string, value: unknown): void {
  if (key === RETAIN_KEYS && Array.isArray(value)) {
    for (const name of merged.keys()) if (!value.includes(name)) merged.delete(name);
  }
  if (!Array.isArray(value)) return;
  const field = key.slice(key.indexOf("/") + 1);
  const list = merged.get(field);
  if (!Array.isArray(list)) return;
  if (key.startsWith(DELETE_FROM))
    merged.set(
      field,
      list.filter((one) => !value.includes(one)),
    );
  if (key.startsWith(ORDER)) merged.set(field, inOrder(list, value, fieldSchema(schema, field)));
}

/** Elements that the order names stand in that order; each other one stays behind the one that it was behind. */
function inOrder(list: readonly unknown[], order: readonly unknown[], schema: Schema): unknown[] {
  const key = schema.type === "list" ? schema.mergeKey : undefined;
  const nameOf = (one: unknown) => (key && isFields(one) ? one[key] : one);
  const rank = new Map(order.map((one, index) => [nameOf(one), index]));
  const ordered = list.filter((one) => rank.has(nameOf(one)));
  ordered.sort((a, b) => rank.get(nameOf(a))! - rank.get(nameOf(b))!);
  const result = [...ordered];
  for (const [index, one] of list.entries()) {
    if (rank.has(nameOf(one))) continue;
    result.splice(index === 0 ? 0 : result.indexOf(list[index - 1]) + 1, 0, one);
  }
  return result;
}

function fieldSchema(schema: Schema, key: string): Schema {
  if (schema.type === "map") return schema.values;
  if (schema.type !== "struct" || !Object.hasOwn(schema.fields, key)) return any;
  return schema.fields[key]!;
}

function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDirectives);
  if (!isFields(value)) return value;
  const entries = Object.entries(value).filter(([key, one]) => !key.startsWith("$") && one !== null);
  return Object.fromEntries(entries.map(([key, one]) => [key, withoutDirectives(one)]));
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
