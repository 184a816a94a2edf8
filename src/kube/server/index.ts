/** The API server as a whole: backend, in-process client and listeners. */
import type { Server } from "node:http";
import { LocalKubeClient } from "../client/local.js";
import { type BackendOptions, startBackend } from "../registry/index.js";
import type { KubeClient } from "../types.js";
import { addressOf, closeServer, listen, type TlsPlace } from "./listen.js";
import { ApiMetrics } from "./metrics.js";
import type { ProxyConnect } from "./proxy/index.js";
import { type ExtraRoutes, requestHandler } from "./server.js";

export interface ApiServerOptions extends BackendOptions {
  readonly listen?: {
    /** Unix socket of mode 0600: who may open it needs no token. */
    readonly socketPath?: string;
    /** With `port`: TCP, for requests that bear the token. Default 127.0.0.1. */
    readonly host?: string;
    /** 0: any free port. */
    readonly port?: number;
  };
  /** Needed with `port`. */
  readonly token?: string;
  /** Asked first about each request, after the token has been checked; true when it has taken the request. */
  readonly extraRoutes?: ExtraRoutes;
  /** How `/proxy` reaches pods; as this machine does when missing. */
  readonly proxyConnect?: ProxyConnect;
}

export interface ApiServer {
  /** In process, without HTTP. */
  readonly client: KubeClient;
  /** `http://host:port`, else `unix:path`, else `local`. */
  readonly address: string;
  /**
   * Listens in one more place, by TLS, for requests that bear the lab's token or one that this key has signed for a
   * service account. @throws Error that names the place when it cannot be listened on
   */
  listenForPods(place: TlsPlace, accountKey: string): Promise<void>;
  /** Ends all requests and watches; the store stays open. */
  close(): Promise<void>;
}

/** @throws Error when a place is taken, a TCP port is wanted without a token, or the store does not answer */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { socketPath, host = "127.0.0.1", port } = options.listen ?? {};
  const { token, extraRoutes, proxyConnect, log = () => {} } = options;
  if (port !== undefined && !token)
    throw new Error("the API server's TCP port needs a token: set one, or use the Unix socket");
  const backend = await startBackend(options);
  const servers: Server[] = [];
  const handlerOptions = { backend, metrics: new ApiMetrics(), extraRoutes, proxyConnect, log };
  const close = async () => {
    // Watches end first, so that their responses end in order.
    await backend.close();
    await Promise.all(servers.map(closeServer));
  };
  try {
    if (port !== undefined) {
      servers.push(await listen({ host, port }, requestHandler({ ...handlerOptions, token })));
    }
    if (socketPath !== undefined) servers.push(await listen({ socketPath }, requestHandler(handlerOptions)));
  } catch (error) {
    await close();
    throw error;
  }
  const address = servers[0] ? addressOf(servers[0]) : "local";
  const listenForPods = async (place: TlsPlace, accountKey: string) => {
    servers.push(await listen(place, requestHandler({ ...handlerOptions, token, accountKey })));
  };
  return { client: new LocalKubeClient(backend), address, listenForPods, close };
}
