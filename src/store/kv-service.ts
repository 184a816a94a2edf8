/** etcdserverpb.KV: Range, Put, DeleteRange, Txn, Compact. */
import type { Server } from "@grpc/grpc-js";
import { toResponseOp, wirePut, wireQuery, wireRange, wireTxn } from "./convert.js";
import { type ServiceContext, serveUnary } from "./service.js";
import { KV } from "./services.js";
import type { Op } from "./txn.js";

export function kvService(server: Server, context: ServiceContext): void {
  const { engine } = context;

  serveUnary(server, context, KV.range, (request) => {
    const { kvs, more, count } = engine.range(wireQuery(request));
    return { header: context.header(), kvs, more, count };
  });

  // Single writes are transactions of one operation.
  const single = (op: Op) => engine.txn({ compares: [], success: [op], failure: [] }).results[0];

  serveUnary(server, context, KV.put, (request) => {
    const result = single(wirePut(request));
    return toResponseOp(result, request.prevKv, context.header()).put ?? {};
  });

  serveUnary(server, context, KV.deleteRange, (request) => {
    const result = single({ type: "delete", range: wireRange(request) });
    return toResponseOp(result, request.prevKv, context.header()).delete ?? {};
  });

  serveUnary(server, context, KV.txn, (request) => {
    const { succeeded, results } = engine.txn(wireTxn(request));
    const header = context.header();
    const asked = succeeded ? request.success : request.failure;
    const responses = results.map((result, index) => {
      const wantsPrevious = asked[index].put?.prevKv === true || asked[index].delete?.prevKv === true;
      return toResponseOp(result, wantsPrevious, header);
    });
    return { header, succeeded, responses };
  });

  serveUnary(server, context, KV.compact, (request) => {
    engine.compact(request.revision);
    return { header: context.header() };
  });
}
