/**
 * Packet formats, as plain functions over `(bytes, offset)`.
 *
 * A packet is parsed once, by `parseIpv4Packet`, which checks every length against the bytes that are there and fills a
 * reused {@link PacketView} with numbers and offsets. Everything else trusts that: getters are unchecked, writers write
 * into the caller's bytes, and nothing allocates per packet. IPv4 addresses are unsigned numbers, ports host-order
 * numbers; IPv6 addresses and MACs stay bytes at an offset. Text forms exist for the edges. What only IPv6 has is in the
 * files with a 6 in their names and in neighbour.ts; `parseIpv6Packet` fills the same view.
 *
 * Checksums come in three forms: computed over the bytes, updated for one changed word (RFC 1624), and updated in the
 * partial form that checksum offload leaves in packets, where the field holds only the sum of the pseudo-header.
 * The folder knows nothing of nodes, time or I/O and imports nothing.
 */
export * from "./address.js";
export * from "./answer.js";
export * from "./answer6.js";
export * from "./arp.js";
export * from "./build.js";
export * from "./build6.js";
export * from "./bytes.js";
export * from "./checksum.js";
export * from "./crc32c.js";
export * from "./ethernet.js";
export * from "./fingerprint.js";
export * from "./icmpv4.js";
export * from "./icmpv6.js";
export * from "./ipv4.js";
export * from "./ipv6.js";
export * from "./ipv6-address.js";
export * from "./mac.js";
export * from "./neighbour.js";
export * from "./packet.js";
export * from "./packet6.js";
export * from "./sctp.js";
export * from "./tcp.js";
export * from "./udp.js";
