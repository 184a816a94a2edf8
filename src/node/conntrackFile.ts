/**
 * The connection table on disk. In a cluster it lives in the kernel, so that connections outlive kube-proxy; here it is
 * saved now and then and when the node process ends, and the next process takes it up. Losing it costs NATed
 * connections; a file that is damaged or of another node or subnet is worth no more than none.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { type ConntrackSnapshot, SNAPSHOT_WORDS } from "../datapath/index.js";

const VERSION = 1;
const NEWLINE = 10;
const MODE = 0o600;
const WORD_BYTES = Int32Array.BYTES_PER_ELEMENT;

/** The first line, as JSON; the words follow. */
interface Head {
  readonly version: number;
  readonly savedAtMs: number;
  /** Whose connections these are. */
  readonly owner: string;
  readonly labels: readonly (readonly [string, string])[];
}

/** What was read, and how old it is. */
export interface SavedConntrack {
  readonly snapshot: ConntrackSnapshot;
  readonly savedAtMs: number;
}

export class ConntrackFile {
  #isWriting = false;

  /** @param owner says which node and subnet the connections belong to */
  constructor(
    readonly path: string,
    readonly owner: string,
  ) {}

  /** Writes while the node goes on; does nothing when the last write is still under way. */
  async save(snapshot: ConntrackSnapshot, nowMs: number): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    try {
      await writeFile(`${this.path}.new`, this.#encode(snapshot, nowMs), { mode: MODE });
      await rename(`${this.path}.new`, this.path);
    } finally {
      this.#isWriting = false;
    }
  }

  /** Writes before it returns. */
  saveNow(snapshot: ConntrackSnapshot, nowMs: number): void {
    writeFileSync(`${this.path}.last`, this.#encode(snapshot, nowMs), { mode: MODE });
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

  #encode({ words, labels }: ConntrackSnapshot, savedAtMs: number): Buffer {
    const head: Head = { version: VERSION, savedAtMs, owner: this.owner, labels };
    const body = Buffer.from(words.buffer, words.byteOffset, words.byteLength);
    return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body]);
  }

  #decode(bytes: Buffer): SavedConntrack | undefined {
    const end = bytes.indexOf(NEWLINE);
    const head = end < 0 ? undefined : parseHead(bytes.toString("utf8", 0, end));
    const body = bytes.subarray(end + 1);
    if (head === undefined || head.owner !== this.owner || body.length % (SNAPSHOT_WORDS * WORD_BYTES) !== 0)
      return undefined;
    const words = new Int32Array(body.length / WORD_BYTES);
    new Uint8Array(words.buffer).set(body);
    return { snapshot: { words, labels: head.labels }, savedAtMs: head.savedAtMs };
  }
}

function parseHead(line: string): Head | undefined {
  try {
    const head = JSON.parse(line) as Partial<Head>;
    const labelsAreSound =
      Array.isArray(head.labels) &&
      head.labels.every(
        (label: unknown) => Array.isArray(label) && label.every((name) => typeof name === "string"),
      );
    if (head.version !== VERSION || typeof head.savedAtMs !== "number" || !labelsAreSound) return undefined;
    return head as Head;
  } catch {
    return undefined;
  }
}
