/**
 * The journal: every change, appended and synced before it is answered. Changes that come while the disk is busy, or
 * within one turn of the event loop, share one frame and one fsync. After a compaction, a journal that has grown is
 * written anew from the store's state and takes the old one's place by rename.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readFile, rename, truncate } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { type Change, Engine, type EngineOptions } from "./engine.js";
import { frame, parseFrames } from "./frames.js";
import { acquireLock } from "./lock.js";
import {
  decodeBatch,
  encodeBatch,
  type Identity,
  type JournalRecord,
  readIdentity,
  replayRecord,
  snapshot,
  toRecord,
} from "./records.js";
import type { StoreLog } from "./server.js";

const FILE_MODE = 0o600;
const DIR_MODE = 0o700;
const DEFAULT_REWRITE_BYTES = 4 * 1024 * 1024;

export interface JournalOptions {
  readonly dir: string;
  readonly log: StoreLog;
  readonly engine: Omit<EngineOptions, "idSpace">;
  /** A compaction writes the journal anew when it has grown by this much. Default 4 MiB. */
  readonly rewriteBytes?: number;
}

/** Ids for a store that begins. They stay below 2^63, so that no client takes them for negative. */
export function newIdentity(): Identity {
  const random = () => (randomBytes(8).readBigUInt64BE() >> 1n).toString();
  return { clusterId: random(), memberId: random() };
}

/** 31 bits of the cluster id. */
export function idSpaceOf({ clusterId }: Identity): number {
  return Number(BigInt(clusterId) & 0x7fffffffn);
}

/**
 * Opens the store of a directory, or begins one there.
 * @throws Error when another server has it open, or the file is damaged: one sentence that names the file
 */
export async function openJournal(options: JournalOptions): Promise<Journal> {
  const { dir } = options;
  await mkdir(dir, { recursive: true, mode: DIR_MODE });
  const release = await acquireLock(dir);
  try {
    const path = join(dir, "journal");
    const records = await readJournal(path, options.log);
    const identity = records === undefined ? newIdentity() : explain(path, () => readIdentity(records[0]));
    const engine = new Engine({ ...options.engine, idSpace: idSpaceOf(identity) });
    explain(path, () => {
      for (const record of records ?? []) replayRecord(engine, record);
    });
    const journal = new Journal(options, path, identity, engine, release);
    await journal.start(records === undefined);
    return journal;
  } catch (error) {
    await release();
    throw error;
  }
}

/** The records of a journal file, a torn end cut off; undefined when there is no file. */
async function readJournal(path: string, log: StoreLog): Promise<JournalRecord[] | undefined> {
  const file = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (file === undefined) return undefined;
  const { payloads, endBytes } = explain(path, () => parseFrames(file));
  if (endBytes < file.length) {
    log("warn", `${path}: cut off a torn write of ${file.length - endBytes} bytes at byte ${endBytes}`);
    await truncate(path, endBytes);
  }
  return explain(path, () => payloads.flatMap((payload) => decodeBatch(payload)));
}

function explain<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `store ${path} cannot be read: ${reason}; move the file away to begin with an empty store`,
    );
  }
}

export class Journal {
  #pending: JournalRecord[] = [];
  #pendingRevision = 0;
  #scheduled = false;
  #compacted = false;
  #tail: Promise<void> = Promise.resolve();
  #file: FileHandle | undefined;
  #sizeBytes = 0;
  #rewriteAtBytes = 0;

  constructor(
    private readonly options: JournalOptions,
    private readonly path: string,
    readonly identity: Identity,
    readonly engine: Engine,
    private readonly release: () => Promise<void>,
  ) {}

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async start(isNew: boolean): Promise<void> {
    if (isNew) await this.#rewrite();
    else await this.#openFile();
    this.engine.onChange = (change) => this.#append(change);
    this.engine.start();
  }

  /** Resolves when all changes so far are on disk. @throws Error when they could not be written */
  settled(): Promise<void> {
    return this.#tail;
  }

  /** Writes what is left and gives the directory free. */
  async close(): Promise<void> {
    this.engine.close();
    try {
      await this.#tail;
    } finally {
      await this.#file?.close();
      await this.release();
    }
  }

  #append(change: Change): void {
    this.#pending.push(toRecord(change));
    if (change.type === "write") this.#pendingRevision = change.revision;
    if (change.type === "compact") this.#compacted = true;
    if (this.#scheduled) return;
    this.#scheduled = true;
    // After the one that is under way, and after this turn, so that its other changes come along.
    this.#tail = this.#tail.then(() => setImmediate()).then(() => this.#flush());
    this.#tail.catch(() => undefined);
  }

  async #flush(): Promise<void> {
    this.#scheduled = false;
    const [records, revision, compacted] = [this.#pending, this.#pendingRevision, this.#compacted];
    this.#pending = [];
    try {
      if (compacted && this.#sizeBytes > this.#rewriteAtBytes) await this.#rewrite();
      else if (records.length > 0) await this.#write(encodeBatch(records));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const message = `store ${this.path} cannot be written: ${reason}; it stays shut until it is started again`;
      this.options.log("error", message);
      throw new Error(message);
    }
    this.engine.publish(revision);
  }

  async #write(payload: Uint8Array): Promise<void> {
    const bytes = frame(payload);
    await this.#file?.appendFile(bytes);
    await this.#file?.datasync();
    this.#sizeBytes += bytes.length;
  }

  /** The state has all changes up to now in it, those that wait to be written too. */
  async #rewrite(): Promise<void> {
    const batches = snapshot(this.identity, this.engine);
    this.#pending = [];
    this.#compacted = false;
    const temporary = `${this.path}.new`;
    const file = await open(temporary, "w", FILE_MODE);
    try {
      for (const payload of batches) await file.appendFile(frame(payload));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.path);
    await syncDir(this.options.dir);
    await this.#openFile();
  }

  async #openFile(): Promise<void> {
    await this.#file?.close();
    this.#file = await open(this.path, "a", FILE_MODE);
    this.#sizeBytes = (await this.#file.stat()).size;
    const { rewriteBytes = DEFAULT_REWRITE_BYTES } = this.options;
    this.#rewriteAtBytes = this.#sizeBytes + Math.max(rewriteBytes, this.#sizeBytes);
  }
}

async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
