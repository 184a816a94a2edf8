/** Requests as curl would send them. */
import { once } from "node:events";
import { request } from "node:http";

export interface Answer {
  readonly code: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
  /** The body when it is one JSON document. */
  readonly json: Record<string, unknown>;
}

/** `target`: `socketPath`, or `host` and `port`. A body that is no text is sent as JSON. */
export async function sendRaw(
  target: object,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const described =
    text === undefined
      ? {}
      : { "content-type": "application/json", "content-length": String(Buffer.byteLength(text)) };
  const sent = request({ ...target, method, path, headers: { ...described, ...headers } }).end(text);
  const [response] = await once(sent, "response");
  let answer = "";
  for await (const chunk of response) answer += chunk;
  const isDocument =
    response.headers["content-type"]?.startsWith("application/json") &&
    answer !== "" &&
    answer.indexOf("\n") === answer.length - 1;
  const json = isDocument ? JSON.parse(answer) : {};
  return { code: response.statusCode, headers: response.headers, text: answer, json };
}

export const SERVICES = "/api/v1/namespaces/default/services";

export const rawService = (name: string, spec: object = {}) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name },
  spec: { ports: [{ port: 80 }], ...spec },
});
