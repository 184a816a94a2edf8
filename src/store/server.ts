/** The embedded store: an engine, its journal and etcd's gRPC services on sockets of the caller's choice. */
import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from "@grpc/grpc-js";
import { aboutService } from "./about-service.js";
import type { Clock } from "./clock.js";
import { Engine } from "./engine.js";
import { idSpaceOf, type Journal, newIdentity, openJournal } from "./journal.js";
import { kvService } from "./kv-service.js";
import { leaseService } from "./lease-service.js";
import { type Bound, bindAll } from "./listen.js";
import { ServiceContext } from "./service.js";
import { watchService } from "./watch-service.js";

export type StoreLog = (level: "info" | "warn" | "error", message: string) => void;

export interface StoreServerOptions {
  /** Where the journal is kept; without it, in memory only. */
  readonly dir?: string;
  /** `unix:/path` (made for its owner alone) or `host:port`, port 0 for any free one. */
  readonly listen: readonly string[];
  readonly log?: StoreLog;
  /** Time for leases; default: the system's. */
  readonly clock?: Clock;
  /** Revisions that stay readable; default 10,000. */
  readonly keepRevisions?: number;
  /** A compaction writes the journal anew when it has grown by this much. Default 4 MiB. */
  readonly rewriteBytes?: number;
}

export interface StoreServer {
  /** As `connectStore` takes them, in the order of `listen`. */
  readonly endpoints: readonly string[];
  /** Writes what is left, ends all connections, gives sockets and directory free. */
  close(): Promise<void>;
}

/**
 * Starts the store.
 * @throws Error for a directory in use or damaged, or an address that cannot be listened on: one sentence that names it
 */
export async function startStoreServer(options: StoreServerOptions): Promise<StoreServer> {
  const { dir, clock, keepRevisions, rewriteBytes, log = () => undefined } = options;
  const engineOptions = { clock, keepRevisions };
  const journal =
    dir === undefined ? undefined : await openJournal({ dir, log, engine: engineOptions, rewriteBytes });
  const identity = journal?.identity ?? newIdentity();
  const engine = journal?.engine ?? new Engine({ ...engineOptions, idSpace: idSpaceOf(identity) });
  // What grpc-js would print to stderr comes as errors too.
  setLogVerbosity(logVerbosity.NONE);
  const server = new Server({ "grpc.max_send_message_length": -1 });
  const bound: Bound[] = [];
  const context = new ServiceContext(engine, identity, journal, () => bound.map(({ endpoint }) => endpoint));
  for (const service of [kvService, leaseService, watchService, aboutService]) service(server, context);
  const close = () => shutDown(server, engine, journal, bound);
  try {
    await bindAll(server, ServerCredentials.createInsecure(), options.listen, bound);
  } catch (error) {
    await close();
    throw error;
  }
  return { endpoints: bound.map(({ endpoint }) => endpoint), close };
}

/** What was accepted is written and answered before the connections go. */
async function shutDown(
  server: Server,
  engine: Engine,
  journal: Journal | undefined,
  bound: readonly Bound[],
): Promise<void> {
  try {
    await journal?.settled();
  } finally {
    server.forceShutdown();
    for (const { unbind } of bound) await unbind();
    engine.close();
    await journal?.close();
  }
}
