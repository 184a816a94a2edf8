/**
 * Keys inside the store are binary strings: one character (U+0000 to U+00FF) for each byte. JavaScript compares them
 * as etcd compares bytes, and any key of the wire survives. At the `Store` interface keys are text, UTF-8 on the wire.
 */
import type { RangeOptions } from "./types.js";

/** A range of binary keys, etcd's form: no `end`: one key; `end` "\0": all from `key` on; else [key, end). */
export interface KeyRange {
  readonly key: string;
  readonly end?: string;
}

/** As a bound: everything from here on. */
export const NO_END = "\0";

// biome-ignore lint/suspicious/noControlCharactersInRegex: the range is "all of ASCII"
const ASCII_ONLY = /^[\x00-\x7f]*$/;

/** Text to binary string (its UTF-8 bytes). */
export function toBinary(text: string): string {
  return ASCII_ONLY.test(text) ? text : Buffer.from(text, "utf8").toString("latin1");
}

/** Binary string to text; bytes that are not UTF-8 become U+FFFD. */
export function toText(binary: string): string {
  return ASCII_ONLY.test(binary) ? binary : Buffer.from(binary, "latin1").toString("utf8");
}

/** The first binary key after all those that start with the prefix (etcd's clientv3.GetPrefixRangeEnd). */
function binaryPrefixEnd(prefix: string): string {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const byte = prefix.charCodeAt(i);
    if (byte < 0xff) return prefix.slice(0, i) + String.fromCharCode(byte + 1);
  }
  return NO_END;
}

/** The range that a text key and its options mean. An empty prefix is the whole key space. */
export function toRange(key: string, options: Pick<RangeOptions, "prefix" | "rangeEnd"> = {}): KeyRange {
  const binary = toBinary(key);
  if (options.rangeEnd !== undefined) return { key: binary, end: toBinary(options.rangeEnd) };
  if (options.prefix !== true) return { key: binary };
  return binary === "" ? { key: "\0", end: NO_END } : { key: binary, end: binaryPrefixEnd(binary) };
}

/**
 * The text key after all those that start with the prefix, for `rangeEnd` when a prefix is read in pages:
 * `range(lastKey + "\0", { rangeEnd: prefixEnd(prefix), limit })`. UTF-8 sorts as its code points do.
 */
export function prefixEnd(prefix: string): string {
  const points = Array.from(prefix, (char) => char.codePointAt(0) ?? 0);
  for (let i = points.length - 1; i >= 0; i--) {
    if (points[i] === 0x10ffff) continue;
    const next = points[i] === 0xd7ff ? 0xe000 : points[i] + 1;
    return String.fromCodePoint(...points.slice(0, i), next);
  }
  return NO_END;
}

export function inRange({ key, end }: KeyRange, candidate: string): boolean {
  if (end === undefined) return candidate === key;
  return candidate >= key && (end === NO_END || candidate < end);
}
