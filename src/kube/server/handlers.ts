/** The verbs on resources. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { KINDS } from "../kinds/index.js";
import { PATCH_TYPES, type Patch, patchOf } from "../patch/index.js";
import type { FieldValidation } from "../registry/admission.js";
import type { Backend } from "../registry/index.js";
import type { ObjectPlace, Written } from "../registry/registry.js";
import { toScale, updateScale } from "../registry/scale.js";
import type { StructSchema } from "../schema.js";
import { SCALE } from "../schemas/core.js";
import { methodNotAllowed } from "../status.js";
import { type KubeObject, StatusError } from "../types.js";
import { asObject, mediaTypeOf, readBody } from "./body.js";
import { deleteOptions, isTrue, listOptions, writeOptions } from "./query.js";
import type { ResourceRoute } from "./route.js";
import { streamWatch } from "./watchStream.js";

export interface ApiCall {
  readonly backend: Backend;
  readonly route: ResourceRoute;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
}

/** An answer to send; without one, the handler has answered itself. */
export interface Answer {
  readonly code: number;
  readonly body: unknown;
  readonly warnings?: readonly string[];
}

/** Answers a call. @throws StatusError */
export async function handle(call: ApiCall): Promise<Answer | undefined> {
  const { name, subresource } = call.route;
  if (name === undefined) return handleCollection(call);
  const place = placeOf(call.route, name);
  if (subresource === "scale") return { code: 200, body: await handleScale(call, place) };
  switch (call.request.method) {
    case "GET":
      // Watching one object by its path is the same as by its name.
      if (!isTrue(call.query.get("watch")))
        return { code: 200, body: await call.backend.registry.get(place) };
      return watch(call, `metadata.name=${name}`);
    case "PUT": {
      const validation = writeOptions(call.query);
      const body = asObject(await readBody(call.request));
      return written(200, await call.backend.registry.update(place, body, validation, subresource));
    }
    case "PATCH":
      return written(200, await patch(call, place));
    case "DELETE":
      if (subresource !== undefined) throw methodNotAllowed();
      return remove(call, place);
    default:
      throw methodNotAllowed();
  }
}

async function handleCollection(call: ApiCall): Promise<Answer | undefined> {
  const { backend, route, query, request } = call;
  const { info, namespace } = route;
  switch (request.method) {
    case "GET":
      if (isTrue(query.get("watch"))) return watch(call);
      return { code: 200, body: await backend.registry.list(info.name, listOptions(query, namespace)) };
    case "POST": {
      // An object of a namespace is created in that namespace's path.
      if (info.namespaced && namespace === undefined) throw methodNotAllowed();
      const validation = writeOptions(query);
      const body = asObject(await readBody(request));
      return written(201, await backend.registry.create(info.name, namespace, body, validation));
    }
    case "DELETE": {
      if (info.namespaced && namespace === undefined) throw methodNotAllowed();
      const options = deleteOptions(query, await readBody(request));
      const chosen = listOptions(query, namespace);
      return { code: 200, body: await backend.registry.deleteCollection(info.name, chosen, options) };
    }
    default:
      throw methodNotAllowed();
  }
}

async function watch(call: ApiCall, fieldSelector?: string): Promise<undefined> {
  const { backend, route, query, response } = call;
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const options = {
    ...listOptions(query, route.namespace),
    ...(fieldSelector ? { fieldSelector } : {}),
    signal: gone.signal,
  };
  await streamWatch(await backend.watches.open(route.info.name, options), response);
  return undefined;
}

async function remove({ backend, route, query, request }: ApiCall, place: ObjectPlace): Promise<Answer> {
  const options = deleteOptions(query, await readBody(request));
  const { object, removed } = await backend.registry.delete(place, options);
  if (!removed) return { code: 200, body: object };
  const { group, name: kind } = route.info;
  const { name, uid } = object.metadata;
  const details = { name, ...(group === "" ? {} : { group }), kind, uid };
  return {
    code: 200,
    body: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details },
  };
}

/** Tries of a patch that names no version, when others write at the same time. */
const PATCH_TRIES = 10;

async function patch(call: ApiCall, place: ObjectPlace): Promise<Written> {
  const { backend, route, query } = call;
  const validation: FieldValidation = writeOptions(query);
  const change = await readPatch(call.request, KINDS[route.info.name].schema);
  const subresource = route.subresource === "status" ? "status" : undefined;
  for (let tries = 1; ; tries++) {
    const stored = await backend.registry.get(place);
    const patched = asObject(change(stored)) as KubeObject;
    try {
      return await backend.registry.update(place, patched, validation, subresource);
    } catch (error) {
      const lost = error instanceof StatusError && error.status.reason === "Conflict";
      // A patch that names a version is about that one alone.
      const own = patched.metadata?.resourceVersion !== stored.metadata.resourceVersion;
      if (!lost || own || tries === PATCH_TRIES) throw error;
    }
  }
}

async function readPatch(request: IncomingMessage, schema: StructSchema): Promise<Patch> {
  const body = await readBody(request, Object.values(PATCH_TYPES));
  return patchOf(mediaTypeOf(request), body, schema);
}

async function handleScale({ backend, request, query }: ApiCall, place: ObjectPlace): Promise<unknown> {
  switch (request.method) {
    case "GET":
      return toScale(await backend.registry.get(place));
    case "PUT": {
      writeOptions(query);
      const body = asObject(await readBody(request));
      return updateScale(backend.registry, place, () => body);
    }
    case "PATCH": {
      writeOptions(query);
      return updateScale(backend.registry, place, await readPatch(request, SCALE));
    }
    default:
      throw methodNotAllowed();
  }
}

function placeOf({ info, namespace }: ResourceRoute, name: string): ObjectPlace {
  return { resource: info.name, namespace, name };
}

function written(code: number, { object, warnings }: Written): Answer {
  return { code, body: object, warnings };
}
