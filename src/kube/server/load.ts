/** The API server, loaded when it is wanted: clients alone, the node processes first of all, do without its 5 MB. */
import type { ApiServer, ApiServerOptions } from "./index.js";

/** @throws Error when a place is taken, a TCP port is wanted without a token, or the store does not answer */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const server = await import("./index.js");
  return server.startApiServer(options);
}
