/** Domain names as lists of labels. Comparison is case-insensitive (RFC 4343), so labels are kept in lower case. */
import { isIPv4, isIPv6 } from "node:net";
import { formatIpv6, parseIpv6 } from "../../../wire/index.js";

const LABEL_MAX = 63;
const NAME_MAX = 253;

/** Labels in lower case, leftmost first; the root has none. */
export function labelsOf(name: string): string[] {
  const text = name.toLowerCase().replace(/\.$/, "");
  return text === "" ? [] : text.split(".");
}

/** Whether the text can be a domain name of a record: letters, digits, `-` and `_` (RFC 1123 section 2.1, RFC 2782). */
export function isName(text: string): boolean {
  const name = text.replace(/\.$/, "");
  return name.length <= NAME_MAX && name.split(".").every(isLabel);
}

/** Whether the text can be one label of a record's name. */
export function isLabel(text: string): boolean {
  return text.length <= LABEL_MAX && /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/i.test(text);
}

/** The labels in front of `suffix`; undefined when the name is not under it. */
export function under(labels: readonly string[], suffix: readonly string[]): string[] | undefined {
  const start = labels.length - suffix.length;
  return start >= 0 && suffix.every((label, index) => labels[start + index] === label)
    ? labels.slice(0, start)
    : undefined;
}

const REVERSE_IPV4 = ["in-addr", "arpa"];
const REVERSE_IPV6 = ["ip6", "arpa"];
const NIBBLES = 32;

/**
 * The address that a name under in-addr.arpa (RFC 1035 section 3.5) or ip6.arpa (RFC 3596 section 2.5) stands for, in
 * canonical form; undefined for other names.
 */
export function reverseAddress(labels: readonly string[]): string | undefined {
  const quad = under(labels, REVERSE_IPV4);
  const address = quad?.reverse().join(".") ?? "";
  if (quad?.length === 4 && isIPv4(address)) return address;
  const nibbles = under(labels, REVERSE_IPV6) ?? [];
  return nibbles.length === NIBBLES && nibbles.every((nibble) => /^[0-9a-f]$/.test(nibble))
    ? formatIpv6(BigInt(`0x${nibbles.reverse().join("")}`))
    : undefined;
}

/** The name under which an address' PTR records are. */
export function reverseName(address: string): string {
  const value = parseIpv6(address);
  return value === undefined
    ? [...address.split(".").reverse(), ...REVERSE_IPV4].join(".")
    : [...value.toString(16).padStart(NIBBLES, "0")].reverse().concat(REVERSE_IPV6).join(".");
}

/** The zone of reverse names that an address' own is in. */
export function reverseZone(address: string): string {
  return (isIPv6(address) ? REVERSE_IPV6 : REVERSE_IPV4).join(".");
}

/** The one text of an address that may be written in several: IPv6, and IPv4 with zeros in front, which are decimal. */
export function canonical(address: string): string {
  const value = parseIpv6(address);
  return value === undefined ? address.replace(/\b0+(?=\d)/g, "") : formatIpv6(value);
}

/** An address as one label: `10-1-2-3`. */
export function dashed(address: string): string {
  return address.replace(/[.:]/g, "-");
}

/** The address that a dashed label stands for; undefined when it is none. */
export function undashed(label: string): string | undefined {
  const v4 = label.replaceAll("-", ".");
  const v6 = label.replaceAll("-", ":");
  return isIPv4(v4) ? v4 : isIPv6(v6) ? v6 : undefined;
}
