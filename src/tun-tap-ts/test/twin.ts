/** Slow, obvious twins of the addon's checksums and segmentation, and packets made with them. */

/** RFC 1071, one 16-bit word at a time. Returns the sum, not inverted. */
export function sum16(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  }
  return sum;
}

const invert = (sum: number): number => ~sum & 0xffff;

export function pseudoSum(packet: Buffer, protocol: number, length: number): number {
  const addresses = packet[0]! >> 4 === 6 ? packet.subarray(8, 40) : packet.subarray(12, 20);
  return sum16(addresses, sum16(Buffer.from([0, protocol, length >> 8, length & 0xff])));
}

export interface PacketSpec {
  readonly payload: Uint8Array;
  readonly protocol?: "tcp" | "udp";
  readonly v6?: boolean;
  readonly id?: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly flags?: number;
  readonly window?: number;
  readonly ttl?: number;
  readonly tos?: number;
  readonly dontFragment?: boolean;
  readonly source?: number;
  readonly sourcePort?: number;
  readonly tcpOptions?: Uint8Array;
}

/** A correct IP packet. */
export function packet(spec: PacketSpec): Buffer {
  const udp = spec.protocol === "udp";
  const options = udp ? new Uint8Array(0) : (spec.tcpOptions ?? new Uint8Array(0));
  const l3 = spec.v6 ? 40 : 20;
  const l4 = udp ? 8 : 20 + options.length;
  const p = Buffer.alloc(l3 + l4 + spec.payload.length);
  if (spec.v6) {
    p[0] = 0x60 | ((spec.tos ?? 0) >> 4);
    p[1] = ((spec.tos ?? 0) & 0x0f) << 4;
    p.writeUInt16BE(p.length - 40, 4);
    p[6] = udp ? 17 : 6;
    p[7] = spec.ttl ?? 64;
    p.writeUInt32BE(0xfd000001, 8);
    p.writeUInt32BE(spec.source ?? 1, 20);
    p.writeUInt32BE(0xfd000002, 24);
  } else {
    p[0] = 0x45;
    p[1] = spec.tos ?? 0;
    p.writeUInt16BE(p.length, 2);
    p.writeUInt16BE(spec.id ?? 1, 4);
    p[6] = (spec.dontFragment ?? true) ? 0x40 : 0;
    p[8] = spec.ttl ?? 64;
    p[9] = udp ? 17 : 6;
    p.writeUInt32BE(spec.source ?? 0x0a000001, 12);
    p.writeUInt32BE(0x0a000002, 16);
  }
  p.writeUInt16BE(spec.sourcePort ?? 40000, l3);
  p.writeUInt16BE(80, l3 + 2);
  if (udp) {
    p.writeUInt16BE(p.length - l3, l3 + 4);
  } else {
    p.writeUInt32BE(spec.seq ?? 1000, l3 + 4);
    p.writeUInt32BE(spec.ack ?? 77, l3 + 8);
    p[l3 + 12] = (l4 / 4) << 4;
    p[l3 + 13] = spec.flags ?? 0x10;
    p.writeUInt16BE(spec.window ?? 500, l3 + 14);
    p.set(options, l3 + 20);
  }
  p.set(spec.payload, l3 + l4);
  return finishChecksums(p);
}

/** Writes the IPv4 header checksum and that of TCP or UDP. */
export function finishChecksums(p: Buffer): Buffer {
  const v6 = p[0]! >> 4 === 6;
  const l3 = v6 ? 40 : 20;
  const protocol = p[v6 ? 6 : 9]!;
  const at = l3 + (protocol === 6 ? 16 : 6);
  if (!v6) {
    p.writeUInt16BE(0, 10);
    p.writeUInt16BE(invert(sum16(p.subarray(0, 20))), 10);
  }
  p.writeUInt16BE(0, at);
  p.writeUInt16BE(invert(sum16(p.subarray(l3), pseudoSum(p, protocol, p.length - l3))) || 0xffff, at);
  return p;
}

/** The packets that a super-packet has to become: RFC 793 and what Linux' GSO does. */
export function segments(superPacket: Buffer, gsoSize: number): Buffer[] {
  const v6 = superPacket[0]! >> 4 === 6;
  const l3 = v6 ? 40 : 20;
  const udp = superPacket[v6 ? 6 : 9] === 17;
  const header = l3 + (udp ? 8 : (superPacket[l3 + 12]! >> 4) * 4);
  const result: Buffer[] = [];
  for (let at = header; at < superPacket.length; at += gsoSize) {
    const body = superPacket.subarray(at, Math.min(at + gsoSize, superPacket.length));
    const p = Buffer.concat([superPacket.subarray(0, header), body]);
    if (v6) p.writeUInt16BE(p.length - 40, 4);
    else {
      p.writeUInt16BE(p.length, 2);
      p.writeUInt16BE((superPacket.readUInt16BE(4) + result.length) & 0xffff, 4);
    }
    if (udp) p.writeUInt16BE(p.length - l3, l3 + 4);
    else {
      p.writeUInt32BE((superPacket.readUInt32BE(l3 + 4) + at - header) >>> 0, l3 + 4);
      const last = at + gsoSize >= superPacket.length;
      if (!last) p[l3 + 13] = p[l3 + 13]! & ~0x09;
      if (at > header) p[l3 + 13] = p[l3 + 13]! & ~0x80;
    }
    result.push(finishChecksums(p));
  }
  return result;
}

export interface VnetHeader {
  readonly flags: number;
  readonly gsoType: number;
  readonly headerLength: number;
  readonly gsoSize: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
}

export function encodeVnet(h: VnetHeader): Buffer {
  const b = Buffer.alloc(10);
  b[0] = h.flags;
  b[1] = h.gsoType;
  b.writeUInt16LE(h.headerLength, 2);
  b.writeUInt16LE(h.gsoSize, 4);
  b.writeUInt16LE(h.checksumStart, 6);
  b.writeUInt16LE(h.checksumOffset, 8);
  return b;
}

/** The header of a super-packet, and its checksum field set to the pseudo-header's sum. */
export function superHeader(p: Buffer, gsoType: number, gsoSize: number): Buffer {
  const v6 = p[0]! >> 4 === 6;
  const l3 = v6 ? 40 : 20;
  const protocol = p[v6 ? 6 : 9]!;
  const checksumOffset = protocol === 6 ? 16 : 6;
  const headerLength = l3 + (protocol === 6 ? (p[l3 + 12]! >> 4) * 4 : 8);
  p.writeUInt16BE(pseudoSum(p, protocol, p.length - l3), l3 + checksumOffset);
  return encodeVnet({ flags: 1, gsoType, headerLength, gsoSize, checksumStart: l3, checksumOffset });
}

/** Bytes that differ from place to place. */
export function payload(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let x = seed * 2654435761;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}
