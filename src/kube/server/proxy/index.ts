/**
 * The `/proxy` subresource of pods and Services: the API server as a reverse proxy. It reaches what its own machine
 * reaches; upgrades are not passed on.
 */
import {
  type ClientRequest,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
  type ServerResponse,
} from "node:http";
import { request as httpsRequest } from "node:https";
import type { Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { connect as connectTls } from "node:tls";
import type { Registry } from "../../registry/registry.js";
import { type Rewriting, rewriteHtml, rewriteUrl } from "./rewrite.js";
import { type ProxyPlace, type ProxyTarget, proxyTarget, unavailable } from "./target.js";

/** Opens a connection to a pod; Node.js' own when missing. */
export type ProxyConnect = (target: { readonly host: string; readonly port: number }) => Socket;

const PATH = /^(\/api\/v1\/namespaces\/([^/]+)\/(pods|services)\/([^/]+)\/proxy)(\/.*)?$/;
/** Of a connection and not of a message (RFC 9110 section 7.6.1); and the credentials for this server. */
const OWN_HEADERS = [
  ...["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"],
  ...["te", "trailer", "transfer-encoding", "upgrade", "authorization", "host"],
];
/** Longer pages pass with their links as they are. */
const MAX_REWRITTEN_BYTES = 10 * 1024 * 1024;
const CONNECT_MS = 30_000;

interface ProxyPath extends ProxyPlace {
  /** The path up to and with `/proxy`. */
  readonly prefix: string;
  /** What follows; empty when there is not even a slash. */
  readonly rest: string;
}

/** The parts of a path of a `/proxy`; undefined when it is none. */
export function proxyPath(pathname: string): ProxyPath | undefined {
  const [, prefix, namespace, resource, id, rest = ""] = PATH.exec(pathname) ?? [];
  if (prefix === undefined) return undefined;
  try {
    const [space, name] = [decodeURIComponent(namespace!), decodeURIComponent(id!)];
    if (`${space}${name}`.includes("/")) return undefined;
    return { prefix, namespace: space, resource: resource as ProxyPlace["resource"], id: name, rest };
  } catch {
    return undefined;
  }
}

/** Answers the request from the backend. @throws StatusError (400, 404, 503) as long as nothing has been answered */
export async function serveProxy(
  registry: Registry,
  path: ProxyPath,
  request: IncomingMessage,
  response: ServerResponse,
  search: string,
  connect: ProxyConnect | undefined,
): Promise<void> {
  if (path.rest === "" && (request.method === "GET" || request.method === "HEAD")) {
    // Relative links of the page would otherwise lead beside it.
    response.writeHead(301, { Location: `${path.prefix}/${search}`, "Content-Length": 0 }).end();
    return;
  }
  const target = await proxyTarget(registry, path);
  const answer = await ask(target, path, request, search, connect);
  await passBack(answer, response, { prefix: path.prefix, backend: authority(target) });
}

function ask(
  target: ProxyTarget,
  { prefix, rest }: ProxyPath,
  request: IncomingMessage,
  search: string,
  connect: ProxyConnect | undefined,
): Promise<IncomingMessage> {
  const options: RequestOptions = {
    host: target.host,
    port: target.port,
    method: request.method ?? "GET",
    path: `${rest || "/"}${search}`,
    headers: onwardHeaders(request, target, prefix + rest),
    // A certificate would have to name an address that changes with every pod.
    ...(target.scheme === "https" && { rejectUnauthorized: false }),
    ...(connect && { createConnection: () => dial(target, connect) }),
  };
  const onward: ClientRequest = (target.scheme === "https" ? httpsRequest : httpRequest)(options);
  return new Promise((resolve, reject) => {
    onward.setTimeout(CONNECT_MS, () => onward.destroy(new Error(`no answer within ${CONNECT_MS / 1000} s`)));
    onward.once("response", (answer) => {
      onward.setTimeout(0);
      resolve(answer);
    });
    onward.on("error", (error) => reject(unavailable(`error trying to reach service: ${error.message}`)));
    request.once("close", () => {
      if (!request.complete) onward.destroy();
    });
    request.pipe(onward);
  });
}

function dial(target: ProxyTarget, connect: ProxyConnect): Socket {
  const socket = connect(target);
  return target.scheme === "https" ? connectTls({ socket, rejectUnauthorized: false }) : socket;
}

function authority({ host, port }: ProxyTarget): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** The headers of a message without those that concern only the connection it came by. */
function ownHeadersOf(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const named = (headers.connection ?? "").split(",").map((name) => name.trim().toLowerCase());
  const dropped = new Set([...OWN_HEADERS, ...named]);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !dropped.has(name)));
}

function onwardHeaders(request: IncomingMessage, target: ProxyTarget, uri: string): IncomingHttpHeaders {
  const { "accept-encoding": _, ...headers } = ownHeadersOf(request.headers);
  const { "transfer-encoding": encoding } = request.headers;
  const { remoteAddress } = request.socket;
  const forwardedFor = [headers["x-forwarded-for"], remoteAddress].filter(Boolean).join(", ");
  return {
    ...headers,
    host: authority(target),
    // Without a length the body is only seen as one when this says so.
    ...(encoding && { "transfer-encoding": "chunked" }),
    ...(forwardedFor && { "x-forwarded-for": forwardedFor }),
    "x-forwarded-host": request.headers.host ?? "",
    "x-forwarded-proto": "http",
    "x-forwarded-uri": uri,
  };
}

async function passBack(
  answer: IncomingMessage,
  response: ServerResponse,
  rewriting: Rewriting,
): Promise<void> {
  const headers = ownHeadersOf(answer.headers);
  if (headers.location) headers.location = rewriteUrl(headers.location, rewriting);
  response.once("close", () => answer.destroy());
  const length = Number(headers["content-length"] ?? 0);
  const isPage = /^text\/html\b/i.test(headers["content-type"] ?? "") && !headers["content-encoding"];
  if (isPage && length <= MAX_REWRITTEN_BYTES && response.req.method !== "HEAD") {
    const { head, whole } = await readUpTo(answer, MAX_REWRITTEN_BYTES);
    // Byte for byte, whatever the encoding: what is looked for is ASCII in all of those that pages have.
    const text = head.toString("latin1");
    const body = Buffer.from(whole ? rewriteHtml(text, rewriting) : text, "latin1");
    if (whole) headers["content-length"] = String(body.length);
    response.writeHead(answer.statusCode ?? 502, headers);
    if (whole) {
      response.end(body);
      return;
    }
    response.write(body);
  } else response.writeHead(answer.statusCode ?? 502, headers);
  // A backend or a client that breaks off ends both sides, and concerns nobody else.
  await pipeline(answer, response).catch(() => undefined);
}

/** The beginning of a body, and whether that is all of it. */
async function readUpTo(
  body: IncomingMessage,
  limitBytes: number,
): Promise<{ head: Buffer; whole: boolean }> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > limitBytes) return { head: Buffer.concat(chunks), whole: false };
  }
  return { head: Buffer.concat(chunks), whole: true };
}
