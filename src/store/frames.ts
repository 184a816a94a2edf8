/**
 * Frames of the journal file: a header of three little-endian words (payload length, CRC-32 of the payload, CRC-32 of
 * the first two words), then the payload. One frame is written and synced at a time, so only the last one may be torn.
 */
import { crc32 } from "node:zlib";

const HEADER_BYTES = 12;

export interface Frames {
  readonly payloads: readonly Buffer[];
  /** Where the last whole frame ends; what follows is a torn write. */
  readonly endBytes: number;
}

export function frame(payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + payload.length);
  bytes.writeUInt32LE(payload.length, 0);
  bytes.writeUInt32LE(crc32(payload), 4);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 8)), 8);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/**
 * All frames of a file. A write that a crash cut short leaves too few bytes, or zeros where the file grew before its
 * bytes came; anything else that does not check is damage. @throws Error with the place of the damage
 */
export function parseFrames(file: Buffer): Frames {
  const payloads: Buffer[] = [];
  let at = 0;
  for (;;) {
    const payload = readFrame(file, at);
    if (payload === undefined) return { payloads, endBytes: at };
    payloads.push(payload);
    at += HEADER_BYTES + payload.length;
  }
}

/** Undefined where a torn write or the end of the file is. */
function readFrame(file: Buffer, at: number): Buffer | undefined {
  const bodyAt = at + HEADER_BYTES;
  if (bodyAt > file.length) return undefined;
  const length = file.readUInt32LE(at);
  if (crc32(file.subarray(at, at + 8)) !== file.readUInt32LE(at + 8)) return tornOrDamaged(file, at, bodyAt);
  if (bodyAt + length > file.length) return undefined;
  const payload = file.subarray(bodyAt, bodyAt + length);
  if (crc32(payload) === file.readUInt32LE(at + 4)) return payload;
  return tornOrDamaged(file, at, bodyAt + length);
}

function tornOrDamaged(file: Buffer, at: number, restAt: number): undefined {
  if (file.subarray(restAt).every((byte) => byte === 0)) return undefined;
  throw new Error(`damaged record at byte ${at} of ${file.length}`);
}
