/** Ethernet and ARP for the stations, and prefixes as text. */
import { addressBytes } from "./packet.js";

const prefixesSeen = new Map<string, { readonly network: number; readonly size: number }>();

export function inPrefix(address: string, prefix: string): boolean {
  let known = prefixesSeen.get(prefix);
  if (known === undefined) {
    const [network, length] = prefix.split("/");
    const size = 2 ** (32 - Number(length));
    known = { network: Math.floor(number(network!) / size), size };
    prefixesSeen.set(prefix, known);
  }
  return Math.floor(number(address) / known.size) === known.network;
}

function number(address: string): number {
  return addressBytes(address).reduce((sum, octet) => sum * 256 + octet, 0);
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
