/** How the node's server answers. */
import type { ServerResponse } from "node:http";

/** An answer other than 200; the message is for the one who asked. */
export class HttpError extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

export function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "Content-Type": "application/json" });
  response.end(`${JSON.stringify(value)}\n`);
}
