/** Addresses of both families as text, IPv6 in its canonical form (RFC 5952), and as bytes. */
import { Address6 } from "ip-address";

const bytesSeen = new Map<string, readonly number[]>();
const solicitedSeen = new Map<string, string>();
const textsSeen = new Map<string, string>();
const prefixesSeen = new Map<string, { readonly network: readonly number[]; readonly length: number }>();

export function isIpv6(address: string): boolean {
  return address.includes(":");
}

/** Four bytes or sixteen. */
export function addressBytes(address: string): readonly number[] {
  let bytes = bytesSeen.get(address);
  if (bytes === undefined) {
    bytes = isIpv6(address) ? new Address6(address).toUnsignedByteArray() : address.split(".").map(Number);
    bytesSeen.set(address, bytes);
  }
  return bytes;
}

/** Of four bytes or sixteen. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const key = bytes.join(".");
  let text = textsSeen.get(key);
  if (text === undefined) {
    text = Address6.fromByteArray([...bytes]).correctForm();
    textsSeen.set(key, text);
  }
  return text;
}

/** Whether the address is of the prefix' family and in it. */
export function inPrefix(address: string, prefix: string): boolean {
  let known = prefixesSeen.get(prefix);
  if (known === undefined) {
    const [network = "", length] = prefix.split("/");
    known = { network: addressBytes(network), length: Number(length) };
    prefixesSeen.set(prefix, known);
  }
  const { network, length } = known;
  const bytes = addressBytes(address);
  return (
    bytes.length === network.length &&
    network.every((byte, i) => {
      const ignored = Math.min(8, Math.max(0, 8 * (i + 1) - length));
      return byte >> ignored === bytes[i] >> ignored;
    })
  );
}

/** `10.0.0.1:80`, `[fd00::1]:80`. */
export function hostPort(address: string, port: number): string {
  return isIpv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The group that is asked for an address' neighbour (RFC 4291 §2.7.1). */
export function solicitedGroup(address: string): string {
  const low = addressBytes(address).slice(13);
  return addressText(Uint8Array.from([...addressBytes("ff02::1:ff00:0").slice(0, 13), ...low]));
}

/** The MAC that an address' neighbours are asked by. */
export function solicitedMac(address: string): string {
  let mac = solicitedSeen.get(address);
  if (mac === undefined) {
    mac = groupMac(solicitedGroup(address));
    solicitedSeen.set(address, mac);
  }
  return mac;
}

/** The MAC of an IPv6 group (RFC 2464 §7). */
export function groupMac(group: string): string {
  const low = addressBytes(group).slice(12);
  return `33:33:${low.map((byte) => byte.toString(16).padStart(2, "0")).join(":")}`;
}
