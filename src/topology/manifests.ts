/** Manifests: documents to objects of known kinds, Lists expanded. */
import { readFileSync } from "node:fs";
import { hint, type Problem, TopologyError } from "./errors.js";
import { KINDS, type Kind } from "./kinds/index.js";
import { checkObjects, type ImagePolicy } from "./objects.js";
import { parseSources, type Source, valueAt } from "./source.js";
import type { ManifestObject, ManifestPlan } from "./types.js";
import { validate } from "./validate.js";

/** An object with its source, while it is being checked. */
export interface Manifest extends ManifestPlan {
  readonly kind: Kind;
  readonly source: Source;
}

export interface ManifestOptions {
  /** What `-` stands for. */
  readonly stdin?: string;
  /** For objects that name none. */
  readonly namespace?: string;
}

/**
 * Reads the manifests of one file, as `apply -f` does; `-` is standard input.
 * Namespaces, Service addresses and node ports are left to the API server, which knows those in use.
 * @throws TopologyError with all problems
 */
export function loadManifests(
  path: string,
  images: ImagePolicy,
  options: ManifestOptions = {},
): ManifestPlan[] {
  const problems: Problem[] = [];
  const text = path === "-" ? (options.stdin ?? "") : readText(path);
  const sources = parseSources(path === "-" ? "standard input" : path, text);
  const manifests = sources.flatMap((source) =>
    readObjects(source, options.namespace ?? "default", problems),
  );
  checkObjects(manifests, { images }, problems);
  if (problems.length > 0) throw new TopologyError(problems);
  return manifestPlans(manifests);
}

/** Without what served the checks; Namespaces first, because the others need them. */
export function manifestPlans(manifests: readonly Manifest[]): ManifestPlan[] {
  const isNamespace = (manifest: Manifest) => manifest.object.kind === "Namespace";
  const ordered = [
    ...manifests.filter(isNamespace),
    ...manifests.filter((manifest) => !isNamespace(manifest)),
  ];
  return ordered.map(({ object, position }) => ({ object, position }));
}

/** A file's text. @throws TopologyError that names the file */
export function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new TopologyError([{ file, line: 1, column: 1, path: "", message: unreadable(error) }]);
  }
}

/** Why a file could not be read, and what to do. */
export function unreadable(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOENT") return "no such file; check the path";
  if (code === "EISDIR") return "is a directory; name a file in it";
  return `cannot be read (${code ?? String(error)}); check its permissions`;
}

/** The objects of one document: itself, or the items of a v1 List. Bad ones are reported and left out. */
export function readObjects(source: Source, namespace: string, problems: Problem[]): Manifest[] {
  const value = source.value as { apiVersion?: unknown; kind?: unknown; items?: unknown };
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    problems.push(
      source.problem([], "expected a Kubernetes object: a map with apiVersion, kind and metadata"),
    );
    return [];
  }
  if (value.kind === "List" && value.apiVersion === "v1") {
    if (Array.isArray(value.items)) {
      return value.items.flatMap((_, index) =>
        readObjects(source.part(["items", index]), namespace, problems),
      );
    }
    problems.push(source.problem(["items"], "expected a list of objects"));
    return [];
  }
  const manifest = readObject(source, namespace, problems);
  return manifest ? [manifest] : [];
}

function readObject(source: Source, namespace: string, problems: Problem[]): Manifest | undefined {
  const kind = kindOf(source, problems);
  if (!kind || validate(source, kind.schema, problems) === undefined) return undefined;
  // The object as it was written, not as zod copied it: the order of the fields stays.
  const written = source.value as ManifestObject;
  const metadata = {
    ...written.metadata,
    ...(kind.namespaced && { namespace: written.metadata.namespace ?? namespace }),
  };
  return { object: { ...written, metadata }, position: source.locate([]), kind, source };
}

function kindOf(source: Source, problems: Problem[]): Kind | undefined {
  const missing = ["apiVersion", "kind"].filter(
    (field) => typeof valueAt(source.value, [field]) !== "string",
  );
  if (missing.length > 0) {
    for (const field of missing)
      problems.push(source.problem([field], "missing; every object names its apiVersion and kind"));
    return undefined;
  }
  const { apiVersion, kind: name } = source.value as { apiVersion: string; kind: string };
  const kind = KINDS.find((candidate) => candidate.kind === name);
  if (!kind) {
    const names = KINDS.map((candidate) => candidate.kind);
    const text = `unknown kind "${name}"${hint(name, names) || `; supported are ${names.join(", ")}`}`;
    problems.push(source.problem(["kind"], text));
  } else if (kind.apiVersion !== apiVersion) {
    problems.push(
      source.problem(["apiVersion"], `unknown apiVersion "${apiVersion}" of ${name}; use ${kind.apiVersion}`),
    );
    return undefined;
  }
  return kind;
}
