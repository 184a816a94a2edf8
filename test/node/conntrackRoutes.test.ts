/** What a node answers about connection tracking on its socket; a real datapath behind it. */
import { mkdtempSync, rmSync } from "node:fs";
import { type IncomingMessage, request, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startNodeServer } from "../../src/node/server.js";
import { TraceHub } from "../../src/node/traceHub.js";
import * as h from "../datapath/harness.js";

const dir = mkdtempSync(join(tmpdir(), "podwire-node-"));
const socketPath = join(dir, "node.sock");
const node = new h.Harness();
let server: Server;

beforeAll(async () => {
  const parts = { trace: new TraceHub(), status: () => ({}), datapath: node.datapath };
  server = await startNodeServer(socketPath, parts);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(dir, { recursive: true });
});

function open(path: string, method = "GET"): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path, method }, resolve).once("error", reject).end();
  });
}

async function ask(path: string, method = "GET"): Promise<{ code: number; body: string }> {
  const answer = await open(path, method);
  let body = "";
  for await (const chunk of answer.setEncoding("utf8")) body += chunk as string;
  return { code: answer.statusCode ?? 0, body: body.trim() };
}

const send = (sport: number) =>
  node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.REMOTE_POD, sport, dport: 80 }));

interface Line {
  readonly type?: string;
  readonly timeMs?: number;
  readonly lost?: number;
  readonly record?: { readonly original: { readonly sport: number } };
}

/** Reads lines of a stream until one fits. */
async function linesUntil(stream: IncomingMessage, isLast: (line: Line) => boolean): Promise<Line[]> {
  const lines: Line[] = [];
  let rest = "";
  for await (const chunk of stream.setEncoding("utf8")) {
    const parts = (rest + (chunk as string)).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      lines.push(JSON.parse(part) as Line);
      if (isLast(lines[lines.length - 1])) return lines;
    }
  }
  throw new Error("the stream ended");
}

describe("events", () => {
  it("come as lines to who asks, by type and filter; nobody listens afterwards", async () => {
    const stream = await open("/conntrack/events?events=NEW,DESTROY&sport=2");
    const { events } = node.datapath.conntrack;
    expect(events.isHeard).toBe(true);
    const before = Date.now();
    for (const sport of [1, 2, 3]) send(sport);
    node.datapath.deleteConntrack({});
    const lines = await linesUntil(stream, ({ type }) => type === "DESTROY");
    expect(lines.map(({ type, record }) => [type, record?.original.sport])).toEqual([
      ["NEW", 2],
      ["DESTROY", 2],
    ]);
    expect(lines[0].timeMs).toBeGreaterThanOrEqual(before);
    stream.destroy();
    await expect.poll(() => events.isHeard).toBe(false);
  });

  it("are dropped for a reader that does not read, and counted: none is missing without a word", async () => {
    const stream = await open("/conntrack/events?events=NEW");
    const total = 20_000;
    for (let i = 0; i < total; i++) {
      send(1 + i);
      if (i % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    node.datapath.deleteConntrack({});
    let seen = 0;
    let lost = 0;
    // From here on it is read; a last event shows that all before it has come.
    const marker = setInterval(() => send(65_535), 50);
    await linesUntil(stream, (line) => {
      if (line.lost !== undefined) lost += line.lost;
      else if (line.record?.original.sport !== 65_535) seen++;
      node.datapath.deleteConntrack({ sport: 65_535 });
      return line.record?.original.sport === 65_535 && seen + lost >= total;
    });
    clearInterval(marker);
    stream.destroy();
    expect(lost).toBeGreaterThan(0);
    expect(seen).toBeGreaterThan(0);
  });

  it("of a kind that is none are refused", async () => {
    expect(await ask("/conntrack/events?events=NEW,OLD")).toEqual({
      code: 400,
      body: "events: OLD is none of NEW, UPDATE, DESTROY",
    });
  });
});

it("statistics are those of the datapath", async () => {
  const { code, body } = await ask("/conntrack/stats");
  expect(code).toBe(200);
  expect(JSON.parse(body)).toEqual(node.datapath.conntrack.stats);
});

describe("settings", () => {
  const name = "net.netfilter.nf_conntrack_udp_timeout";

  it("are read and set", async () => {
    expect(JSON.parse((await ask(`/sysctl?name=${name}`)).body)).toEqual({ [name]: 30 });
    expect(JSON.parse((await ask(`/sysctl?${name}=9`, "PUT")).body)).toEqual({ [name]: 9 });
    expect(JSON.parse((await ask("/sysctl")).body)).toMatchObject({ [name]: 9 });
  });

  it("that are wrong are refused with one sentence", async () => {
    expect(await ask("/sysctl?name=net.ipv4.ip_forward")).toEqual({
      code: 400,
      body: "no sysctl net.ipv4.ip_forward here; podwire sysctl NODE lists those that there are",
    });
    expect(await ask(`/sysctl?${name}=x`, "PUT")).toEqual({
      code: 400,
      body: `${name}=x: give a whole number, 1 to 31536000`,
    });
  });
});

it("a node without a datapath says so", async () => {
  const path = join(dir, "early.sock");
  const early = await startNodeServer(path, { trace: new TraceHub(), status: () => ({}) });
  const answer = await new Promise<IncomingMessage>((resolve) => {
    request({ socketPath: path, path: "/conntrack/stats" }, resolve).end();
  });
  expect(answer.statusCode).toBe(503);
  answer.resume();
  early.closeAllConnections();
  early.close();
});
