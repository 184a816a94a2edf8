/** ARP for IPv4 over Ethernet (RFC 826). */
import { getU16, getU32, setU16, setU32 } from "./bytes.js";
import { EtherType } from "./ethernet.js";
import { copyMac, isGroupMac, MAC_BYTES } from "./mac.js";

export const ARP_BYTES = 28;
const HARDWARE_TYPE = 0;
const PROTOCOL_TYPE = 2;
const HARDWARE_LENGTH = 4;
const PROTOCOL_LENGTH = 5;
const OPERATION = 6;
/** Offsets of the hardware addresses inside the packet. */
export const ARP_SENDER_MAC = 8;
export const ARP_TARGET_MAC = 18;
const SENDER_IP = 14;
const TARGET_IP = 24;

const HARDWARE_ETHERNET = 1;
const IPV4_BYTES = 4;

export const ArpOperation = { request: 1, reply: 2 } as const;
export type ArpOperation = (typeof ArpOperation)[keyof typeof ArpOperation];

/**
 * Whether `length` bytes at `offset` are an ARP request or reply for IPv4 over Ethernet from a single station.
 * The getters below may be used only when they are. Padding behind the packet is allowed.
 */
export function isArp(bytes: Uint8Array, offset: number, length: number): boolean {
  if (length < ARP_BYTES || offset + length > bytes.length) return false;
  const operation = getU16(bytes, offset + OPERATION);
  return (
    getU16(bytes, offset + HARDWARE_TYPE) === HARDWARE_ETHERNET &&
    getU16(bytes, offset + PROTOCOL_TYPE) === EtherType.ipv4 &&
    bytes[offset + HARDWARE_LENGTH] === MAC_BYTES &&
    bytes[offset + PROTOCOL_LENGTH] === IPV4_BYTES &&
    (operation === ArpOperation.request || operation === ArpOperation.reply) &&
    !isGroupMac(bytes, offset + ARP_SENDER_MAC)
  );
}

export function arpOperation(bytes: Uint8Array, offset: number): number {
  return getU16(bytes, offset + OPERATION);
}

/** The sender's address; 0 in a probe (RFC 5227 §2.1.1). */
export function arpSenderIp(bytes: Uint8Array, offset: number): number {
  return getU32(bytes, offset + SENDER_IP);
}

export function arpTargetIp(bytes: Uint8Array, offset: number): number {
  return getU32(bytes, offset + TARGET_IP);
}

/**
 * Writes {@link ARP_BYTES} bytes. Each MAC is six bytes at an offset inside its own array. To answer in place, write
 * somewhere else or copy the sender's MAC away first.
 */
export function writeArp(
  bytes: Uint8Array,
  offset: number,
  operation: ArpOperation,
  senderMac: Uint8Array,
  senderMacOffset: number,
  senderIp: number,
  targetMac: Uint8Array,
  targetMacOffset: number,
  targetIp: number,
): void {
  setU16(bytes, offset + HARDWARE_TYPE, HARDWARE_ETHERNET);
  setU16(bytes, offset + PROTOCOL_TYPE, EtherType.ipv4);
  bytes[offset + HARDWARE_LENGTH] = MAC_BYTES;
  bytes[offset + PROTOCOL_LENGTH] = IPV4_BYTES;
  setU16(bytes, offset + OPERATION, operation);
  copyMac(bytes, offset + ARP_TARGET_MAC, targetMac, targetMacOffset);
  copyMac(bytes, offset + ARP_SENDER_MAC, senderMac, senderMacOffset);
  setU32(bytes, offset + SENDER_IP, senderIp);
  setU32(bytes, offset + TARGET_IP, targetIp);
}
