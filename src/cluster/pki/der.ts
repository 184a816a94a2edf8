/** DER (ITU-T X.690), as much of it as certificates need. */

const Tag = {
  integer: 0x02,
  bits: 0x03,
  octets: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  utc: 0x17,
  time: 0x18,
} as const;
const SEQUENCE = 0x30;
const SET = 0x31;

/** Any value by its tag and content. */
export function encode(tag: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.of(tag), length(content.length), content]);
}

/** Short form below 128, else the count of the bytes that follow (X.690, 8.1.3). */
function length(bytes: number): Buffer {
  if (bytes < 0x80) return Buffer.of(bytes);
  const digits: number[] = [];
  for (let rest = bytes; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return Buffer.of(0x80 | digits.length, ...digits);
}

export const sequence = (...parts: Buffer[]): Buffer => encode(SEQUENCE, Buffer.concat(parts));
export const set = (...parts: Buffer[]): Buffer => encode(SET, Buffer.concat(parts));
export const boolean = (value: boolean): Buffer => encode(0x01, Buffer.of(value ? 0xff : 0));
export const octets = (content: Buffer): Buffer => encode(Tag.octets, content);
export const utf8 = (text: string): Buffer => encode(Tag.utf8, Buffer.from(text));
/** All bits of the bytes but the last `unused` ones. */
export const bits = (content: Buffer, unused = 0): Buffer =>
  encode(Tag.bits, Buffer.concat([Buffer.of(unused), content]));
/** A field that is told by its number alone: `[number]`, constructed or not. */
export const tagged = (number: number, content: Buffer, constructed = true): Buffer =>
  encode(0x80 | (constructed ? 0x20 : 0) | number, content);

/** A number of 0 or more, from its bytes; a first bit that is set would make it negative. */
export function unsigned(bytes: Buffer): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const digits = bytes.subarray(start);
  return encode(Tag.integer, (digits[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.of(0), digits]) : digits);
}

/** An object identifier such as 2.5.4.3: seven bits a byte, the first two numbers in one (X.690, 8.19). */
export function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((number) => {
    const digits = [number & 0x7f];
    for (let left = number >> 7; left > 0; left >>= 7) digits.unshift(0x80 | (left & 0x7f));
    return digits;
  });
  return encode(Tag.oid, Buffer.from(bytes));
}

/** Times as YYYYMMDDHHMMSSZ; UTCTime until 2049, as RFC 5280, 4.1.2.5 demands. */
export function time(date: Date): Buffer {
  const text = date.toISOString().replace(/[-:T]|\.\d+/g, "");
  const short = date.getUTCFullYear() < 2050;
  return encode(short ? Tag.utc : Tag.time, Buffer.from(short ? text.slice(2) : text));
}
