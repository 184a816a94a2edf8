/** Reading JSON that flannel's Go programs and people write: field names match in any case, as in Go's encoding/json. */

/** Fields of an object under lower-case names. */
export type Fields = ReadonlyMap<string, unknown>;

/** Fields of a JSON object; undefined when the value is something else. */
export function fieldsOf(value: unknown): Fields | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return new Map(Object.entries(value).map(([name, field]) => [name.toLowerCase(), field]));
}

/** Fields of the JSON object in the text; undefined when the text is something else. */
export function parseFields(text: string): Fields | undefined {
  try {
    return fieldsOf(JSON.parse(text));
  } catch {
    return undefined;
  }
}
