/** Patches of all media types as one function each from the stored object to the wanted one. */
import type { StructSchema } from "../schema.js";
import { badRequest } from "../status.js";
import { jsonPatch } from "./jsonPatch.js";
import { mergePatch } from "./mergePatch.js";
import { strategicPatch } from "./strategicPatch.js";

/** Media types of patches; server-side apply (`application/apply-patch+yaml`) is none of them. */
export const PATCH_TYPES = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
} as const;

/** What a patch makes of an object. @throws StatusError (400, 422) */
export type Patch = (object: unknown) => unknown;

/** @throws StatusError (400) when a merge patch is no object */
export function patchOf(type: string, body: unknown, schema: StructSchema): Patch {
  if (type === PATCH_TYPES.json) return (object) => jsonPatch(object, body);
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw badRequest("the body of the request must be a JSON object");
  if (type === PATCH_TYPES.merge) return (object) => mergePatch(object, body);
  return (object) => strategicPatch(schema, object, body);
}
