/** Bodies of requests: media type, size, JSON. */
import type { IncomingMessage } from "node:http";
import { badRequest, failure, unsupportedMediaType } from "../status.js";

/** As Kubernetes' own limit. */
const MAX_BODY_BYTES = 3 * 1024 * 1024;
export const JSON_TYPE = "application/json";

/** The media type of the body. What has none is taken for JSON, as Kubernetes does; a patch must say what it is. */
export function mediaTypeOf(request: IncomingMessage): string {
  const [given = ""] = (request.headers["content-type"] ?? "").split(";");
  return given.trim().toLowerCase() || JSON_TYPE;
}

/**
 * The body as JSON; undefined when there is none.
 * @throws StatusError (400) for malformed JSON, (413) for a large body, (415) for another media type
 */
export async function readBody(
  request: IncomingMessage,
  accepted: readonly string[] = [JSON_TYPE],
): Promise<unknown> {
  if (!accepted.includes(mediaTypeOf(request))) throw unsupportedMediaType(accepted);
  const bytes = await readBytes(request);
  if (bytes.length === 0) return undefined;
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    throw badRequest(`the body of the request is not JSON: ${(error as Error).message}`);
  }
}

/** Not by iteration: leaving that early would destroy the connection, and with it the answer. */
function readBytes(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const take = (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size <= MAX_BODY_BYTES) return;
      request.off("data", take).pause();
      const message = `Request entity too large: limit is ${MAX_BODY_BYTES}`;
      reject(failure(413, "RequestEntityTooLarge", message));
    };
    request.on("data", take);
    request.once("end", () => resolve(Buffer.concat(chunks)));
    request.once("error", reject);
  });
}

/** @throws StatusError (400) when the body is no JSON object */
export function asObject(body: unknown): Record<string, unknown> {
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw badRequest("the body of the request must be a JSON object");
  return body as Record<string, unknown>;
}
