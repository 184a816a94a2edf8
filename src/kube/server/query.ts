/** Options of requests from query strings and DeleteOptions bodies. */
import type { FieldValidation } from "../registry/admission.js";
import type { WatchRequest } from "../registry/watches.js";
import { boolean, decode, int64, string, strings, struct } from "../schema.js";
import { badRequest, failure } from "../status.js";
import type { DeleteOptions } from "../types.js";

/** Options of list and watch. @throws StatusError (400) */
export function listOptions(query: URLSearchParams, namespace: string | undefined): WatchRequest {
  const text = (name: string) => (query.get(name) ? { [name]: query.get(name) } : {});
  const number = (name: string) => (query.get(name) ? { [name]: parseNumber(name, query.get(name)!) } : {});
  const flag = (name: string) => (isTrue(query.get(name)) ? { [name]: true } : {});
  return {
    ...(namespace === undefined ? {} : { namespace }),
    ...text("labelSelector"),
    ...text("fieldSelector"),
    ...text("continue"),
    ...text("resourceVersion"),
    ...number("limit"),
    ...number("timeoutSeconds"),
    ...flag("allowWatchBookmarks"),
    ...flag("sendInitialEvents"),
  };
}

/** As Go's strconv.ParseBool has it, and an empty value means yes. */
export function isTrue(value: string | null): boolean {
  return value !== null && !["0", "f", "false", "F", "FALSE", "False"].includes(value);
}

function parseNumber(name: string, text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw badRequest(`${name}: Invalid value: ${JSON.stringify(text)}: must be a whole number, 0 or more`);
  return value;
}

const VALIDATIONS: readonly FieldValidation[] = ["Strict", "Warn", "Ignore"];

/** Kubernetes' default is to warn. @throws StatusError (400, 422) */
export function writeOptions(query: URLSearchParams): FieldValidation {
  refuseDryRun(query.getAll("dryRun").length > 0);
  const asked = query.get("fieldValidation") || "Warn";
  const validation = VALIDATIONS.find((one) => one === asked);
  if (validation !== undefined) return validation;
  const message = `fieldValidation: Unsupported value: "${asked}": supported values: "Ignore", "Strict", "Warn"`;
  throw failure(422, "Invalid", message);
}

/** Doing it for real would be the worst answer to somebody who only asks what would happen. */
function refuseDryRun(asked: boolean): void {
  if (asked) throw badRequest("dryRun is not supported by this server");
}

const DELETE_OPTIONS = struct("DeleteOptions", {
  apiVersion: string,
  kind: string,
  gracePeriodSeconds: int64,
  preconditions: struct("Preconditions", { uid: string, resourceVersion: string }),
  orphanDependents: boolean,
  propagationPolicy: string,
  dryRun: strings,
});

/** The body wins over the query. @throws StatusError (400, 422) */
export function deleteOptions(query: URLSearchParams, body: unknown): DeleteOptions {
  const decoded = decode(DELETE_OPTIONS, body ?? {}).value as DeleteOptions & { dryRun?: string[] };
  const grace = query.get("gracePeriodSeconds");
  const orphan = (decoded as { orphanDependents?: boolean }).orphanDependents ? "Orphan" : "Background";
  const policy = decoded.propagationPolicy ?? query.get("propagationPolicy") ?? orphan;
  refuseDryRun(query.getAll("dryRun").length > 0 || (decoded.dryRun ?? []).length > 0);
  const { preconditions, gracePeriodSeconds = grace ? parseNumber("gracePeriodSeconds", grace) : undefined } =
    decoded;
  return {
    ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
    ...(preconditions === undefined ? {} : { preconditions }),
    propagationPolicy: policy as NonNullable<DeleteOptions["propagationPolicy"]>,
  };
}
