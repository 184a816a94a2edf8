/** What the kubelet does to a container from outside, for probes and lifecycle hooks: run a command, connect, ask by HTTP. */
import { execFile } from "node:child_process";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Container, Probe } from "../../kube/index.js";

/** What must be known of the container. */
export interface ActionTarget {
  readonly ip: string;
  readonly container: Container;
  /** Arguments that bring a command into the pod's namespaces, or undefined when nothing runs. */
  readonly enter: () => readonly string[] | undefined;
  /** The container's environment, which the command gets too. */
  readonly environment: () => Readonly<Record<string, string>>;
  /** Connects from the node, which is where the kubelet is. */
  readonly connect: Connector;
}

/** Begins a TCP connection; throws when there can be none. */
export type Connector = (host: string, port: number) => Socket;

/** As much of an HTTP answer as is read (kubelet pkg/probe/http). */
const MAX_BODY_BYTES = 10 * 1024;

/** A port by number or by the name of a container port. */
export function portOf(port: number | string, container: Container): number {
  if (typeof port === "number") return port;
  const named = container.ports?.find((candidate) => candidate.name === port);
  const number = named?.containerPort ?? Number(port);
  if (!Number.isInteger(number)) throw new Error(`no container port is named ${port}`);
  return number;
}

/** Runs a command in the container; rejects with what it printed when its exit code is not 0. */
export function runInside(
  command: readonly string[],
  target: ActionTarget,
  timeoutMs: number,
): Promise<void> {
  const enter = target.enter();
  if (!enter) return Promise.reject(new Error("the container does not run"));
  const [program = "", ...args] = [...enter, ...command];
  return new Promise((resolve, reject) => {
    const options = {
      timeout: timeoutMs,
      killSignal: "SIGKILL",
      env: target.environment(),
      cwd: target.container.workingDir ?? "/",
    } as const;
    execFile(program, args, options, (error, stdout, stderr) => {
      if (!error) return resolve();
      const words = (stderr || stdout || `exit code ${error.code}`).trim().slice(0, 200);
      const late = `command ${command.join(" ")} timed out after ${timeoutMs} ms`;
      reject(new Error(error.killed ? late : `command failed: ${words}`));
    });
  });
}

/** Resolves when somebody accepts a connection. */
export function dialTcp(host: string, port: number, target: ActionTarget, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = target.connect(host, port);
    const late = () => socket.destroy(new Error(`dial tcp ${host}:${port}: i/o timeout`));
    const timer = setTimeout(late, timeoutMs);
    socket.once("close", () => clearTimeout(timer));
    socket.on("error", reject);
    socket.once("connect", () => {
      socket.destroy();
      resolve();
    });
  });
}

/** Resolves with the status code of the answer. */
export function getHttp(
  get: NonNullable<Probe["httpGet"]>,
  target: ActionTarget,
  timeoutMs: number,
): Promise<number> {
  const port = portOf(get.port, target.container);
  const headers: Record<string, string> = { "User-Agent": "kube-probe/podwire", Connection: "close" };
  for (const header of get.httpHeaders ?? []) headers[header.name] = header.value;
  const host = get.host ?? target.ip;
  const path = get.path ?? "/";
  const isTls = get.scheme === "HTTPS";
  const createConnection = () => {
    const socket = target.connect(host, port);
    return isTls ? connectTls({ socket, rejectUnauthorized: false }) : socket;
  };
  return new Promise((resolve, reject) => {
    const asked = (isTls ? httpsRequest : httpRequest)({ host, port, path, headers, createConnection });
    const late = () =>
      asked.destroy(new Error(`Get "${path}" from ${host}:${port}: no answer in ${timeoutMs} ms`));
    const timer = setTimeout(late, timeoutMs);
    asked.once("response", (response) => {
      resolve(response.statusCode ?? 0);
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_BODY_BYTES) asked.destroy();
      });
    });
    asked.on("error", reject);
    asked.once("close", () => clearTimeout(timer));
    asked.end();
  });
}
