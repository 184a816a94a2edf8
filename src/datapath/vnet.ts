/** `struct virtio_net_hdr` (linux/virtio_net.h), little-endian, directly before each frame. */
import { VNET_HDR_BYTES } from "./types.js";

const FLAGS = 0;
const GSO_TYPE = 1;
const HEADER_LENGTH = 2;
const GSO_SIZE = 4;
const CSUM_START = 6;
const CSUM_OFFSET = 8;

/** Flags: the checksum field holds only the pseudo-header's sum; the checksum was verified already. */
const NEEDS_CSUM = 1;
const DATA_VALID = 2;
/** gso_type without its ECN bit. */
const GSO_TYPE_MASK = 0x7f;

function getU16Le(bytes: Uint8Array, offset: number): number {
  return bytes[offset] | (bytes[offset + 1] << 8);
}

function addU16Le(bytes: Uint8Array, offset: number, delta: number): void {
  const value = getU16Le(bytes, offset) + delta;
  bytes[offset] = value;
  bytes[offset + 1] = value >>> 8;
}

/** Whether the frame at `frame` has a plain header: nothing for the device to complete or cut. */
export function isPlain(bytes: Uint8Array, frame: number): boolean {
  return (bytes[frame - VNET_HDR_BYTES + FLAGS] | bytes[frame - VNET_HDR_BYTES + GSO_TYPE]) === 0;
}

export function needsChecksum(bytes: Uint8Array, frame: number): boolean {
  return (bytes[frame - VNET_HDR_BYTES + FLAGS] & NEEDS_CSUM) !== 0;
}

/** Whether the L4 checksum need not, or cannot, be verified. */
export function checksumIsTrusted(bytes: Uint8Array, frame: number): boolean {
  return (bytes[frame - VNET_HDR_BYTES + FLAGS] & (NEEDS_CSUM | DATA_VALID)) !== 0;
}

/** Where in the arena the checksum of a NEEDS_CSUM frame begins to count. */
export function checksumStart(bytes: Uint8Array, frame: number): number {
  return frame + getU16Le(bytes, frame - VNET_HDR_BYTES + CSUM_START);
}

/** Where in the arena the checksum field of a NEEDS_CSUM frame is. */
export function checksumField(bytes: Uint8Array, frame: number): number {
  return checksumStart(bytes, frame) + getU16Le(bytes, frame - VNET_HDR_BYTES + CSUM_OFFSET);
}

/** Payload bytes of each segment of a super-packet; 0 when the frame is a single packet. */
export function segmentBytes(bytes: Uint8Array, frame: number): number {
  if ((bytes[frame - VNET_HDR_BYTES + GSO_TYPE] & GSO_TYPE_MASK) === 0) return 0;
  return getU16Le(bytes, frame - VNET_HDR_BYTES + GSO_SIZE);
}

/** Makes the header plain. */
export function clearVnet(bytes: Uint8Array, frame: number): void {
  for (let at = frame - VNET_HDR_BYTES; at < frame; at++) bytes[at] = 0;
}

/** Moves the header when a frame's start moves; what counts from the start moves along. Call before writing in front. */
export function moveVnet(bytes: Uint8Array, from: number, to: number): void {
  if (from === to) return;
  if (isPlain(bytes, from)) {
    clearVnet(bytes, to);
    return;
  }
  bytes.copyWithin(to - VNET_HDR_BYTES, from - VNET_HDR_BYTES, from);
  const header = to - VNET_HDR_BYTES;
  if (getU16Le(bytes, header + HEADER_LENGTH) > 0) addU16Le(bytes, header + HEADER_LENGTH, from - to);
  if ((bytes[header + FLAGS] & NEEDS_CSUM) !== 0) addU16Le(bytes, header + CSUM_START, from - to);
}
