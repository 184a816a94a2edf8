/**
 * Writes what was decided into the bytes: addresses, ports, and every checksum that covers them, incrementally (RFC 1624).
 * A partial checksum holds only the pseudo-header's sum, so addresses change it and ports do not. IPv6 has no checksum
 * of its header, and one over the pseudo-header in ICMPv6.
 */
import {
  checksum,
  getU16,
  ICMP_CHECKSUM,
  ICMP_ID,
  IPV4_CHECKSUM,
  IPV4_DST,
  IPV4_SRC,
  IPV6_DST,
  IPV6_SRC,
  IpProtocol,
  type PacketView,
  setU16,
  setU32,
  TCP_CHECKSUM,
  UDP_CHECKSUM,
  writeIcmpv6Checksum,
  writeSctpChecksum,
} from "../wire/index.js";
import type { AddressBook } from "./ipv6/address-book.js";
import type { Packet } from "./packet.js";

/** Applies the translation to the packet's bytes; the packet's view stays as it came. */
export function rewrite(packet: Packet): void {
  const { bytes, book, view, newSrc, newDst } = packet;
  const addresses = writeAddresses(bytes, book, view, newSrc, newDst);
  if (packet.translatesEmbedded) {
    rewriteEmbedded(packet);
    return;
  }
  if (packet.isLaterFragment) return;
  if (packet.isPartial) rewritePartial(packet, addresses);
  else rewriteTransport(bytes, view, packet.ports, packet.newPorts, addresses);
}

/** The quoted packet becomes what its sender sent; then the error's checksum, which covers it, is computed anew. */
function rewriteEmbedded(packet: Packet): void {
  const { bytes, book, view, embedded } = packet;
  const addresses = writeAddresses(bytes, book, embedded.view, embedded.newSrc, embedded.newDst);
  rewriteTransport(bytes, embedded.view, embedded.ports, embedded.newPorts, addresses);
  if (packet.isIpv6) {
    writeIcmpv6Checksum(bytes, view.l3Offset, view.l4Offset, view.l4Length);
    return;
  }
  setU16(bytes, view.l4Offset + ICMP_CHECKSUM, 0);
  setU16(bytes, view.l4Offset + ICMP_CHECKSUM, checksum(bytes, view.l4Offset, view.l4Length));
}

function rewritePartial({ bytes, view, newPorts }: Packet, addresses: number): void {
  const field = view.l4Offset + (view.protocol === IpProtocol.tcp ? TCP_CHECKSUM : UDP_CHECKSUM);
  setU16(bytes, field, fold(getU16(bytes, field) + addresses));
  writePorts(bytes, view.l4Offset, newPorts);
}

/** Ports or identifier, and the checksum as far as the packet is there (an ICMP error may quote only 8 bytes). */
function rewriteTransport(
  bytes: Uint8Array,
  view: PacketView,
  ports: number,
  newPorts: number,
  addresses: number,
): void {
  const { l4Offset, protocol } = view;
  if (protocol === IpProtocol.icmpv6) {
    setU16(bytes, l4Offset + ICMP_ID, newPorts >>> 16);
    patch(bytes, l4Offset + ICMP_CHECKSUM, addresses + replaced(ports & 0xffff0000, newPorts & 0xffff0000));
    return;
  }
  if (protocol === IpProtocol.icmp) {
    if (ports >>> 16 === newPorts >>> 16) return;
    setU16(bytes, l4Offset + ICMP_ID, newPorts >>> 16);
    patch(bytes, l4Offset + ICMP_CHECKSUM, replaced(ports & 0xffff0000, newPorts & 0xffff0000));
    return;
  }
  const sum = addresses + replaced(ports, newPorts);
  if (protocol === IpProtocol.tcp) {
    writePorts(bytes, l4Offset, newPorts);
    if (view.l4Length >= TCP_CHECKSUM + 2) patch(bytes, l4Offset + TCP_CHECKSUM, sum);
  } else if (protocol === IpProtocol.udp) {
    writePorts(bytes, l4Offset, newPorts);
    patchUdp(bytes, l4Offset + UDP_CHECKSUM, sum);
  } else if (protocol === IpProtocol.sctp && ports !== newPorts) {
    writePorts(bytes, l4Offset, newPorts);
    // As Linux' sctp_manip_pkt; what an ICMP error quotes in part cannot be computed over.
    if (view.headerLength + view.l4Length === view.l3Length)
      writeSctpChecksum(bytes, l4Offset, view.l4Length);
  }
}

/** Returns what to add to a sum that covers the addresses. */
function writeAddresses(
  bytes: Uint8Array,
  book: AddressBook | undefined,
  view: PacketView,
  newSrc: number,
  newDst: number,
): number {
  if (view.version === 6 && book !== undefined) {
    book.write(newSrc, bytes, view.l3Offset + IPV6_SRC);
    book.write(newDst, bytes, view.l3Offset + IPV6_DST);
    return book.replaced(view.src, newSrc) + book.replaced(view.dst, newDst);
  }
  const addresses = replaced(view.src, newSrc) + replaced(view.dst, newDst);
  setU32(bytes, view.l3Offset + IPV4_SRC, newSrc);
  setU32(bytes, view.l3Offset + IPV4_DST, newDst);
  patch(bytes, view.l3Offset + IPV4_CHECKSUM, addresses);
  return addresses;
}

function writePorts(bytes: Uint8Array, l4Offset: number, ports: number): void {
  setU32(bytes, l4Offset, ports);
}

/** What to add to a ones' complement sum when one 32-bit word is replaced by another. */
function replaced(from: number, to: number): number {
  return (~from >>> 16) + (~from & 0xffff) + (to >>> 16) + (to & 0xffff);
}

function patch(bytes: Uint8Array, field: number, sum: number): void {
  setU16(bytes, field, fold((getU16(bytes, field) ^ 0xffff) + sum) ^ 0xffff);
}

/** RFC 768: 0 is no checksum and stays none; one that comes to 0 is sent as 0xffff. */
function patchUdp(bytes: Uint8Array, field: number, sum: number): void {
  const current = getU16(bytes, field);
  if (current !== 0) setU16(bytes, field, fold((current ^ 0xffff) + sum) ^ 0xffff || 0xffff);
}

/** Folds a sum of a dozen 16-bit words. */
function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}
