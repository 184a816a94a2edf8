/**
 * DNS messages on the wire: what is understood of a query, and a reply that fits. Records are encoded by dns-packet, one
 * at a time, so that a reply can end after any of them; the question is sent back byte for byte as it was asked.
 */
import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  CHECKING_DISABLED,
  DNSSEC_OK,
  decode,
  encode,
  type OptAnswer,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from "dns-packet";

export const HEADER_BYTES = 12;
/** Largest reply over UDP to a client without EDNS (RFC 1035 section 4.2.1). */
const PLAIN_UDP_BYTES = 512;
/** Largest reply over UDP at all: passes every link without fragments (DNS flag day 2020). */
const MAX_UDP_BYTES = 1232;
const MAX_TCP_BYTES = 65_535;
const RESPONSE = 0x8000;
const OPCODE_MASK = 0x7800;
/** A compressed name that points at the question's (RFC 1035 section 4.1.4). */
const QUESTION_POINTER = Buffer.from([0xc0, HEADER_BYTES]);
const TYPE_AND_CLASS_BYTES = 4;

/** Response codes (RFC 1035 section 4.1.1; BADVERS RFC 6891 section 9). */
export const Rcode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
  badVersion: 16,
} as const;
export type Rcode = (typeof Rcode)[keyof typeof Rcode];

export type Transport = "udp" | "tcp";

export interface Query {
  readonly bytes: Buffer;
  /** Labels of the name asked for, in lower case; a label may hold any character. */
  readonly labels: readonly string[];
  /** Such as `A`; `UNKNOWN_65` when it has no name here. */
  readonly type: string;
  readonly class: string;
  /** Where the question section ends in `bytes`. */
  readonly questionEnd: number;
  readonly edns?: { readonly udpBytes: number; readonly version: number; readonly dnssecOk: boolean };
}

export interface Reply {
  /** Any value of four bits, from an upstream server; or `Rcode.badVersion`. */
  readonly rcode: number;
  readonly authoritative?: boolean;
  /** Whether answers are known to be missing. */
  readonly truncated?: boolean;
  readonly answers?: readonly Answer[];
  readonly authorities?: readonly Answer[];
  readonly additionals?: readonly Answer[];
}

/**
 * What a message asks. Only one question is understood (RFC 9619).
 *
 * @returns a response code for a query that is refused as a whole; undefined for what is no query or is malformed
 */
export function parseQuery(bytes: Buffer): Query | Rcode | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const flags = bytes.readUInt16BE(2);
  if (flags & RESPONSE) return undefined;
  if (flags & OPCODE_MASK) return Rcode.notImplemented;
  if (bytes.readUInt16BE(4) !== 1) return Rcode.formatError;
  const asked = readLabels(bytes);
  if (!asked) return undefined;
  try {
    const { questions, additionals = [] } = decode(bytes);
    const [question] = questions ?? [];
    const opts = additionals.filter(({ type }) => type === "OPT") as OptAnswer[];
    if (!question) return undefined;
    if (opts.length > 1) return Rcode.formatError;
    const { type, class: klass = "IN" } = question;
    return { bytes, ...asked, type, class: klass, ...(opts[0] && { edns: ednsOf(opts[0]) }) };
  } catch {
    return undefined;
  }
}

function ednsOf({ udpPayloadSize, ednsVersion, flag_do }: OptAnswer): NonNullable<Query["edns"]> {
  return { udpBytes: udpPayloadSize, version: ednsVersion, dnssecOk: flag_do };
}

/** The first name after the header. dns-packet gives text, in which a dot within a label looks like two labels. */
function readLabels(bytes: Buffer): { labels: string[]; questionEnd: number } | undefined {
  const labels: string[] = [];
  let offset = HEADER_BYTES;
  for (let length = bytes[offset]; length !== 0; length = bytes[offset]) {
    // Nothing stands before the first name that it could point at.
    if (length === undefined || length > 63 || offset + length >= bytes.length) return undefined;
    labels.push(bytes.toString("latin1", offset + 1, offset + 1 + length).toLowerCase());
    offset += 1 + length;
  }
  const questionEnd = offset + 1 + TYPE_AND_CLASS_BYTES;
  return questionEnd <= bytes.length ? { labels, questionEnd } : undefined;
}

/** Where the question section of a message with one question ends; undefined when it is malformed. */
export function questionEnd(bytes: Buffer): number | undefined {
  return bytes.length < HEADER_BYTES ? undefined : readLabels(bytes)?.questionEnd;
}

/** A reply without a question, to a query of which no more than the header was understood. */
export function encodeRefusal(query: Buffer, rcode: Rcode): Buffer {
  const reply = Buffer.alloc(HEADER_BYTES);
  query.copy(reply, 0, 0, 2);
  const kept = query.readUInt16BE(2) & (OPCODE_MASK | RECURSION_DESIRED);
  reply.writeUInt16BE(RESPONSE | kept | rcode, 2);
  return reply;
}

/** Largest reply that the asker can take, in bytes. */
export function replyLimit({ edns }: Query, transport: Transport): number {
  if (transport === "tcp") return MAX_TCP_BYTES;
  return edns ? Math.min(Math.max(edns.udpBytes, PLAIN_UDP_BYTES), MAX_UDP_BYTES) : PLAIN_UDP_BYTES;
}

/**
 * The reply with as many whole records as `limitBytes` allows. Missing answers and authorities set TC; additional
 * records are only a courtesy (RFC 2181 section 9).
 *
 * @throws Error a record that cannot be encoded
 */
export function encodeReply(
  query: Query,
  reply: Reply,
  { limitBytes, recursion }: { limitBytes: number; recursion: boolean },
): Buffer {
  const question = query.bytes.subarray(HEADER_BYTES, query.questionEnd);
  const opt = query.edns ? encodeRecord(optRecord(query.edns, reply.rcode)) : Buffer.alloc(0);
  let room = limitBytes - HEADER_BYTES - question.length - opt.length;
  let truncated = reply.truncated ?? false;
  const sections = [reply.answers ?? [], reply.authorities ?? [], reply.additionals ?? []].map(
    (records, section) => {
      const encoded: Buffer[] = [];
      for (const record of records) {
        const bytes = compress(encodeRecord(record), record.name, query);
        if (bytes.length > room) {
          truncated ||= section < 2;
          // Nothing smaller that comes after it may take its place.
          room = 0;
          break;
        }
        room -= bytes.length;
        encoded.push(bytes);
      }
      return encoded;
    },
  );
  const flags =
    (query.bytes.readUInt16BE(2) & (RECURSION_DESIRED | CHECKING_DISABLED)) |
    (reply.authoritative ? AUTHORITATIVE_ANSWER : 0) |
    (truncated ? TRUNCATED_RESPONSE : 0) |
    (recursion ? RECURSION_AVAILABLE : 0) |
    (reply.rcode & 0xf);
  const header = encode({ type: "response", id: query.bytes.readUInt16BE(0), flags });
  header.writeUInt16BE(1, 4);
  for (const [section, records] of sections.entries()) header.writeUInt16BE(records.length, 6 + 2 * section);
  if (opt.length > 0) header.writeUInt16BE((sections[2]?.length ?? 0) + 1, 10);
  return Buffer.concat([header, question, ...sections.flat(), opt]);
}

function optRecord({ dnssecOk }: NonNullable<Query["edns"]>, rcode: number): OptAnswer {
  return {
    type: "OPT",
    name: ".",
    udpPayloadSize: MAX_UDP_BYTES,
    extendedRcode: rcode >> 4,
    ednsVersion: 0,
    flags: dnssecOk ? DNSSEC_OK : 0,
    flag_do: dnssecOk,
    options: [],
  };
}

function encodeRecord(record: Answer): Buffer {
  return encode({ answers: [record] }).subarray(HEADER_BYTES);
}

/** Owner names that are the question's become a pointer to it, which also gives them the asker's upper and lower case. */
function compress(bytes: Buffer, name: string, { labels, questionEnd }: Query): Buffer {
  if (labels.length === 0 || name.toLowerCase() !== labels.join(".")) return bytes;
  const nameBytes = questionEnd - TYPE_AND_CLASS_BYTES - HEADER_BYTES;
  return Buffer.concat([QUESTION_POINTER, bytes.subarray(nameBytes)]);
}
