/** What the gRPC services share: the engine, response headers, and how handlers become methods of a server. */
import { type Server, type ServerDuplexStream, type sendUnaryData, status } from "@grpc/grpc-js";
import type { Engine } from "./engine.js";
import { toStatus } from "./errors.js";
import type { Journal } from "./journal.js";
import type { Header } from "./messages.js";
import type { Identity } from "./records.js";
import type { Method } from "./services.js";

export class ServiceContext {
  constructor(
    readonly engine: Engine,
    readonly identity: Identity,
    private readonly journal: Journal | undefined,
    readonly endpoints: () => readonly string[],
  ) {}

  /** One member, so the term never changes. */
  header(revision = this.engine.mvcc.revision): Header {
    return { ...this.identity, revision, raftTerm: 1 };
  }

  get sizeBytes(): number {
    return this.journal?.sizeBytes ?? 0;
  }

  /** Resolves when nothing that was seen so far can be lost. @throws Error when the disk failed */
  async settled(): Promise<void> {
    await this.journal?.settled();
  }
}

/**
 * Serves unary methods. A handler does its work at once; its answer, which may show what others have just written, goes
 * out when all of that is on disk.
 */
export function serveUnary<Q, A>(
  server: Server,
  context: ServiceContext,
  method: Method<Q, A>,
  handle: (request: Q) => Partial<A>,
): void {
  server.register<Q, Partial<A>>(
    method.path,
    (call: { request: Q }, reply: sendUnaryData<Partial<A>>) => {
      respond(context, () => handle(call.request), reply);
    },
    method.response.encode,
    method.request.decode,
    "unary",
  );
}

async function respond<A>(context: ServiceContext, handle: () => A, reply: sendUnaryData<A>): Promise<void> {
  try {
    const answer = handle();
    await context.settled();
    reply(null, answer);
  } catch (error) {
    const details = error instanceof Error ? error.message : String(error);
    reply(toStatus(error) ?? { code: status.UNAVAILABLE, details });
  }
}

/** Serves a method that streams both ways. */
export function serveStream<Q, A>(
  server: Server,
  method: Method<Q, A>,
  handle: (call: ServerDuplexStream<Q, Partial<A>>) => void,
): void {
  server.register<Q, Partial<A>>(method.path, handle, method.response.encode, method.request.decode, "bidi");
}
