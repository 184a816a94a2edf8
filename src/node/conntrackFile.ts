/**
 * The connection table on disk. In a cluster it lives in the kernel, so that connections outlive kube-proxy; here it is
 * saved now and then and when the node process ends, and the next process takes it up. Losing it costs NATed
 * connections; a file that is damaged or of another node or subnet is worth no more than none.
 *
 * A line of JSON says whose it is; then come the slices of the table, each a line of JSON about its words and addresses
 * and those behind it; a last line tells that nothing is missing.
 */
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";
import { type ConntrackSnapshot, SNAPSHOT_ADDRESS_BYTES, SNAPSHOT_WORDS } from "../datapath/index.js";

const VERSION = 2;
const NEWLINE = 10;
const MODE = 0o600;
/** More connections in one slice than any process has written. */
const MAX_SLICE = 1 << 24;
const END = Buffer.from('{"end":true}\n');

/** The first line. */
interface Head {
  readonly version: number;
  readonly savedAtMs: number;
  /** Whose connections these are. */
  readonly owner: string;
  readonly settings: Readonly<Record<string, string>>;
}

/** The line before a slice: how many connections, and how many of them over IPv6. */
interface SliceHead {
  readonly connections: number;
  readonly ipv6: number;
  readonly labels: readonly (readonly [string, string])[];
}

/** What is saved, and when. */
export interface SavedConntrack {
  readonly slices: Iterable<ConntrackSnapshot>;
  /** Settings that were changed at run time, by sysctl. */
  readonly settings: Readonly<Record<string, string>>;
  readonly savedAtMs: number;
}

export class ConntrackFile {
  #isWriting = false;
  #isClosed = false;

  /** @param owner says which node and subnet the connections belong to */
  constructor(
    readonly path: string,
    readonly owner: string,
  ) {}

  /**
   * Writes while the node goes on, which it does between any two slices. Does nothing when the last write is still under
   * way.
   */
  async save(saved: SavedConntrack): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    try {
      const file = await open(`${this.path}.new`, "w", MODE);
      try {
        for (const block of this.#encode(saved)) await file.write(block);
      } finally {
        await file.close();
      }
      // Not in place of what was saved at the very end.
      if (!this.#isClosed) renameSync(`${this.path}.new`, this.path);
    } finally {
      this.#isWriting = false;
    }
  }

  /** Writes before it returns; the last that is saved. */
  saveLast(saved: SavedConntrack): void {
    this.#isClosed = true;
    const file = openSync(`${this.path}.last`, "w", MODE);
    try {
      for (const block of this.#encode(saved)) writeSync(file, block);
    } finally {
      closeSync(file);
    }
    renameSync(`${this.path}.last`, this.path);
  }

  /** What was saved; undefined when there is nothing, or nothing of use. */
  load(): SavedConntrack | undefined {
    let bytes: Buffer;
    try {
      bytes = readFileSync(this.path);
    } catch {
      return undefined;
    }
    const saved = this.#decode(bytes);
    if (saved === undefined) rmSync(this.path, { force: true });
    return saved;
  }

  *#encode({ slices, settings, savedAtMs }: SavedConntrack): Generator<Buffer> {
    const head: Head = { version: VERSION, savedAtMs, owner: this.owner, settings };
    yield Buffer.from(`${JSON.stringify(head)}\n`);
    for (const { words, addresses, labels } of slices) {
      const connections = words.length / SNAPSHOT_WORDS;
      const slice: SliceHead = { connections, ipv6: addresses.length / SNAPSHOT_ADDRESS_BYTES, labels };
      const body = Buffer.from(words.buffer, words.byteOffset, words.byteLength);
      yield Buffer.concat([Buffer.from(`${JSON.stringify(slice)}\n`), body, addresses]);
    }
    yield END;
  }

  #decode(bytes: Buffer): SavedConntrack | undefined {
    const first = lineAt(bytes, 0);
    const head = first === undefined ? undefined : parseHead(first.text);
    if (first === undefined || head === undefined || head.owner !== this.owner) return undefined;
    const slices: ConntrackSnapshot[] = [];
    for (let at = first.end; !bytes.subarray(at).equals(END); ) {
      const line = lineAt(bytes, at);
      const slice = line === undefined ? undefined : parseSlice(line.text);
      if (line === undefined || slice === undefined) return undefined;
      const words = new Int32Array(slice.connections * SNAPSHOT_WORDS);
      const addressesAt = line.end + words.byteLength;
      at = addressesAt + slice.ipv6 * SNAPSHOT_ADDRESS_BYTES;
      if (at > bytes.length) return undefined;
      new Uint8Array(words.buffer).set(bytes.subarray(line.end, addressesAt));
      slices.push({
        words,
        addresses: Uint8Array.from(bytes.subarray(addressesAt, at)),
        labels: slice.labels,
      });
    }
    return { slices, settings: head.settings, savedAtMs: head.savedAtMs };
  }
}

function lineAt(bytes: Buffer, at: number): { readonly text: string; readonly end: number } | undefined {
  const newline = bytes.indexOf(NEWLINE, at);
  return newline < 0 ? undefined : { text: bytes.toString("utf8", at, newline), end: newline + 1 };
}

function parseHead(line: string): Head | undefined {
  const head = parse<Head>(line);
  const { version, savedAtMs, settings } = head ?? {};
  if (version !== VERSION || typeof savedAtMs !== "number" || typeof settings !== "object") return undefined;
  return Object.values(settings ?? {}).every((value) => typeof value === "string")
    ? (head as Head)
    : undefined;
}

function parseSlice(line: string): SliceHead | undefined {
  const slice = parse<SliceHead>(line);
  const { connections = -1, ipv6 = -1, labels } = slice ?? {};
  const isCount = (value: number) => Number.isInteger(value) && value >= 0;
  if (!isCount(connections) || !isCount(ipv6) || ipv6 > connections || connections > MAX_SLICE)
    return undefined;
  const labelsAreSound =
    Array.isArray(labels) &&
    labels.every((label: unknown) => Array.isArray(label) && label.every((name) => typeof name === "string"));
  return labelsAreSound ? (slice as SliceHead) : undefined;
}

function parse<T>(line: string): Partial<T> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Partial<T>) : undefined;
  } catch {
    return undefined;
  }
}
