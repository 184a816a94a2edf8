/** The API server: requests of a Unix socket and of TCP ports with bearer tokens, answered from the backend. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { StoreUnavailableError } from "../../store/index.js";
import type { Backend } from "../registry/index.js";
import { failure, internalError, methodNotAllowed, noSuchPath } from "../status.js";
import { StatusError } from "../types.js";
import { type AccessOptions, authenticate, authorize, forbiddenPath } from "./access.js";
import { discoveryDocument, VERSION } from "./discovery.js";
import { type Answer, handle } from "./handlers.js";
import type { ApiMetrics } from "./metrics.js";
import { openApiDocument } from "./openapi.js";
import { type ProxyConnect, proxyPath, serveProxy } from "./proxy/index.js";
import { pathParts, resourceRoute } from "./route.js";

/** Answers a request of a path that is not the API's own; false when it is none of its paths either. */
export type ExtraRoutes = (
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
) => boolean | Promise<boolean>;

export interface HandlerOptions extends AccessOptions {
  readonly backend: Backend;
  readonly metrics: ApiMetrics;
  readonly extraRoutes?: ExtraRoutes | undefined;
  readonly proxyConnect?: ProxyConnect | undefined;
  readonly log: (level: "error", message: string) => void;
}

/** The listener of an HTTP server. Never rejects. */
export function requestHandler(
  options: HandlerOptions,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    options.metrics.observe(request, response);
    try {
      const answer = await dispatch(options, request, response);
      if (answer) send(response, answer);
    } catch (error) {
      const status = toStatusError(error, request, options.log).status;
      if (response.headersSent) response.destroy();
      else send(response, { code: status.code ?? 500, body: status });
    }
  };
}

async function dispatch(
  options: HandlerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<Answer | undefined> {
  const account = authenticate(request, options);
  const { backend, metrics, extraRoutes, proxyConnect } = options;
  const url = URL.canParse(request.url ?? "", "http://server")
    ? new URL(request.url!, "http://server")
    : undefined;
  if (url === undefined) throw noSuchPath();
  const { method = "GET" } = request;
  // The lab's own paths run commands in pods, and the proxy reaches what policies may keep from them.
  if (!account && (await extraRoutes?.(request, response, url))) return undefined;
  const proxied = proxyPath(url.pathname);
  if (proxied && account) throw forbiddenPath(account, method, url.pathname);
  if (proxied) {
    await serveProxy(backend.registry, proxied, request, response, url.search, proxyConnect);
    return undefined;
  }
  const parts = pathParts(url.pathname);
  if (parts === undefined) throw noSuchPath();
  const route = resourceRoute(parts);
  if (route) {
    if (account) authorize(account, method, route);
    checkAccept(request);
    return handle({ backend, route, request, response, query: url.searchParams });
  }
  return general(parts, request, backend, metrics);
}

const HEALTH: readonly string[] = ["healthz", "livez", "readyz"];
const OTHERS: readonly string[] = ["metrics", "openapi/v2"];

async function general(
  parts: readonly string[],
  request: IncomingMessage,
  backend: Backend,
  metrics: ApiMetrics,
): Promise<Answer> {
  const path = parts.join("/");
  const health = HEALTH.includes(path);
  const document = path === "version" ? VERSION : discoveryDocument(parts);
  if (!health && document === undefined && !OTHERS.includes(path)) throw noSuchPath();
  if (request.method !== "GET" && request.method !== "HEAD") throw methodNotAllowed();
  if (path === "metrics") return { code: 200, body: await metrics.text() };
  if (path === "openapi/v2") return openApi(request);
  // Ready is who can read its store; alive is who answers.
  if (path === "readyz") await backend.registry.get({ resource: "namespaces", name: "default" });
  return { code: 200, body: document ?? "ok" };
}

/**
 * kubectl takes the document as protobuf alone, before it creates or changes anything. What it gets is no bytes, which is the
 * encoding of an empty document: the server checks fields itself.
 */
function openApi(request: IncomingMessage): Answer {
  if (acceptsJson(request)) return { code: 200, body: openApiDocument() };
  if (/protobuf/.test(request.headers.accept ?? "")) return { code: 200, body: Buffer.alloc(0) };
  throw notAcceptable();
}

/** @throws StatusError (406) when the client takes nothing but what this server cannot write */
function checkAccept(request: IncomingMessage): void {
  if (!acceptsJson(request)) throw notAcceptable();
}

function acceptsJson({ headers: { accept = "" } }: IncomingMessage): boolean {
  return accept === "" || /(^|[\s,])(application\/json|application\/\*|\*\/\*)/.test(accept);
}

function notAcceptable(): StatusError {
  return failure(406, "NotAcceptable", "only the following media types are accepted: application/json");
}

function toStatusError(error: unknown, request: IncomingMessage, log: HandlerOptions["log"]): StatusError {
  if (error instanceof StatusError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof StoreUnavailableError) return failure(503, "ServiceUnavailable", message);
  log("error", `${request.method} ${request.url}: ${error instanceof Error ? error.stack : message}`);
  return internalError(message);
}

function send(response: ServerResponse, { code, body, warnings = [] }: Answer): void {
  const isText = typeof body === "string";
  const isBytes = Buffer.isBuffer(body);
  const text = isText || isBytes ? body : `${JSON.stringify(body)}\n`;
  if (response.req.complete === false) response.setHeader("Connection", "close");
  if (warnings.length > 0) response.setHeader("Warning", warningHeaders(warnings));
  response.writeHead(code, {
    "Content-Type": isBytes
      ? "application/octet-stream"
      : isText
        ? "text/plain; charset=utf-8"
        : "application/json",
    "Content-Length": Buffer.byteLength(text),
    "Cache-Control": "no-cache, private",
    ...(code === 401 ? { "WWW-Authenticate": "Bearer" } : {}),
  });
  response.end(response.req.method === "HEAD" ? "" : text);
}

/** Of all warnings together, as kube-apiserver bounds them (apiserver pkg/endpoints/filters/warning.go). */
const MAX_WARNING_CHARACTERS = 4096;

/** The first of the warnings: field names are the client's, of any length, number and script. */
function warningHeaders(warnings: readonly string[]): string[] {
  const headers: string[] = [];
  let left = MAX_WARNING_CHARACTERS;
  for (const text of warnings) {
    const header = `299 - ${JSON.stringify(text).replace(/[^ -~]/g, escapeCharacter)}`;
    left -= header.length;
    if (left < 0) break;
    headers.push(header);
  }
  return headers;
}

/** As JSON may write it; headers are printable ASCII. */
function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
