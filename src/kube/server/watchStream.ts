/** A watch as a response: one JSON object per line, as fast as the reader takes them. */
import type { ServerResponse } from "node:http";
import type { KubeObject, WatchEvent } from "../types.js";

/** Resolves when the watch has ended or the reader is gone. */
export async function streamWatch(
  events: AsyncGenerator<WatchEvent<KubeObject>, void>,
  response: ServerResponse,
): Promise<void> {
  response.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-cache, private" });
  response.flushHeaders();
  for await (const event of events) {
    if (response.destroyed) break;
    const full = !response.write(`${JSON.stringify(event)}\n`);
    // The watch keeps its place in the cache's window meanwhile, and queues nothing.
    if (full) await drained(response);
  }
  response.end();
}

/** Resolves when more may be written, or never again. Leaves no listener, of which a long watch would gather many. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}
