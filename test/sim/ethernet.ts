/** Ethernet and ARP for the stations. */
import { addressBytes } from "./address.js";

export const BROADCAST = "ff:ff:ff:ff:ff:ff";
export const ETHERNET_BYTES = 14;
export const IPV4_TYPE = 0x0800;
export const ARP_TYPE = 0x0806;
export const IPV6_TYPE = 0x86dd;

export function etherTypeOf(frame: Uint8Array): number {
  return frame[12] * 256 + frame[13];
}

export function macBytes(mac: string): number[] {
  return mac.split(":").map((octet) => Number.parseInt(octet, 16));
}

export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (octet) => octet.toString(16).padStart(2, "0")).join(":");
}

export function ethernet(dst: string, src: string, type: number, body: Uint8Array): Uint8Array {
  return Uint8Array.from([...macBytes(dst), ...macBytes(src), type >>> 8, type & 255, ...body]);
}

export function arp(
  operation: number,
  mac: string,
  ip: string,
  targetMac: string,
  targetIp: string,
): Uint8Array {
  const head = [0, 1, 8, 0, 6, 4, 0, operation];
  return Uint8Array.from([
    ...head,
    ...macBytes(mac),
    ...addressBytes(ip),
    ...macBytes(targetMac),
    ...addressBytes(targetIp),
  ]);
}
