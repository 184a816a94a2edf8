/** A YAML or JSON file with positions: values as plain data, and where each of them stands. */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseAllDocuments,
  type YAMLMap,
} from "yaml";
import { type Path, type Problem, pathText, TopologyError } from "./errors.js";
import type { Position } from "./types.js";

/** One document, or a part of one: paths are relative to it. */
export interface Source {
  readonly file: string;
  /** Plain data; null entries of maps are left out, as Kubernetes treats them. */
  readonly value: unknown;
  /** Where the value at the path stands; the nearest thing above it when there is none. */
  locate(path: Path): Position;
  /** Where the key that ends the path stands. */
  locateKey(path: Path): Position;
  problem(path: Path, message: string, at?: Position): Problem;
  /** The part at the path, with its own relative paths. */
  part(path: Path): Source;
}

/**
 * Parses the documents of a file; empty documents are left out.
 * @throws TopologyError for malformed YAML: the first problem of each document
 */
export function parseSources(file: string, text: string): Source[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, merge: true, prettyErrors: false });
  if (!Array.isArray(documents)) return [];
  const problems: Problem[] = [];
  const sources: Source[] = [];
  for (const document of documents as Document.Parsed[]) {
    const [error] = document.errors;
    if (error)
      problems.push({
        ...positionAt({ file, lines }, error.pos[0]),
        path: "",
        message: malformed(error.message),
      });
    else sources.push(documentSource(file, lines, document, problems));
  }
  if (problems.length > 0) throw new TopologyError(problems);
  return sources.filter((source) => source.value !== undefined);
}

/** Parses a file that must hold exactly one document. */
export function parseSource(file: string, text: string): Source {
  const [source, second] = parseSources(file, text);
  const fail = (position: Position, message: string): never => {
    throw new TopologyError([{ ...position, path: "", message }]);
  };
  if (!source)
    return fail({ file, line: 1, column: 1 }, "the file is empty; a topology needs at least name and nodes");
  if (second) fail(second.locate([]), "a second document; a topology is one document, so remove the ---");
  return source;
}

function malformed(message: string): string {
  return `malformed YAML: ${message.split("\n")[0]!.replace(/[.:]$/, "")}`;
}

function documentSource(
  file: string,
  lines: LineCounter,
  document: Document.Parsed,
  problems: Problem[],
): Source {
  const locator: Locator = { file, lines, document };
  return sourceAt(locator, [], withoutNulls(plainValue(locator, problems)));
}

/** The document as plain data. Aliases without an anchor, and too many of them, are found only here. */
function plainValue(locator: Locator, problems: Problem[]): unknown {
  try {
    return locator.document.toJS();
  } catch (error) {
    const message = malformed(error instanceof Error ? error.message : String(error));
    problems.push({ ...locateNode(locator, [], false), path: "", message });
    return undefined;
  }
}

function sourceAt(locator: Locator, base: Path, value: unknown): Source {
  const locate = (path: Path) => locateNode(locator, [...base, ...path], false);
  return {
    file: locator.file,
    value,
    locate,
    locateKey: (path) => locateNode(locator, [...base, ...path], true),
    problem: (path, message, at = locate(path)) => ({ ...at, path: pathText([...base, ...path]), message }),
    part: (path) => sourceAt(locator, [...base, ...path], valueAt(value, path)),
  };
}

/** The value at a path of plain data; undefined when there is none. */
export function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (inner, part) =>
      typeof inner === "object" && inner !== null && Object.hasOwn(inner, part)
        ? (inner as Record<string | number, unknown>)[part]
        : undefined,
    value,
  );
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value ?? undefined;
  const kept = Object.entries(value).filter(([, inner]) => inner !== null);
  return Object.fromEntries(kept.map(([key, inner]) => [key, withoutNulls(inner)]));
}

interface Locator {
  readonly file: string;
  readonly lines: LineCounter;
  readonly document: Document.Parsed;
}

function positionAt({ file, lines }: { file: string; lines: LineCounter }, offset: number): Position {
  const { line, col } = lines.linePos(offset);
  return { file, line: Math.max(1, line), column: Math.max(1, col) };
}

/** Walks down as far as the document goes, through aliases and merged maps; what is missing is where its owner's key is. */
function locateNode(locator: Locator, path: Path, atKey: boolean): Position {
  let node: unknown = locator.document.contents;
  let offset = offsetOf(node) ?? 0;
  let keyOffset = offset;
  let reached = 0;
  for (; reached < path.length; reached++) {
    const container = isAlias(node) ? node.resolve(locator.document) : node;
    const part = path[reached]!;
    const pair = isMap(container) ? findPair(locator, container, String(part)) : undefined;
    node = isSeq(container) ? container.items[Number(part)] : pair?.value;
    if (node === undefined) break;
    offset = offsetOf(node) ?? offset;
    keyOffset = offsetOf(pair?.key) ?? offset;
  }
  const isEmpty = node === null || (isScalar(node) && node.value === null);
  return positionAt(locator, atKey || isEmpty || reached < path.length ? keyOffset : offset);
}

function findPair(locator: Locator, map: YAMLMap, key: string): Pair | undefined {
  const named = (name: string) =>
    map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === name);
  const found = named(key);
  if (found) return found;
  const merged = named("<<")?.value;
  const inner = isAlias(merged) ? merged.resolve(locator.document) : merged;
  return isMap(inner) ? findPair(locator, inner, key) : undefined;
}

function offsetOf(node: unknown): number | undefined {
  return (node as { range?: [number, number, number] | null } | null | undefined)?.range?.[0];
}
