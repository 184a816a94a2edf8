/** TCP headers (RFC 9293 §3.1). The getters are unchecked: parse the packet first. */
import { getU16, getU32, setU16, setU32 } from "./bytes.js";
import { foldSum, pseudoHeaderSum, sumWords } from "./checksum.js";
import { IpProtocol } from "./ipv4.js";

export const TCP_HEADER_BYTES = 20;
/** Offsets inside the header. */
export const TCP_SPORT = 0;
export const TCP_DPORT = 2;
export const TCP_CHECKSUM = 16;
const SEQ = 4;
const ACK = 8;
const DATA_OFFSET = 12;
const FLAGS = 13;
const WINDOW = 14;
const URGENT = 18;

/** Control bits. */
export const TcpFlag = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  urg: 0x20,
  ece: 0x40,
  cwr: 0x80,
} as const;
export type TcpFlag = (typeof TcpFlag)[keyof typeof TcpFlag];

/** Option kinds (IANA tcp-parameters). */
export const TcpOption = {
  end: 0,
  noOperation: 1,
  mss: 2,
  windowScale: 3,
  sackPermitted: 4,
  sack: 5,
  timestamps: 8,
} as const;
export type TcpOption = (typeof TcpOption)[keyof typeof TcpOption];

const FLAG_LETTERS = "FSRP.UEW";

export function tcpSeq(bytes: Uint8Array, offset: number): number {
  return getU32(bytes, offset + SEQ);
}

export function tcpAck(bytes: Uint8Array, offset: number): number {
  return getU32(bytes, offset + ACK);
}

export function tcpHeaderLength(bytes: Uint8Array, offset: number): number {
  return (bytes[offset + DATA_OFFSET] >>> 4) * 4;
}

export function tcpFlags(bytes: Uint8Array, offset: number): number {
  return bytes[offset + FLAGS];
}

export function tcpWindow(bytes: Uint8Array, offset: number): number {
  return getU16(bytes, offset + WINDOW);
}

/** The flags as tcpdump writes them: `S`, `S.`, `.`, `P.`, `F.`, `R`; `none` when no bit is set. */
export function formatTcpFlags(flags: number): string {
  let text = "";
  for (let bit = 0; bit < 8; bit++) if ((flags >>> bit) & 1) text += FLAG_LETTERS[bit];
  return text || "none";
}

/**
 * Finds an option in a header of `headerLength` bytes. Returns the offset of its kind byte, or -1 when it is absent
 * or an option in front of it, or itself, has a length that does not fit (RFC 9293 §3.1, MUST-7).
 */
export function findTcpOption(
  bytes: Uint8Array,
  offset: number,
  headerLength: number,
  kind: TcpOption,
): number {
  const end = offset + headerLength;
  let at = offset + TCP_HEADER_BYTES;
  while (at < end && bytes[at] !== TcpOption.end) {
    if (bytes[at] === TcpOption.noOperation) {
      at++;
      continue;
    }
    if (at + 1 >= end || bytes[at + 1] < 2 || at + bytes[at + 1] > end) return -1;
    if (bytes[at] === kind) return at;
    at += bytes[at + 1];
  }
  return -1;
}

/** The maximum segment size a header announces; 0 when it does not (RFC 9293 §3.7.1). */
export function tcpMss(bytes: Uint8Array, offset: number, headerLength: number): number {
  const at = findTcpOption(bytes, offset, headerLength, TcpOption.mss);
  return at >= 0 && bytes[at + 1] === 4 ? getU16(bytes, at + 2) : 0;
}

/**
 * Writes the header between `optionsLength` bytes of options (a multiple of 4, up to 40) and `payloadLength` bytes of
 * payload that are already in place behind its first 20 bytes, checksum included.
 */
export function writeTcp(
  bytes: Uint8Array,
  offset: number,
  src: number,
  dst: number,
  sport: number,
  dport: number,
  seq: number,
  ack: number,
  flags: number,
  window: number,
  optionsLength: number,
  payloadLength: number,
): void {
  const length = TCP_HEADER_BYTES + optionsLength + payloadLength;
  writeTcpHeader(bytes, offset, sport, dport, seq, ack, flags, window, optionsLength);
  const sum = sumWords(bytes, offset, length, pseudoHeaderSum(src, dst, IpProtocol.tcp, length));
  setU16(bytes, offset + TCP_CHECKSUM, foldSum(sum) ^ 0xffff);
}

/** Writes the first 20 bytes of a header with a checksum of 0. */
export function writeTcpHeader(
  bytes: Uint8Array,
  offset: number,
  sport: number,
  dport: number,
  seq: number,
  ack: number,
  flags: number,
  window: number,
  optionsLength: number,
): void {
  setU16(bytes, offset + TCP_SPORT, sport);
  setU16(bytes, offset + TCP_DPORT, dport);
  setU32(bytes, offset + SEQ, seq);
  setU32(bytes, offset + ACK, ack);
  bytes[offset + DATA_OFFSET] = ((TCP_HEADER_BYTES + optionsLength) >>> 2) << 4;
  bytes[offset + FLAGS] = flags;
  setU16(bytes, offset + WINDOW, window);
  setU16(bytes, offset + TCP_CHECKSUM, 0);
  setU16(bytes, offset + URGENT, 0);
}
