/** The API over HTTP: a Unix socket, or a base URL with a bearer token. Speaks to any Kubernetes API server. */
import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request } from "node:http";
import { type ResourceInfo, resourceInfo } from "../resources.js";
import { failure } from "../status.js";
import {
  type DeleteOptions,
  type KubeClient,
  type KubeList,
  type KubeObject,
  type ListOptions,
  type ResourceName,
  type Status,
  StatusError,
  type WatchEvent,
  type WatchOptions,
} from "../types.js";
import { placeOf, withType } from "./local.js";

export interface HttpKubeClientOptions {
  readonly socketPath?: string;
  /** Such as http://127.0.0.1:8001. */
  readonly baseUrl?: string;
  readonly token?: string;
}

const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 15_000;
const STRICT = "?fieldValidation=Strict";

/** Errors of the connection keep Node's `code`, such as ECONNREFUSED. */
export class HttpKubeClient implements KubeClient {
  readonly #target: RequestOptions;
  readonly #agent = new Agent({ keepAlive: true });

  constructor({ socketPath, baseUrl, token }: HttpKubeClientOptions) {
    const headers = {
      accept: "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    };
    if (socketPath !== undefined) this.#target = { socketPath, headers };
    else {
      const url = new URL(baseUrl ?? "");
      if (url.protocol !== "http:") throw new Error(`API server ${baseUrl}: give an http:// address`);
      this.#target = { host: url.hostname.replace(/^\[|\]$/g, ""), port: url.port || 80, headers };
    }
  }

  get<T extends KubeObject>(resource: ResourceName, namespace: string | undefined, name: string): Promise<T> {
    return this.#call("GET", pathOf(resourceInfo(resource), namespace, name));
  }

  list<T extends KubeObject>(resource: ResourceName, options: ListOptions = {}): Promise<KubeList<T>> {
    return this.#call("GET", pathOf(resourceInfo(resource), options.namespace) + queryOf(options));
  }

  async create<T extends KubeObject>(resource: ResourceName, object: T): Promise<T> {
    const info = resourceInfo(resource);
    const namespace = object.metadata?.namespace ?? "default";
    return this.#call("POST", pathOf(info, namespace) + STRICT, withType(resource, object));
  }

  async update<T extends KubeObject>(resource: ResourceName, object: T, subresource?: "status"): Promise<T> {
    const { namespace, name } = placeOf(resource, object);
    const path = pathOf(resourceInfo(resource), namespace, name) + (subresource ? `/${subresource}` : "");
    return this.#call("PUT", path + STRICT, withType(resource, object));
  }

  async delete(
    resource: ResourceName,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions = {},
  ): Promise<void> {
    const body = { apiVersion: "v1", kind: "DeleteOptions", ...options };
    await this.#call("DELETE", pathOf(resourceInfo(resource), namespace, name), body);
  }

  async *watch<T extends KubeObject>(
    resource: ResourceName,
    options: WatchOptions = {},
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const { signal } = options;
    if (signal?.aborted) return;
    const path = pathOf(resourceInfo(resource), options.namespace) + queryOf({ ...options, watch: true });
    const sent = this.#request("GET", path, undefined);
    const abort = () => sent.destroy();
    signal?.addEventListener("abort", abort);
    try {
      const response = await answer(sent);
      if (response.statusCode !== 200) throw await failureOf(response);
      sent.setTimeout(0);
      response.socket.setKeepAlive(true, KEEP_ALIVE_MS);
      for await (const line of lines(response)) yield JSON.parse(line) as WatchEvent<T>;
    } catch (error) {
      if (!signal?.aborted) throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
      sent.destroy();
    }
  }

  #request(method: string, path: string, body: unknown): ClientRequest {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      ...this.#target.headers,
      ...(text === undefined
        ? {}
        : { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
    };
    const sent = request({ ...this.#target, agent: this.#agent, method, path, headers });
    sent.setTimeout(REQUEST_TIMEOUT_MS, () => {
      sent.destroy(
        new Error(`the API server did not answer ${method} ${path} in ${REQUEST_TIMEOUT_MS / 1000} s`),
      );
    });
    sent.end(text);
    return sent;
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const sent = this.#request(method, path, body);
    try {
      const response = await answer(sent);
      if ((response.statusCode ?? 500) >= 300) throw await failureOf(response);
      return JSON.parse(await textOf(response)) as T;
    } catch (error) {
      // The server closed a connection at rest in the moment of its use; a read can simply be sent again.
      const stale = sent.reusedSocket && (error as NodeJS.ErrnoException).code === "ECONNRESET";
      if (stale && method === "GET") return this.#call(method, path, body);
      throw error;
    }
  }
}

function answer(sent: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.once("response", resolve);
    // Stays: a request that is destroyed after its response may still report why.
    sent.on("error", reject);
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

/** The server's Status; an answer that is none becomes one. */
async function failureOf(response: IncomingMessage): Promise<StatusError> {
  const text = await textOf(response);
  const code = response.statusCode ?? 500;
  try {
    const status = JSON.parse(text) as Partial<Status> | null;
    if (status?.kind === "Status") return new StatusError({ ...(status as Status), code });
  } catch {
    // Not JSON: told below.
  }
  return failure(code, "Unknown", `the API server answered ${code}: ${text.slice(0, 200)}`);
}

/** Ends when the server ends the response. @throws when the connection breaks off */
async function* lines(response: IncomingMessage): AsyncGenerator<string, void, undefined> {
  // The error of a connection that the reader itself has left concerns nobody.
  response.on("error", () => {});
  response.setEncoding("utf8");
  let rest = "";
  for await (const chunk of response) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    yield* parts.filter((line) => line !== "");
  }
}

function pathOf(info: ResourceInfo, namespace: string | undefined, name?: string): string {
  const group = info.group === "" ? "/api" : `/apis/${info.group}`;
  const scope =
    info.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${group}/${info.version}${scope}/${info.name}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`;
}

type Query = Omit<WatchOptions, "signal" | "namespace"> & { readonly watch?: boolean };

function queryOf(options: Query): string {
  const names = [
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "allowWatchBookmarks",
    "timeoutSeconds",
    "watch",
  ] as const;
  const query = new URLSearchParams();
  for (const name of names) {
    const value = options[name];
    if (value !== undefined && value !== "" && value !== false) query.set(name, String(value));
  }
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}
