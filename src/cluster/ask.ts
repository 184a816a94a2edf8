/** Requests to a lab's API server over its Unix socket, for what is not a Kubernetes object. */
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import type { LabPaths } from "./paths.js";

/** No answer on the lab's socket. */
export class LabUnreachableError extends Error {
  override readonly name = "LabUnreachableError";
}

export interface Ask {
  readonly method?: string;
  readonly signal?: AbortSignal;
}

/** Opens a request and resolves with its answer as a stream; rejects on any status but 2xx with the server's words. */
export function openApi(paths: LabPaths, path: string, ask: Ask = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked: ClientRequest = request(
      {
        socketPath: paths.apiSocket,
        path,
        method: ask.method ?? "GET",
        ...(ask.signal ? { signal: ask.signal } : {}),
      },
      (answer) => {
        const code = answer.statusCode ?? 0;
        if (code >= 200 && code < 300) return resolve(answer);
        void text(answer).then(
          (body) => reject(new Error(words(body) || `the API server answered ${code}`)),
          reject,
        );
      },
    );
    asked.once("error", (error: NodeJS.ErrnoException) => {
      const away = error.code === "ENOENT" || error.code === "ECONNREFUSED";
      reject(
        away
          ? new LabUnreachableError(`the lab's cluster process does not answer on ${paths.apiSocket}`)
          : error,
      );
    });
    asked.end();
  });
}

/** Asks for JSON. */
export async function askApi<T>(paths: LabPaths, path: string, ask: Ask = {}): Promise<T> {
  return JSON.parse(await text(await openApi(paths, path, ask))) as T;
}

async function text(answer: IncomingMessage): Promise<string> {
  answer.setEncoding("utf8");
  let whole = "";
  for await (const chunk of answer) whole += chunk as string;
  return whole;
}

function words(body: string): string {
  try {
    return (JSON.parse(body) as { message?: string }).message ?? body.trim();
  } catch {
    return body.trim();
  }
}
