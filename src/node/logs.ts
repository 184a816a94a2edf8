/** Reads container logs: whole, the last lines, or as they grow, across the container's restarts. */
import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const BLOCK_BYTES = 64 * 1024;
/** How often a follower looks for more, in milliseconds. */
const FOLLOW_MS = 100;

export interface LogOptions {
  /** Only so many lines from the end, then what follows. */
  readonly tailLines?: number;
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Yields a log file's bytes. A missing file is empty (the container has not started). With `follow` it goes on until
 * aborted or until the log's directory is gone; when a new file takes the name, that is read from its beginning.
 */
export async function* readLog(path: string, options: LogOptions = {}): AsyncGenerator<Buffer> {
  let fd = openIfThere(path);
  let opened = fd !== undefined;
  let offset = fd === undefined || options.tailLines === undefined ? 0 : tailOffset(fd, options.tailLines);
  try {
    for (;;) {
      // Before the rest of the file is read: what was written until it was replaced belongs to it.
      const replaced = fd !== undefined && !isNamed(fd, path);
      for (const block of fd === undefined ? [] : blocks(fd, offset)) {
        offset += block.length;
        yield block;
      }
      if (!options.follow || options.signal?.aborted) return;
      if (replaced && fd !== undefined) {
        closeSync(fd);
        fd = undefined;
        offset = 0;
      }
      fd ??= openIfThere(path);
      opened ||= fd !== undefined;
      if (opened && !existsSync(dirname(path))) return;
      // Rejects when aborted, which the next round sees.
      if (!replaced) await pause(FOLLOW_MS, undefined, { signal: options.signal }).catch(() => {});
    }
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether the path still names the open file; its inode cannot be another's while we hold it. */
function isNamed(fd: number, path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino;
}

function* blocks(fd: number, from: number): Generator<Buffer> {
  for (let offset = from; ; ) {
    const block = Buffer.allocUnsafe(BLOCK_BYTES);
    const read = readSync(fd, block, 0, BLOCK_BYTES, offset);
    if (read === 0) return;
    offset += read;
    yield block.subarray(0, read);
  }
}

/** Offset at which the last `lines` lines start. */
function tailOffset(fd: number, lines: number): number {
  const { size } = fstatSync(fd);
  if (lines <= 0) return size;
  let seen = 0;
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - BLOCK_BYTES);
    const block = Buffer.alloc(end - start);
    readSync(fd, block, 0, block.length, start);
    for (let index = block.length - 1; index >= 0; index--) {
      // The newline that ends the file ends a line; it does not start one.
      if (block[index] !== 10 || start + index === size - 1) continue;
      if (++seen === lines) return start + index + 1;
    }
    end = start;
  }
  return 0;
}
