/**
 * Who may ask what. The lab's own token opens everything. A service account's reads everything and writes in its own
 * namespace: less than a cluster administrator, more than Kubernetes' default; there is no RBAC.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { readToken, type ServiceAccount, userName } from "../serviceAccount.js";
import { failure } from "../status.js";
import type { StatusError } from "../types.js";
import type { ResourceRoute } from "./route.js";

/** What requests of a listener may bear; without either they need nothing. */
export interface AccessOptions {
  readonly token?: string | undefined;
  /** The key that service accounts' tokens are signed with. */
  readonly accountKey?: string | undefined;
}

/** Who asks: a service account, or undefined for who may do everything. @throws StatusError (401) */
export function authenticate(
  request: IncomingMessage,
  { token, accountKey }: AccessOptions,
): ServiceAccount | undefined {
  if (token === undefined && accountKey === undefined) return undefined;
  const [, given = ""] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "") ?? [];
  if (token !== undefined && isSame(given, token)) return undefined;
  const account = accountKey === undefined ? undefined : readToken(given, accountKey);
  if (account === undefined) throw failure(401, "Unauthorized", "Unauthorized");
  return account;
}

/** In constant time, whatever is sent. */
function isSame(given: string, token: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}

const VERBS: Readonly<Record<string, string>> = {
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

/** @throws StatusError (403) in Kubernetes' words when a service account may not do it */
export function authorize(account: ServiceAccount, method: string, route: ResourceRoute): void {
  if (method === "GET" || method === "HEAD" || route.namespace === account.namespace) return;
  const { info, name, namespace, subresource } = route;
  const verb = method === "DELETE" && name === undefined ? "deletecollection" : (VERBS[method] ?? method);
  const what = `resource "${info.name}${subresource ? `/${subresource}` : ""}" in API group "${info.group}"`;
  const where = namespace === undefined ? "at the cluster scope" : `in the namespace "${namespace}"`;
  const whole = name === undefined ? info.name : `${info.name} "${name}"`;
  throw failure(
    403,
    "Forbidden",
    `${whole} is forbidden: User "${userName(account)}" cannot ${verb} ${what} ${where}`,
  );
}

/** Of a path that is no resource's. */
export function forbiddenPath(account: ServiceAccount, method: string, path: string): StatusError {
  const message = `forbidden: User "${userName(account)}" cannot ${method.toLowerCase()} path "${path}"`;
  return failure(403, "Forbidden", message);
}
