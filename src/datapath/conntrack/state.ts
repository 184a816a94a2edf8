/** States of a connection and how long each lives without traffic. */
import { IpProtocol } from "../../wire/index.js";

/** States of all protocols but SCTP; TCP's are nf_conntrack_tcp's, with its numbers. */
export const State = {
  none: 0,
  synSent: 1,
  synRecv: 2,
  established: 3,
  finWait: 4,
  closeWait: 5,
  lastAck: 6,
  timeWait: 7,
  close: 8,
  synSent2: 9,
  udp: 11,
  udpStream: 12,
  icmp: 13,
  generic: 14,
  icmpv6: 15,
} as const;
export type State = (typeof State)[keyof typeof State];

/** Names as `conntrack -L` prints them; TCP only. */
export const TCP_STATE_NAMES: readonly string[] = [
  "NONE",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "FIN_WAIT",
  "CLOSE_WAIT",
  "LAST_ACK",
  "TIME_WAIT",
  "CLOSE",
  "SYN_SENT2",
];

/** Seconds by state, as Linux has them (Documentation/networking/nf_conntrack-sysctl.rst). */
export const DEFAULT_TIMEOUTS = {
  tcpSynSent: 120,
  tcpSynRecv: 60,
  tcpEstablished: 432_000,
  tcpFinWait: 120,
  tcpCloseWait: 60,
  tcpLastAck: 30,
  tcpTimeWait: 120,
  tcpClose: 10,
  /** After as many repeats of a segment as nf_conntrack_tcp_max_retrans. */
  tcpMaxRetrans: 300,
  /** While one end has not acknowledged what the other sent, and before a connection's other end was heard. */
  tcpUnacknowledged: 300,
  udp: 30,
  udpStream: 120,
  icmp: 30,
  icmpv6: 30,
  generic: 600,
  sctpClosed: 10,
  sctpCookieWait: 3,
  sctpCookieEchoed: 3,
  sctpEstablished: 210,
  sctpShutdownSent: 3,
  sctpShutdownRecd: 3,
  sctpShutdownAckSent: 3,
  sctpHeartbeatSent: 30,
};

/** A state with a time-out of its own. */
export type TimeoutName = keyof typeof DEFAULT_TIMEOUTS;
/** Seconds by state; the names follow net.netfilter.nf_conntrack_*_timeout_*. */
export type ConntrackTimeouts = Readonly<Record<TimeoutName, number>>;

/** Length of a tick, the unit of deadlines: 2^31 of them are 6.8 years. */
export const TICK_MS = 100;

/** States of SCTP count from 0 of their own; their time-outs stand behind the others'. */
const SCTP_TIMEOUTS = 16;
/** Where time-outs are that are no state's. */
export const RETRANS_TIMEOUT = 0;
export const UNACKNOWLEDGED_TIMEOUT = 10;

/** The time-outs in the order of {@link timeoutIndex}. */
const ORDER: readonly (TimeoutName | undefined)[] = [
  ...(["tcpMaxRetrans", "tcpSynSent", "tcpSynRecv", "tcpEstablished", "tcpFinWait", "tcpCloseWait"] as const),
  ...(["tcpLastAck", "tcpTimeWait", "tcpClose", "tcpSynSent", "tcpUnacknowledged"] as const),
  ...(["udp", "udpStream", "icmp", "generic", "icmpv6", undefined] as const),
  ...(["sctpClosed", "sctpCookieWait", "sctpCookieEchoed", "sctpEstablished"] as const),
  ...(["sctpShutdownSent", "sctpShutdownRecd", "sctpShutdownAckSent", "sctpHeartbeatSent"] as const),
];

/** Where a state's time-out is in what {@link timeoutTicks} returns. */
export function timeoutIndex(protocol: number, state: number): number {
  return protocol === IpProtocol.sctp ? SCTP_TIMEOUTS + state : state;
}

/** Ticks by {@link timeoutIndex}. */
export function timeoutTicks(timeouts: ConntrackTimeouts): Int32Array {
  const ticks = (name: TimeoutName | undefined) =>
    name === undefined ? 0 : Math.ceil((timeouts[name] * 1000) / TICK_MS);
  return Int32Array.from(ORDER, ticks);
}
