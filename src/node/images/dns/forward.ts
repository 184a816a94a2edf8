/**
 * Queries for names outside the cluster go to the upstream name servers, and nowhere else: in their order, over the
 * asker's own transport, byte for byte except for a random id (RFC 5452 section 4.3; the source port is random too).
 */
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect, isIP, isIPv6 } from "node:net";
import { HEADER_BYTES, questionEnd, type Transport } from "./message.js";

export interface Upstream {
  readonly address: string;
  readonly port: number;
}

export interface ForwarderOptions {
  /** How long one server may take for one answer; 2 s by default. */
  readonly attemptMs?: number;
  /** No further attempt begins after this; 4 s by default, within the 5 s that resolv.conf(5) gives a client. */
  readonly budgetMs?: number;
}

const DNS_PORT = 53;
/** Every server is asked this often. */
const ROUNDS = 2;
/** Queries under way at once; more are turned away (CoreDNS' forward max_concurrent). */
const MAX_CONCURRENT = 1000;
const MAX_REPLY_BYTES = 65_535;

/**
 * Name servers from a list such as `10.0.0.2, 10.0.0.3:5353, [fd00::1]:53`; the port is 53 when missing.
 *
 * @throws Error that names the entry
 */
export function parseUpstreams(text: string): Upstream[] {
  const entries = text.split(/[\s,]+/).filter((entry) => entry !== "");
  return entries.map((entry) => {
    const [, bracketed, plain, digits] = /^(?:\[(.+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(entry) ?? [];
    const address = bracketed ?? plain ?? entry;
    const port = Number(digits ?? DNS_PORT);
    if (isIP(address) === 0 || port < 1 || port > 65_535)
      throw new Error(`"${entry}" is no name server: give an IP address, with or without a port`);
    return { address, port };
  });
}

/** The name servers of a resolv.conf(5) text; lines that make no sense are skipped, as its other readers do. */
export function nameservers(resolvConf: string): Upstream[] {
  const found = resolvConf.split("\n").map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? "");
  return found.filter((address) => isIP(address) !== 0).map((address) => ({ address, port: DNS_PORT }));
}

export class Forwarder {
  readonly #upstreams: readonly Upstream[];
  readonly #attemptMs: number;
  readonly #budgetMs: number;
  #active = 0;

  constructor(upstreams: readonly Upstream[], { attemptMs = 2000, budgetMs = 4000 }: ForwarderOptions = {}) {
    this.#upstreams = upstreams;
    this.#attemptMs = attemptMs;
    this.#budgetMs = budgetMs;
  }

  /** Whether there is anybody to ask. */
  get available(): boolean {
    return this.#upstreams.length > 0;
  }

  /**
   * The answer of the first server that gives one, with the query's id.
   *
   * @param query a message with one question
   * @throws Error nobody answered in time, or too many queries are under way
   */
  async forward(query: Buffer, transport: Transport): Promise<Buffer> {
    if (this.#active >= MAX_CONCURRENT) throw new Error("too many queries are under way");
    this.#active += 1;
    try {
      return await this.#attempts(query, transport);
    } finally {
      this.#active -= 1;
    }
  }

  async #attempts(query: Buffer, transport: Transport): Promise<Buffer> {
    const exchange = transport === "udp" ? exchangeUdp : exchangeTcp;
    const startMs = performance.now();
    let why = "there is no upstream name server";
    for (let round = 0; round < ROUNDS; round++) {
      for (const upstream of this.#upstreams) {
        if (performance.now() - startMs > this.#budgetMs) break;
        const asked = Buffer.from(query);
        asked.writeUInt16BE(randomInt(0x1_0000), 0);
        try {
          const reply = await exchange(upstream, asked, this.#attemptMs);
          query.copy(reply, 0, 0, 2);
          return reply;
        } catch (error) {
          why = `${upstream.address}: ${(error as Error).message}`;
        }
      }
    }
    throw new Error(why);
  }
}

/** Whether a message answers the query: same id and question. Case may differ; an error may come without a question. */
function answers(query: Buffer, reply: Buffer): boolean {
  if (reply.length < HEADER_BYTES || !(reply[2]! & 0x80) || query.readUInt16BE(0) !== reply.readUInt16BE(0))
    return false;
  if (reply.readUInt16BE(4) === 0) return (reply[3]! & 0xf) !== 0;
  const end = questionEnd(query);
  const text = (bytes: Buffer) => bytes.toString("latin1", HEADER_BYTES, end).toLowerCase();
  return reply.readUInt16BE(4) === 1 && text(query) === text(reply);
}

function exchangeUdp({ address, port }: Upstream, query: Buffer, timeoutMs: number): Promise<Buffer> {
  const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
  const exchange = new Promise<Buffer>((resolve, reject) => {
    socket.on("error", reject);
    // A stranger's answer does not end the wait for the right one.
    socket.on("message", (reply) => answers(query, reply) && resolve(reply));
    socket.connect(port, address, (error?: Error | null) => {
      if (error) reject(error);
      else socket.send(query, (problem) => problem && reject(problem));
    });
  });
  return within(exchange, timeoutMs).finally(() => socket.close());
}

function exchangeTcp({ address, port }: Upstream, query: Buffer, timeoutMs: number): Promise<Buffer> {
  const socket = connect(port, address);
  const exchange = new Promise<Buffer>((resolve, reject) => {
    let received = Buffer.alloc(0);
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("hung up without an answer")));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]).subarray(0, 2 + MAX_REPLY_BYTES);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const reply = received.subarray(2, 2 + received.readUInt16BE(0));
      if (answers(query, reply)) resolve(reply);
      else reject(new Error("answered something else"));
    });
    socket.write(framed(query));
  });
  return within(exchange, timeoutMs).finally(() => socket.destroy());
}

/** A message as it goes over TCP (RFC 1035 section 4.2.2). */
export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

async function within<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${timeoutMs / 1000} s`)), timeoutMs);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
