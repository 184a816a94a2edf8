/** SCTP packets (RFC 9260 §3). The getters are unchecked: parse the packet first. */
import { getU16, getU32, setU16, setU32 } from "./bytes.js";
import { CRC32C_START, updateCrc32c, updateCrc32cZeros } from "./crc32c.js";

/** The common header; chunks follow. */
export const SCTP_HEADER_BYTES = 12;
export const SCTP_CHUNK_HEADER_BYTES = 4;
/** Offsets inside the common header. */
export const SCTP_SPORT = 0;
export const SCTP_DPORT = 2;
export const SCTP_CHECKSUM = 8;
const VERIFICATION_TAG = 4;
const CHECKSUM_BYTES = 4;
/** Offsets inside a chunk. */
const CHUNK_FLAGS = 1;
const CHUNK_LENGTH = 2;
/** Fixed part of INIT and INIT ACK: tag, window, numbers of streams, first TSN. */
const INIT_BYTES = 16;

/** Chunk types (IANA sctp-parameters). */
export const SctpChunk = {
  data: 0,
  init: 1,
  initAck: 2,
  sack: 3,
  heartbeat: 4,
  heartbeatAck: 5,
  abort: 6,
  shutdown: 7,
  shutdownAck: 8,
  error: 9,
  cookieEcho: 10,
  cookieAck: 11,
  shutdownComplete: 14,
} as const;
export type SctpChunk = (typeof SctpChunk)[keyof typeof SctpChunk];

/** ABORT and SHUTDOWN COMPLETE: the tag is the receiver's own, reflected (RFC 9260 §8.5.1). */
export const SCTP_FLAG_T = 1;

const CHUNK_NAMES: Readonly<Record<number, string>> = {
  0: "DATA",
  1: "INIT",
  2: "INIT ACK",
  3: "SACK",
  4: "HEARTBEAT",
  5: "HEARTBEAT ACK",
  6: "ABORT",
  7: "SHUTDOWN",
  8: "SHUTDOWN ACK",
  9: "ERROR",
  10: "COOKIE ECHO",
  11: "COOKIE ACK",
  14: "SHUTDOWN COMPLETE",
};

export function sctpTag(bytes: Uint8Array, offset: number): number {
  return getU32(bytes, offset + VERIFICATION_TAG);
}

export function sctpChunkType(bytes: Uint8Array, chunk: number): number {
  return bytes[chunk];
}

export function sctpChunkFlags(bytes: Uint8Array, chunk: number): number {
  return bytes[chunk + CHUNK_FLAGS];
}

/** Length as the chunk claims it, its header included, its padding not. */
export function sctpChunkLength(bytes: Uint8Array, chunk: number): number {
  return getU16(bytes, chunk + CHUNK_LENGTH);
}

/** Where the chunk behind this one begins: chunks are padded to 4 bytes. */
export function nextSctpChunk(bytes: Uint8Array, chunk: number): number {
  return chunk + ((sctpChunkLength(bytes, chunk) + 3) & ~3);
}

/** The initiate tag of an INIT or INIT ACK; -1 when the packet ends at `end`, before the chunk's fixed part does. */
export function sctpInitTag(bytes: Uint8Array, chunk: number, end: number): number {
  if (chunk + SCTP_CHUNK_HEADER_BYTES + INIT_BYTES > end) return -1;
  return getU32(bytes, chunk + SCTP_CHUNK_HEADER_BYTES);
}

/** Whether the CRC32c of the packet of `length` bytes at `offset` is right. */
export function sctpChecksumIsValid(bytes: Uint8Array, offset: number, length: number): boolean {
  return getU32(bytes, offset + SCTP_CHECKSUM) === computeChecksum(bytes, offset, length);
}

/** Computes the CRC32c of the packet of `length` bytes at `offset` anew. No pseudo-header is in it: addresses do not count. */
export function writeSctpChecksum(bytes: Uint8Array, offset: number, length: number): void {
  setU32(bytes, offset + SCTP_CHECKSUM, computeChecksum(bytes, offset, length));
}

/** Writes the common header in front of `chunksLength` bytes of chunks that are already in place, checksum included. */
export function writeSctp(
  bytes: Uint8Array,
  offset: number,
  sport: number,
  dport: number,
  tag: number,
  chunksLength: number,
): void {
  setU16(bytes, offset + SCTP_SPORT, sport);
  setU16(bytes, offset + SCTP_DPORT, dport);
  setU32(bytes, offset + VERIFICATION_TAG, tag);
  writeSctpChecksum(bytes, offset, SCTP_HEADER_BYTES + chunksLength);
}

/** The chunks' names, as in `COOKIE ACK, DATA`, of the packet in `[offset, end)`; `chunk 192` for others. */
export function formatSctpChunks(bytes: Uint8Array, offset: number, end: number): string {
  const names: string[] = [];
  let chunk = offset + SCTP_HEADER_BYTES;
  while (chunk + SCTP_CHUNK_HEADER_BYTES <= end) {
    const type = sctpChunkType(bytes, chunk);
    names.push(CHUNK_NAMES[type] ?? `chunk ${type}`);
    if (sctpChunkLength(bytes, chunk) < SCTP_CHUNK_HEADER_BYTES) break;
    chunk = nextSctpChunk(bytes, chunk);
  }
  return names.join(", ");
}

/** The field's value, read as a big-endian word: the CRC is sent with its low byte first. */
function computeChecksum(bytes: Uint8Array, offset: number, length: number): number {
  const behind = SCTP_CHECKSUM + CHECKSUM_BYTES;
  let crc = updateCrc32c(CRC32C_START, bytes, offset, SCTP_CHECKSUM);
  crc = updateCrc32cZeros(crc, CHECKSUM_BYTES);
  crc = ~updateCrc32c(crc, bytes, offset + behind, length - behind);
  return ((crc << 24) | ((crc & 0xff00) << 8) | ((crc >>> 8) & 0xff00) | (crc >>> 24)) >>> 0;
}
