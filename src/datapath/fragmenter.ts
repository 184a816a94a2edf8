/** Cutting a packet that is larger than the next link and may be cut (RFC 791 §3.2). */
import {
  copyBytes,
  foldSum,
  IPV4_HEADER_BYTES,
  IpProtocol,
  pseudoHeaderSum,
  setIpv4Fragment,
  setU16,
  sumWords,
  TCP_CHECKSUM,
  UDP_CHECKSUM,
  writeIpv4Checksum,
} from "../wire/index.js";
import type { Packet } from "./packet.js";
import { NO_ROOM, type Scratch } from "./scratch.js";
import { clearVnet } from "./vnet.js";

const END_OF_OPTIONS = 0;
const NO_OPERATION = 1;
/** Options with this bit go into every fragment, the others only into the first. */
const COPIED = 0x80;

/** Sends one piece: the IP packet of `length` bytes at `ip` in a frame that begins at `frame`. */
export type SendPiece = (packet: Packet, frame: number, ip: number, length: number) => number;

/**
 * Sends a packet, already rewritten, in pieces of at most `mtuBytes`: the first in place, the others from scratch space.
 * A partial checksum is completed first. Returns false when scratch space ran out before the last piece.
 */
export function sendInPieces(packet: Packet, mtuBytes: number, scratch: Scratch, send: SendPiece): boolean {
  const { bytes, view, frame } = packet;
  if (packet.isPartial) completeChecksum(packet);
  const { headerLength, l3Offset } = view;
  const payload = view.l3Length - headerLength;
  const step = (mtuBytes - headerLength) & ~7;
  for (let done = 0; done < payload; done += step) {
    const size = Math.min(step, payload - done);
    const isLast = done + size === payload;
    const ip = done === 0 ? l3Offset : scratch.take(headerLength + size);
    if (ip === NO_ROOM) return false;
    if (done > 0) {
      copyBytes(bytes, ip, bytes, l3Offset, headerLength);
      clearUncopiedOptions(bytes, ip, headerLength);
      copyBytes(bytes, ip + headerLength, bytes, l3Offset + headerLength + done, size);
    }
    const more = isLast ? view.moreFragments : 1;
    setIpv4Fragment(bytes, ip, headerLength + size, 0, more, view.fragmentOffset + done);
    writeIpv4Checksum(bytes, ip, headerLength);
    send(packet, done === 0 ? frame : ip, ip, headerLength + size);
  }
  return true;
}

function completeChecksum({ bytes, view, frame, newSrc, newDst }: Packet): void {
  const { l4Offset, l4Length, protocol } = view;
  const isUdp = protocol === IpProtocol.udp;
  const field = l4Offset + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
  setU16(bytes, field, 0);
  const sum = sumWords(bytes, l4Offset, l4Length, pseudoHeaderSum(newSrc, newDst, protocol, l4Length));
  const checksum = foldSum(sum) ^ 0xffff;
  setU16(bytes, field, isUdp ? checksum || 0xffff : checksum);
  clearVnet(bytes, frame);
}

function clearUncopiedOptions(bytes: Uint8Array, ip: number, headerLength: number): void {
  let at = ip + IPV4_HEADER_BYTES;
  while (at < ip + headerLength && bytes[at] !== END_OF_OPTIONS) {
    const length = bytes[at] === NO_OPERATION ? 1 : bytes[at + 1];
    if ((bytes[at] & COPIED) === 0) bytes.fill(NO_OPERATION, at, at + length);
    at += length;
  }
}
