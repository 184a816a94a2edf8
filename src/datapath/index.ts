/**
 * A node as a small router with hooks. A frame goes through one pipeline: what its port lets in (ingress), its connection
 * (conntrack), service DNAT for the first packet (prerouting), routing, TTL and MTU (forward), masquerading (postrouting),
 * and the link header of the port it leaves by (egress). Stages first decide: the packet in hand (`Packet`) keeps the tuple
 * as it came and as it will leave. Only when every stage has agreed are the bytes rewritten, all checksums in one go, and
 * is the connection entered in the table; a refused packet leaves no trace there, and an ICMP error quotes it as it came.
 * Every end has a named verdict (verdicts.ts), counted and, while tracing is on, recorded as an `Observation`.
 *
 * All is pure: frames are `(offset, length)` in one arena, time and randomness are arguments, output goes to a `FrameSink`.
 * IPv6 goes the same way. Its addresses have 32-bit handles (ipv6/address-book.ts), so connections, NAT, Services and
 * fragments know no difference; what differs is in ipv6/: the way in, neighbour discovery, routes by prefix, ICMPv6. A
 * packet's `isIpv6` chooses where bytes are read or written.
 *
 * Nothing is allocated per packet: one `Packet` is refilled, tables live in typed arrays, and packets of the node's own are
 * built in scratch space. Frames carry a virtio_net_hdr in front, so that super-packets and partial checksums pass.
 */
export { CONNTRACK_EVENTS, type ConntrackEvent, type ConntrackEventType } from "./conntrack/events.js";
export { type ConntrackFilter, type ConntrackRecord, matchesFilter } from "./conntrack/records.js";
export type { ConntrackOptions, ConntrackSettings, TcpTracking } from "./conntrack/settings.js";
export { type ConntrackSnapshot, SNAPSHOT_ADDRESS_BYTES, SNAPSHOT_WORDS } from "./conntrack/snapshot.js";
export { type ConntrackTimeouts, DEFAULT_TIMEOUTS } from "./conntrack/state.js";
export type { ConntrackStats } from "./conntrack/stats.js";
export { readSysctl, SYSCTL_NAMES, writeSysctls } from "./conntrack/sysctls.js";
export { Datapath, type DatapathStatus } from "./datapath.js";
export { AddressBook, AddressClass, type AddressRoot, isIpv6Handle, NO_HANDLE } from "./ipv6/address-book.js";
export type { Route6, RouteTable6 } from "./ipv6/routes.js";
export type { DatapathOptions, UnderlayEnds } from "./options.js";
export type { Route, RouteTable } from "./routes.js";
export * from "./types.js";
export { type Outcome, VERDICTS, type VerdictInfo } from "./verdicts.js";
