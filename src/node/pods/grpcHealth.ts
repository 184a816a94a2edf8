/**
 * gRPC's health check (github.com/grpc/grpc, doc/health-checking.md) over plain HTTP/2, which, unlike a gRPC library,
 * lets the caller make the connection: it comes from the node's network.
 */
import { connect as connectHttp2 } from "node:http2";
import type { ActionTarget } from "./actions.js";

/** HealthCheckResponse.ServingStatus. */
const STATUS = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING = 1;
/** Flag byte and length in front of each message (doc/PROTOCOL-HTTP2.md). */
const PREFIX_BYTES = 5;
/** A whole answer has nine bytes. */
const MAX_ANSWER_BYTES = 1024;
/** Status code of a service or method that is not there. */
const UNIMPLEMENTED = "12";

/** Resolves when the service says SERVING; the empty name asks about the server as a whole. */
export function checkGrpc(
  port: number,
  service: string,
  target: ActionTarget,
  timeoutMs: number,
): Promise<void> {
  const host = target.ip.includes(":") ? `[${target.ip}]` : target.ip;
  const session = connectHttp2(`http://${host}:${port}`, {
    createConnection: () => target.connect(target.ip, port),
  });
  const answer = new Promise<void>((resolve, reject) => {
    const late = () =>
      reject(new Error(`timeout: health rpc to ${host}:${port} did not complete within ${timeoutMs} ms`));
    const timer = setTimeout(late, timeoutMs);
    session.once("close", () => clearTimeout(timer));
    session.on("error", reject);
    const call = session.request({
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      "content-type": "application/grpc",
      te: "trailers",
      "user-agent": "kube-probe/podwire",
    });
    let body = Buffer.alloc(0);
    // Of an answer without a message, headers and trailers are one.
    let status: string | undefined;
    const note = (headers: Record<string, unknown>) => {
      status = (headers["grpc-status"] as string | undefined) ?? status;
    };
    call.on("response", note);
    call.on("trailers", note);
    call.on("error", reject);
    call.on("data", (chunk: Buffer) => {
      body = Buffer.concat([body, chunk]);
      if (body.length > MAX_ANSWER_BYTES)
        call.destroy(new Error("the answer is too long for a health check"));
    });
    call.on("end", () => {
      const failure = whyNot(status, body);
      if (failure === undefined) resolve();
      else reject(new Error(failure));
    });
    call.end(request(service));
  });
  return answer.finally(() => session.destroy());
}

/** HealthCheckRequest { string service = 1; } with its prefix. */
function request(service: string): Buffer {
  const name = Buffer.from(service);
  if (name.length > 0x7f) throw new Error("grpc.service: at most 127 bytes");
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.of(0x0a, name.length), name]);
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** HealthCheckResponse { ServingStatus status = 1; }, where UNKNOWN, being 0, is left out. */
function whyNot(status: string | undefined, body: Buffer): string | undefined {
  if (status === UNIMPLEMENTED)
    return "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)";
  if (status !== "0") return `error: health rpc failed with status ${status ?? "none"}`;
  const [tag, value = 0] = body.subarray(PREFIX_BYTES);
  const serving = tag === 0x08 ? value : 0;
  return serving === SERVING
    ? undefined
    : `service unhealthy (responded with "${STATUS[serving] ?? serving}")`;
}
