/** Reading values of objects that came as JSON: their declared types are a promise, not a fact. */

/** The value as an object to look into; an empty one when it is anything else. */
export function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {};
}

/** The value as a list; an empty one when it is anything else. */
export function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The value as a string; an empty one when it is anything else. */
export function asString(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** Whether the value can be a port number (1 to 65535). */
export function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65535;
}

/** IP protocol numbers of the protocols that Services may name (IANA protocol numbers). */
export const PROTOCOL_NUMBERS: ReadonlyMap<unknown, number> = new Map([
  ["TCP", 6],
  ["UDP", 17],
  ["SCTP", 132],
]);

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
