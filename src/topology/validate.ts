/** Holds a source against a zod schema and says in our own words what is wrong, and where. */
import { z } from "zod";
import { hint, type Path, type Problem } from "./errors.js";
import { type Source, valueAt } from "./source.js";

type Issue = z.core.$ZodIssue;

/** The parsed value, or undefined after adding what is wrong to the problems. */
export function validate<T>(source: Source, schema: z.ZodType<T>, problems: Problem[]): T | undefined {
  const result = schema.safeParse(source.value);
  if (result.success) return result.data;
  for (const issue of result.error.issues) problems.push(...issueProblems(source, schema, issue));
  return undefined;
}

function issueProblems(source: Source, schema: z.ZodType, issue: Issue): Problem[] {
  const path = issue.path as Path;
  if (issue.code === "unrecognized_keys") {
    const known = fieldsAt(schema, path);
    return issue.keys.map((key) => {
      const place = [...path, key];
      return source.problem(
        place,
        `unknown field${hint(key, known) || fieldList(known)}`,
        source.locateKey(place),
      );
    });
  }
  return [source.problem(path, issueText(issue, valueAt(source.value, path)))];
}

/** The fields of a small map; a long list would hide the message. */
function fieldList(known: readonly string[]): string {
  return known.length <= 10 ? `; known are ${known.join(", ")}` : "; check its spelling and its indentation";
}

function issueText(issue: Issue, value: unknown): string {
  if (value === undefined) {
    const expected = issue.code === "invalid_type" ? (EXPECTED[issue.expected] ?? issue.expected) : "a value";
    return `missing; add it (${expected})`;
  }
  switch (issue.code) {
    case "invalid_type":
      return `expected ${EXPECTED[issue.expected] ?? issue.expected}, found ${describe(value)}${quoteHint(issue.expected, value)}`;
    case "invalid_value":
      return `${describe(value)} is not one of ${issue.values.join(", ")}${hint(String(value), issue.values.map(String))}`;
    case "too_small":
      return `${amount(issue.origin, value)}; must be at least ${issue.minimum}`;
    case "too_big":
      return `${amount(issue.origin, value)}; must be at most ${issue.maximum}`;
    default:
      return `${describe(value)} ${issue.message}`;
  }
}

const EXPECTED: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "a map",
  record: "a map",
  array: "a list",
};

function quoteHint(expected: string, value: unknown): string {
  return expected === "string" && (typeof value === "number" || typeof value === "boolean")
    ? "; put it in quotes"
    : "";
}

function amount(origin: string, value: unknown): string {
  if (origin === "array") return `${(value as unknown[]).length} entries`;
  if (origin === "string") return `${(value as string).length} characters`;
  return String(value);
}

/** A value in an error: its text, shortened, or what it is. */
function describe(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "a map";
  const text = JSON.stringify(value) ?? String(value);
  const short = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return typeof value === "number" || typeof value === "boolean" ? `the ${typeof value} ${short}` : short;
}

/** Field names that the schema knows at a path. */
function fieldsAt(schema: z.core.$ZodType, path: Path): string[] {
  let inner = unwrap(schema);
  for (const part of path) {
    if (inner instanceof z.ZodObject) inner = unwrap(inner.shape[part] ?? z.unknown());
    else if (inner instanceof z.ZodArray) inner = unwrap(inner.element);
    else if (inner instanceof z.ZodRecord) inner = unwrap(inner.valueType);
  }
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : [];
}

function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
    inner = inner.def.innerType;
  }
  return inner;
}
