/** JSON patch (RFC 6902): a list of operations on places that JSON pointers (RFC 6901) name. */
import { isDeepStrictEqual } from "node:util";
import { badRequest, failure } from "../status.js";

/** kube-apiserver's (apiserver pkg/endpoints/handlers/patch.go). */
const MAX_OPERATIONS = 10_000;
/** Of what is copied, in JSON: each copy may be of the one before, twice as large. As large as a body may be. */
const MAX_COPIED = 3 * 1024 * 1024;

interface Step {
  readonly op: unknown;
  readonly path: unknown;
  readonly from?: unknown;
  readonly value?: unknown;
}

/**
 * The document with all operations done; the document itself stays as it is.
 * @throws StatusError (400) for a malformed patch, (413) for one of too many operations or copies, (422) when an operation
 * does not fit the document or a test fails
 */
export function jsonPatch(document: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest("a JSON patch must be a list of operations");
  if (patch.length > MAX_OPERATIONS)
    throw tooLarge(
      `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${patch.length}`,
    );
  let copied = 0;
  const copy = (value: unknown) => {
    copied += JSON.stringify(value).length;
    if (copied > MAX_COPIED) throw tooLarge(`a JSON patch may copy ${MAX_COPIED} characters in all`);
    return value;
  };
  return patch.reduce((present: unknown, step: unknown) => applyStep(present, asStep(step), copy), document);
}

function tooLarge(why: string): Error {
  return failure(413, "RequestEntityTooLarge", why);
}

function asStep(step: unknown): Step {
  if (typeof step !== "object" || step === null) throw badRequest("a JSON patch operation must be an object");
  return step as Step;
}

function applyStep(
  document: unknown,
  { op, path, from, value }: Step,
  copy: (value: unknown) => unknown,
): unknown {
  const at = pointer(path, "path");
  switch (op) {
    case "add":
      return edit(document, at, (place) => place.insert(value));
    case "remove":
      return edit(document, at, (place) => place.remove());
    case "replace":
      return edit(document, at, (place) => place.replace(value));
    case "test":
      if (!isDeepStrictEqual(lookUp(document, at), value)) throw misfit(`testing path ${path} failed`);
      return document;
    case "copy":
      return edit(document, at, (place) => place.insert(copy(lookUp(document, pointer(from, "from")))));
    case "move": {
      const source = pointer(from, "from");
      const moved = lookUp(document, source);
      const without = edit(document, source, (place) => place.remove());
      return edit(without, at, (place) => place.insert(moved));
    }
    default:
      throw badRequest(`a JSON patch has no operation ${JSON.stringify(op)}`);
  }
}

function misfit(why: string): Error {
  return failure(422, "Invalid", `the server rejected our request due to an error in our request: ${why}`);
}

function pointer(text: unknown, field: string): string[] {
  if (typeof text !== "string" || (text !== "" && !text.startsWith("/")))
    throw badRequest(
      `${field} of a JSON patch operation must be a JSON pointer, such as /metadata/labels/app`,
    );
  const parts = text.split("/").slice(1);
  return parts.map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function lookUp(document: unknown, path: readonly string[]): unknown {
  return path.reduce((value: unknown, part) => {
    const found = Array.isArray(value) ? value[indexOf(part, value.length - 1)] : entries(value).get(part);
    if (found === undefined) throw misfit(`nothing is at ${part}`);
    return found;
  }, document);
}

/** What can be done at the end of a pointer; each gives the new parent. */
interface Place {
  insert(value: unknown): unknown;
  replace(value: unknown): unknown;
  remove(): unknown;
}

/** The document with the parent of the last part edited. */
function edit(document: unknown, path: readonly string[], change: (place: Place) => unknown): unknown {
  const [part, ...rest] = path;
  if (part === undefined) {
    // The whole document: to insert it is to replace it.
    const replace = (value: unknown) => value;
    return change({ insert: replace, replace, remove: () => null });
  }
  if (rest.length === 0)
    return change(Array.isArray(document) ? listPlace(document, part) : mapPlace(document, part));
  const child = lookUp(document, [part]);
  const edited = edit(child, rest, change);
  return Array.isArray(document)
    ? document.with(indexOf(part, document.length - 1), edited)
    : mapPlace(document, part).replace(edited);
}

function listPlace(list: readonly unknown[], part: string): Place {
  const index = (last: number) => indexOf(part, last);
  return {
    insert: (value) => (part === "-" ? [...list, value] : list.toSpliced(index(list.length), 0, value)),
    replace: (value) => list.with(index(list.length - 1), value),
    remove: () => list.toSpliced(index(list.length - 1), 1),
  };
}

function mapPlace(map: unknown, key: string): Place {
  const present = entries(map);
  const existing = () => {
    if (!present.has(key)) throw misfit(`nothing is at ${key}`);
    return present;
  };
  return {
    insert: (value) => Object.fromEntries(present.set(key, value)),
    replace: (value) => Object.fromEntries(existing().set(key, value)),
    remove: () => {
      existing().delete(key);
      return Object.fromEntries(present);
    },
  };
}

function entries(value: unknown): Map<string, unknown> {
  if (typeof value !== "object" || value === null)
    throw misfit("a part of the path is neither object nor list");
  return new Map(Object.entries(value));
}

function indexOf(part: string, last: number): number {
  const index = Number(part);
  if (/^(0|[1-9]\d*)$/.test(part) && index <= last) return index;
  throw misfit(`index ${part} is out of bounds`);
}
