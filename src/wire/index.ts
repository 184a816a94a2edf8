/**
 * Packet formats, as plain functions over `(bytes, offset)`.
 *
 * A packet is parsed once, by `parseIpv4Packet`, which checks every length against the bytes that are there and fills a
 * reused {@link PacketView} with numbers and offsets. Everything else trusts that: getters are unchecked, writers write
 * into the caller's bytes, and nothing allocates per packet. IPv4 addresses are unsigned numbers, ports host-order
 * numbers; MACs stay bytes at an offset. Text forms exist for the edges.
 *
 * Checksums come in three forms: computed over the bytes, updated for one changed word (RFC 1624), and updated in the
 * partial form that checksum offload leaves in packets, where the field holds only the sum of the pseudo-header.
 * The folder knows nothing of nodes, time or I/O and imports nothing.
 */
export * from "./address.js";
export * from "./answer.js";
export * from "./arp.js";
export * from "./build.js";
export * from "./bytes.js";
export * from "./checksum.js";
export * from "./ethernet.js";
export * from "./fingerprint.js";
export * from "./icmpv4.js";
export * from "./ipv4.js";
export * from "./mac.js";
export * from "./packet.js";
export * from "./tcp.js";
export * from "./udp.js";
