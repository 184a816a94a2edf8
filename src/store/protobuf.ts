/**
 * Protocol buffers, as much as etcd's messages need: a message is a table of fields, from which its type, encoder and
 * decoder follow. By hand, because a general library costs a process more time and memory at its start than all of
 * the store. Encoding: protobuf.dev/programming-guides/encoding.
 */
import { WireReader, WireWriter } from "./protobuf-wire.js";

/** One field: how it is written and read. proto3: a value equal to `initial` is not written. */
interface Field<T> {
  readonly number: number;
  initial(): T;
  write(writer: WireWriter, value: T): void;
  /** `previous` is what earlier occurrences of the field gave. */
  read(reader: WireReader, wireType: number, previous: T): T;
}

export interface Codec<T> {
  /** The whole message from some of its fields: the rest has proto3's defaults. */
  make(given: Partial<T>): T;
  encode(value: Partial<T>): Buffer;
  /** Unknown fields are skipped. @throws Error for bytes that are no such message */
  decode(bytes: Uint8Array): T;
}

export type MessageOf<C> = C extends Codec<infer T> ? T : never;

const VARINT = 0;
const LENGTH = 2;

/** A message type from its fields. */
export function message<T extends object>(fields: { readonly [K in keyof T]: Field<T[K]> }): Codec<T> {
  const names = Object.keys(fields) as (keyof T & string)[];
  const byNumber = new Map(names.map((name) => [fields[name].number, name]));
  const blank = () => Object.fromEntries(names.map((name) => [name, fields[name].initial()])) as T;
  return {
    make: (given) => ({ ...blank(), ...given }),
    encode(value) {
      const writer = new WireWriter();
      for (const name of names) {
        const content = value[name];
        if (content !== undefined) fields[name].write(writer, content);
      }
      return writer.finish();
    },
    decode(bytes) {
      const reader = new WireReader(bytes);
      const value = blank();
      while (!reader.done) {
        const tag = reader.tag();
        const name = byNumber.get(tag.number);
        if (name === undefined) reader.skip(tag.wireType);
        else value[name] = fields[name].read(reader, tag.wireType, value[name]);
      }
      return value;
    },
  };
}

function scalar<T>(
  number: number,
  wireType: number,
  zero: T,
  write: (writer: WireWriter, value: T) => void,
  read: (reader: WireReader) => T,
): Field<T> {
  return {
    number,
    initial: () => zero,
    write: (writer, value) => {
      if (value === zero) return;
      writer.tag(number, wireType);
      write(writer, value);
    },
    read: (reader, found) => {
      reader.expect(found, wireType);
      return read(reader);
    },
  };
}

/** int64, int32, enum: a number that must be exact in JavaScript. */
export function int(number: number): Field<number> {
  return scalar(
    number,
    VARINT,
    0,
    (writer, value) => writer.varint(value),
    (reader) => reader.int(),
  );
}

/** int64 that may use all its bits: decimal text. */
export function id(number: number): Field<string> {
  return scalar(
    number,
    VARINT,
    "0",
    (writer, value) => writer.bigVarint(BigInt(value)),
    (reader) => BigInt.asIntN(64, reader.bigVarint()).toString(),
  );
}

export function bool(number: number): Field<boolean> {
  return scalar(
    number,
    VARINT,
    false,
    (writer) => writer.varint(1),
    (reader) => reader.bigVarint() !== 0n,
  );
}

/** string: text. */
export function text(number: number): Field<string> {
  return scalar(
    number,
    LENGTH,
    "",
    (writer, value) => writer.bytes(Buffer.from(value, "utf8")),
    (reader) => reader.view().toString("utf8"),
  );
}

/** bytes, as a binary string: one character for each byte. */
export function binary(number: number): Field<string> {
  return scalar(
    number,
    LENGTH,
    "",
    (writer, value) => writer.bytes(Buffer.from(value, "latin1")),
    (reader) => reader.view().toString("latin1"),
  );
}

const NO_BYTES = new Uint8Array(0);

/** bytes, copied out of the message. */
export function bytes(number: number): Field<Uint8Array> {
  const field = scalar<Uint8Array>(
    number,
    LENGTH,
    NO_BYTES,
    (writer, value) => writer.bytes(value),
    (reader) => new Uint8Array(reader.view()),
  );
  return { ...field, write: (writer, value) => field.write(writer, value.length === 0 ? NO_BYTES : value) };
}

/** A message inside; undefined when it is not there. */
export function sub<T>(number: number, codec: Codec<T>): Field<T | undefined> {
  return {
    number,
    initial: () => undefined,
    write: (writer, value) => {
      if (value === undefined) return;
      writer.tag(number, LENGTH);
      writer.bytes(codec.encode(value));
    },
    read: (reader, found) => {
      reader.expect(found, LENGTH);
      return codec.decode(reader.view());
    },
  };
}

/** Repeated messages. */
export function list<T>(number: number, codec: Codec<T>): Field<readonly T[]> {
  return repeated(
    number,
    (value) => codec.encode(value),
    (view) => codec.decode(view),
  );
}

/** Repeated bytes, as binary strings. */
export function binaries(number: number): Field<readonly string[]> {
  return repeated(
    number,
    (value) => Buffer.from(value, "latin1"),
    (view) => view.toString("latin1"),
  );
}

/** Repeated text. */
export function texts(number: number): Field<readonly string[]> {
  return repeated(
    number,
    (value) => Buffer.from(value, "utf8"),
    (view) => view.toString("utf8"),
  );
}

function repeated<T>(
  number: number,
  encode: (value: T) => Uint8Array,
  decode: (view: Buffer) => T,
): Field<readonly T[]> {
  return {
    number,
    initial: () => [],
    write: (writer, values) => {
      for (const value of values) {
        writer.tag(number, LENGTH);
        writer.bytes(encode(value));
      }
    },
    read: (reader, found, previous) => {
      reader.expect(found, LENGTH);
      // `initial` made the array for this message alone.
      (previous as T[]).push(decode(reader.view()));
      return previous;
    },
  };
}

/** Repeated enum: packed, or one by one, as old writers do. */
export function ints(number: number): Field<readonly number[]> {
  return {
    number,
    initial: () => [],
    write: (writer, values) => {
      if (values.length === 0) return;
      const packed = new WireWriter();
      for (const value of values) packed.varint(value);
      writer.tag(number, LENGTH);
      writer.bytes(packed.finish());
    },
    read: (reader, found, previous) => {
      if (found === VARINT) return [...previous, reader.int()];
      reader.expect(found, LENGTH);
      const packed = new WireReader(reader.view());
      const values = [...previous];
      while (!packed.done) values.push(packed.int());
      return values;
    },
  };
}
