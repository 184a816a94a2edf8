/**
 * Reads packets the slow and obvious way and throws on anything wrong: every checksum is computed anew, word by word,
 * straight from the RFCs; a partial one must be exactly the pseudo-header's sum. Shares no code with src.
 */

export interface SlowPacket {
  readonly src: string;
  readonly dst: string;
  readonly protocol: number;
  readonly ttl: number;
  readonly id: number;
  readonly length: number;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  readonly fragmentOffset: number;
  readonly sport: number;
  readonly dport: number;
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  readonly icmpType: number;
  readonly icmpCode: number;
  readonly icmpId: number;
  readonly icmpSeq: number;
  readonly nextHopMtu: number;
  /** As it stands in the packet. */
  readonly l4Checksum: number;
  readonly payload: Uint8Array;
  /** The packet quoted by an ICMP error. */
  readonly quoted: SlowPacket | undefined;
}

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const SCTP = 132;
const ERRORS = [3, 4, 5, 11, 12];

function word(bytes: Uint8Array, at: number): number {
  return bytes[at] * 256 + bytes[at + 1];
}

function long(bytes: Uint8Array, at: number): number {
  return word(bytes, at) * 65536 + word(bytes, at + 2);
}

function dotted(bytes: Uint8Array, at: number): string {
  return [...bytes.slice(at, at + 4)].join(".");
}

/** Ones' complement sum of 16-bit words, folded after each addition. */
export function slowSum(bytes: Iterable<number>): number {
  const all = [...bytes];
  if (all.length % 2 === 1) all.push(0);
  let sum = 0;
  for (let i = 0; i < all.length; i += 2) {
    sum += all[i] * 256 + all[i + 1];
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

function pseudoHeader(bytes: Uint8Array, protocol: number, length: number): number[] {
  return [...bytes.slice(12, 20), 0, protocol, length >> 8, length & 255];
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(`bad packet: ${what}`);
}

/** The IP packet behind `link` bytes of link header; undefined when the frame is ARP. */
export function readFrame(
  frame: Uint8Array,
  link: number,
  vnet: Uint8Array,
  lenient = false,
): SlowPacket | undefined {
  if (link > 0 && word(frame, link - 2) === 0x0806) return undefined;
  if (link > 0) must(word(frame, link - 2) === 0x0800, "EtherType");
  const packet = frame.slice(link);
  must(word(packet, 2) === packet.length, "total length is not that of the frame");
  const needsChecksum = (vnet[0] & 1) !== 0;
  const start = vnet[6] + vnet[7] * 256 - link;
  return readPacket(packet, needsChecksum ? start : -1, lenient);
}

/** `partialAt` is where the checksum of a NEEDS_CSUM packet begins to count, or -1. */
export function readPacket(packet: Uint8Array, partialAt = -1, lenient = false): SlowPacket {
  must(packet.length >= 20 && packet[0] >> 4 === 4, "version");
  const header = (packet[0] & 15) * 4;
  must(slowSum(packet.slice(0, header)) === 0xffff, "IP header checksum");
  const fields = readFields(packet, header, lenient);
  const isWhole = !fields.moreFragments && fields.fragmentOffset === 0;
  if (isWhole && !lenient) checkTransport(packet, header, fields.protocol, partialAt);
  return fields;
}

/** CRC-32C bit by bit (RFC 9260 appendix A), as the four bytes that stand in an SCTP packet. */
export function slowCrc32c(bytes: Iterable<number>): number[] {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const low = (crc & 1) ^ ((byte >> bit) & 1);
      crc = (crc >>> 1) ^ (low === 1 ? 0x82f63b78 : 0);
    }
  }
  return [0, 8, 16, 24].map((shift) => (~crc >>> shift) & 0xff);
}

function checkTransport(packet: Uint8Array, header: number, protocol: number, partialAt: number): void {
  const l4 = packet.slice(header);
  if (protocol === ICMP) must(slowSum(l4) === 0xffff, "ICMP checksum");
  if (protocol === SCTP) {
    const zeroed = l4.map((byte, i) => (i >= 8 && i < 12 ? 0 : byte));
    must(
      slowCrc32c(zeroed).every((byte, i) => byte === l4[8 + i]),
      "SCTP checksum",
    );
  }
  if (protocol !== TCP && protocol !== UDP) return;
  const at = protocol === TCP ? 16 : 6;
  const pseudo = pseudoHeader(packet, protocol, l4.length);
  if (partialAt >= 0) {
    must(partialAt === header, "csum_start");
    must(
      word(l4, at) % 0xffff === slowSum(pseudo) % 0xffff,
      "partial checksum is not the pseudo-header's sum",
    );
    return;
  }
  if (protocol === UDP && word(l4, at) === 0) return;
  must(slowSum([...pseudo, ...l4]) === 0xffff, "transport checksum");
}

/** Reads without judging; of a quoted packet only some bytes may be there. */
function readFields(packet: Uint8Array, header: number, lenient: boolean): SlowPacket {
  const l4 = packet.slice(header);
  const protocol = packet[9];
  const isFirst = (word(packet, 6) & 0x1fff) === 0;
  const hasPorts = isFirst && (protocol === TCP || protocol === UDP || protocol === SCTP);
  const isIcmp = isFirst && protocol === ICMP;
  const isError = isIcmp && ERRORS.includes(l4[0]);
  const l4Header = !isFirst ? 0 : protocol === TCP ? ((l4[12] ?? 80) >> 4) * 4 : protocol === SCTP ? 12 : 8;
  return {
    src: dotted(packet, 12),
    dst: dotted(packet, 16),
    protocol,
    ttl: packet[8],
    id: word(packet, 4),
    length: word(packet, 2),
    dontFragment: (packet[6] & 0x40) !== 0,
    moreFragments: (packet[6] & 0x20) !== 0,
    fragmentOffset: (word(packet, 6) & 0x1fff) * 8,
    sport: hasPorts ? word(l4, 0) : 0,
    dport: hasPorts ? word(l4, 2) : 0,
    flags: hasPorts && protocol === TCP ? l4[13] : 0,
    seq: hasPorts && protocol === TCP ? long(l4, 4) : 0,
    ack: hasPorts && protocol === TCP ? long(l4, 8) : 0,
    icmpType: isIcmp ? l4[0] : -1,
    icmpCode: isIcmp ? l4[1] : -1,
    icmpId: isIcmp ? word(l4, 4) : 0,
    icmpSeq: isIcmp ? word(l4, 6) : 0,
    nextHopMtu: isError ? word(l4, 6) : 0,
    l4Checksum: protocol === TCP ? word(l4, 16) : protocol === UDP ? word(l4, 6) : word(l4, 2),
    payload: l4.slice(l4Header),
    quoted: isError ? readQuoted(l4.slice(8), lenient) : undefined,
  };
}

function readQuoted(packet: Uint8Array, lenient: boolean): SlowPacket {
  const header = (packet[0] & 15) * 4;
  must(slowSum(packet.slice(0, header)) === 0xffff, "quoted IP header checksum");
  const fields = readFields(packet, header, lenient);
  // Whole when all of it is there: then its own checksum must hold too.
  const isWhole = packet.length === fields.length && !fields.moreFragments && fields.fragmentOffset === 0;
  if (isWhole && !lenient && fields.l4Checksum !== 0) checkTransport(packet, header, fields.protocol, -1);
  return fields;
}
