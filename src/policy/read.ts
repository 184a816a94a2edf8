/** Reading values of objects that came as JSON: their declared types are a promise, not a fact. */

/** Told about every part of an object that makes no sense: one sentence. */
export type InvalidHandler = (message: string) => void;

export type Labels = Readonly<Record<string, unknown>>;

/** The value as an object to look into; undefined when it is anything else. */
export function recordOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** The value as an object to look into; an empty one when it is anything else. */
export function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return recordOf(value) ?? {};
}

/** The value as a list; an empty one when it is anything else. */
export function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The value as a string; an empty one when it is anything else. */
export function asString(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** `namespace/name`; undefined when either is missing. */
export function keyOf(metadata: unknown): string | undefined {
  const { namespace, name } = asRecord(metadata);
  return asString(namespace) === "" || asString(name) === "" ? undefined : `${namespace}/${name}`;
}

/** Whether the value can be a port number (1 to 65535). */
export function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65535;
}

/** IP protocol numbers of the protocols that ports may name (IANA protocol numbers). */
export const PROTOCOL_NUMBERS: ReadonlyMap<unknown, number> = new Map([
  ["TCP", 6],
  ["UDP", 17],
  ["SCTP", 132],
]);
