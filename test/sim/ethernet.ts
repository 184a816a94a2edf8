/** Ethernet and ARP for the stations, and prefixes as text. */
import { addressBytes } from "./packet.js";

export function inPrefix(address: string, prefix: string): boolean {
  const [network, length] = prefix.split("/");
  const bits = (value: string) =>
    addressBytes(value)
      .map((octet) => octet.toString(2).padStart(8, "0"))
      .join("")
      .slice(0, Number(length));
  return bits(address) === bits(network!);
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
