/**
 * The API as an OpenAPI 2.0 document, at Kubernetes' path /openapi/v2: made of the very tables and schemas by which requests
 * are routed and objects are decoded, so it cannot say anything else than what the server does.
 */
import { KINDS } from "../kinds/index.js";
import { RESOURCES, type ResourceInfo } from "../resources.js";
import type { Schema, StructSchema } from "../schema.js";
import { SCALE } from "../schemas/core.js";
import { LABEL_SELECTOR, OBJECT_META } from "../schemas/meta.js";
import { VERSION } from "./discovery.js";

type Json = Readonly<Record<string, unknown>>;

const META = "io.k8s.apimachinery.pkg.apis.meta.v1";
const JSON_TYPE = "application/json";
const PATCH_TYPES = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
];
const QUERY = (name: string, type = "string"): Json => ({ name, in: "query", type, uniqueItems: true });
const LIST_QUERY = ["labelSelector", "fieldSelector", "continue", "resourceVersion"].map((name) =>
  QUERY(name),
);
const WRITE_QUERY = [QUERY("fieldValidation"), QUERY("fieldManager")];

/** Definitions under their names in Kubernetes' own document. */
class Definitions {
  readonly all: Record<string, Json> = {};
  readonly #structs = new Map<string, StructSchema>();

  /** A reference to the struct's definition; of two of one name, the later one is written out where it is used. */
  of(schema: StructSchema, home: string, more: Json = {}): Json {
    const isMeta = [OBJECT_META.name, LABEL_SELECTOR.name].includes(schema.name);
    const name = `${isMeta ? META : home}.${schema.name}`;
    const known = this.#structs.get(name);
    if (known !== undefined && known !== schema) return this.#body(schema, home);
    if (known === undefined) {
      this.#structs.set(name, schema);
      this.all[name] = { ...this.#body(schema, home), ...more };
    }
    return { $ref: `#/definitions/${name}` };
  }

  #body(schema: StructSchema, home: string): Json {
    const properties = Object.entries(schema.fields).map(([field, type]) => [field, this.#type(type, home)]);
    return { type: "object", properties: Object.fromEntries(properties) };
  }

  #type(schema: Schema, home: string): Json {
    switch (schema.type) {
      case "struct":
        return this.of(schema, home);
      case "list":
        return { type: "array", items: this.#type(schema.items, home), ...mergeRule(schema.mergeKey) };
      case "map":
        return { type: "object", additionalProperties: this.#type(schema.values, home) };
      case "int32":
      case "int64":
        return { type: "integer", format: schema.type };
      case "intOrString":
        return { type: "string", format: "int-or-string" };
      case "time":
        return { type: "string", format: "date-time" };
      case "any":
        return {};
      default:
        return { type: schema.type };
    }
  }
}

/** How a strategic merge patch treats a list. */
function mergeRule(mergeKey: string | undefined): Json {
  if (mergeKey === undefined) return {};
  const key = mergeKey === "" ? {} : { "x-kubernetes-patch-merge-key": mergeKey };
  return { ...key, "x-kubernetes-patch-strategy": "merge" };
}

/** `networking.k8s.io` is `io.k8s.api.networking.v1` there. */
function homeOf(group: string): string {
  return `io.k8s.api.${group === "" ? "core" : group.split(".")[0]}.v1`;
}

/** Operations on one resource. */
class ResourcePaths {
  readonly #info: ResourceInfo;
  readonly #object: Json;
  readonly #list: Json;
  readonly #scale: Json;

  constructor(info: ResourceInfo, definitions: Definitions) {
    this.#info = info;
    const home = homeOf(info.group);
    const { group, version, kind, listKind } = info;
    const kindOf = (name: string) => ({
      "x-kubernetes-group-version-kind": [{ group, version, kind: name }],
    });
    this.#object = definitions.of(KINDS[info.name].schema, home, kindOf(kind));
    this.#scale = definitions.of(SCALE, "io.k8s.api.autoscaling.v1");
    const properties = {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object", properties: { resourceVersion: { type: "string" } } },
      items: { type: "array", items: this.#object },
    };
    definitions.all[`${home}.${listKind}`] = { type: "object", properties, ...kindOf(listKind) };
    this.#list = { $ref: `#/definitions/${home}.${listKind}` };
  }

  all(): [path: string, item: Json][] {
    const { apiVersion, group, name, namespaced, subresources } = this.#info;
    const root = group === "" ? "/api/v1" : `/apis/${apiVersion}`;
    const collection = namespaced ? `${root}/namespaces/{namespace}/${name}` : `${root}/${name}`;
    const list = this.#operation("list", this.#list, LIST_QUERY);
    const post = this.#write("post", this.#object);
    const remove = this.#operation("deletecollection", {}, LIST_QUERY);
    const inNamespace = namespaced ? [pathParameter("namespace")] : [];
    const item = `${collection}/{name}`;
    const parameters = [pathParameter("name"), ...inNamespace];
    const object = { ...this.#readAndWrite(this.#object), delete: this.#operation("delete", {}) };
    return [
      ...(namespaced ? [[`${root}/${name}`, { get: list }] as [string, Json]] : []),
      [collection, { get: list, post, delete: remove, parameters: inNamespace }],
      [item, { ...object, parameters }],
      ...subresources.map((one): [string, Json] => [
        `${item}/${one}`,
        { ...this.#readAndWrite(one === "scale" ? this.#scale : this.#object), parameters },
      ]),
    ];
  }

  #readAndWrite(schema: Json): Json {
    const patch = { ...this.#write("patch", { type: "object" }), consumes: PATCH_TYPES };
    return { get: this.#operation("get", schema), put: this.#write("put", schema), patch };
  }

  #write(action: string, schema: Json): Json {
    return this.#operation(action, schema, [
      { name: "body", in: "body", required: true, schema },
      ...WRITE_QUERY,
    ]);
  }

  #operation(action: string, schema: Json, parameters: readonly Json[] = []): Json {
    const { group, version, kind } = this.#info;
    return {
      consumes: [JSON_TYPE],
      produces: [JSON_TYPE],
      parameters,
      responses: { 200: { description: "OK", schema } },
      "x-kubernetes-action": action,
      "x-kubernetes-group-version-kind": { group, version, kind },
    };
  }
}

function pathParameter(name: string): Json {
  return { name, in: "path", required: true, type: "string", uniqueItems: true };
}

let document: Json | undefined;

/** The document, made once. */
export function openApiDocument(): Json {
  document ??= makeDocument();
  return document;
}

function makeDocument(): Json {
  const definitions = new Definitions();
  const paths = RESOURCES.flatMap((info) => new ResourcePaths(info, definitions).all());
  return {
    swagger: "2.0",
    info: { title: "Kubernetes", version: VERSION.gitVersion },
    paths: Object.fromEntries(paths),
    definitions: definitions.all,
  };
}
