/** The wire format of protocol buffers: tags, varints, lengths. Every read is checked against the end of the bytes. */

const MAX_VARINT_BYTES = 10;

export class WireReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  tag(): { number: number; wireType: number } {
    const tag = this.int();
    if (tag < 8 || tag > 0xffffffff) throw new Error("protobuf: invalid field tag");
    return { number: tag >>> 3, wireType: tag & 7 };
  }

  /** @throws Error when a field came in another wire type than its own. */
  expect(found: number, wanted: number): void {
    if (found !== wanted) throw new Error(`protobuf: wire type ${found} where ${wanted} belongs`);
  }

  /** A signed 64-bit varint as a number. @throws Error beyond 2^53 */
  int(): number {
    const start = this.#at;
    let value = 0;
    // Up to 7 bytes a number holds it exactly; only negative and huge values are longer.
    for (let i = 0, scale = 1; i < 7; i++, scale *= 128) {
      const byte = this.#byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    this.#at = start;
    const wide = Number(BigInt.asIntN(64, this.bigVarint()));
    if (!Number.isSafeInteger(wide)) throw new Error("protobuf: integer out of range");
    return wide;
  }

  bigVarint(): bigint {
    let value = 0n;
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new Error("protobuf: varint too long");
  }

  /** A length and so many bytes, as a view. */
  view(): Buffer {
    const length = this.int();
    const end = this.#at + length;
    if (length < 0 || end > this.#bytes.length) throw new Error("protobuf: field runs past the end");
    const view = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return view;
  }

  skip(wireType: number): void {
    if (wireType === 0) this.bigVarint();
    else if (wireType === 2) this.view();
    else if (wireType === 1) this.#pass(8);
    else if (wireType === 5) this.#pass(4);
    else throw new Error(`protobuf: unknown wire type ${wireType}`);
  }

  #pass(length: number): void {
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new Error("protobuf: field runs past the end");
  }

  #byte(): number {
    if (this.done) throw new Error("protobuf: message ends inside a field");
    return this.#bytes[this.#at++];
  }
}

export class WireWriter {
  #bytes = Buffer.allocUnsafe(64);
  #length = 0;

  tag(number: number, wireType: number): void {
    this.varint(number * 8 + wireType);
  }

  /** An integer that is exact as a number; a negative one takes ten bytes. */
  varint(value: number): void {
    if (value < 0) {
      this.bigVarint(BigInt(value));
      return;
    }
    this.#reserve(MAX_VARINT_BYTES);
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) this.#bytes[this.#length++] = (rest % 128) | 0x80;
    this.#bytes[this.#length++] = rest;
  }

  bigVarint(value: bigint): void {
    this.#reserve(MAX_VARINT_BYTES);
    let rest = BigInt.asUintN(64, value);
    for (; rest >= 0x80n; rest >>= 7n) this.#bytes[this.#length++] = Number(rest & 0x7fn) | 0x80;
    this.#bytes[this.#length++] = Number(rest);
  }

  /** The length, then the bytes. */
  bytes(content: Uint8Array): void {
    this.varint(content.length);
    this.#reserve(content.length);
    this.#bytes.set(content, this.#length);
    this.#length += content.length;
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}
